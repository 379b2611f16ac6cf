"""The page for everybody: in both languages and schemes, on a phone, and by keyboard alone."""

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browser.conftest import base_of
from tests.e2e.browser.person import Person
from tests.e2e.browser.test_sound_access import assert_nothing_grave
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import Live

RICH = "**Breakfast**\n\n- at `seven`\n\n```python\nprint('hello')\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |"


@pytest.fixture
async def ann(page: Page, parley: Live, fake: FakeOpenAI) -> Person:
    """At a conversation with everything in it that one can see."""
    ann = Person(page, base_of(parley))
    await ann.open()
    await ann.new_conversation()
    fake.script.add("chat", Answer(text=RICH), Answer(status=401))
    await ann.write("When is breakfast?")
    await ann.hears_back("Breakfast")
    await ann.write("And dinner?")
    await expect(page.locator(".state-wrong")).to_be_visible()
    return ann


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("other", ["", "العربية"])
async def test_axe_finds_nothing_grave_in_any_view(ann: Person, scheme: str, other: str) -> None:
    page = ann.page
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    await page.reload()
    await expect(page.locator(".state-wrong")).to_be_visible()
    if other:
        await page.get_by_role("button", name=other).click()
        await expect(page.locator("html")).to_have_attribute("dir", "rtl")
        await expect(page.locator(".state-wrong")).to_be_visible()
    await assert_nothing_grave(page)
    for opener in (".side-tools .icon-button", ".side-scroll > .ghost-button"):
        await page.locator(opener).click()
        await expect(page.locator("dialog")).to_be_visible()
        if await page.locator("summary").count():
            await page.locator("summary").click()
        await assert_nothing_grave(page)
        await page.keyboard.press("Escape")
        await expect(page.locator("dialog")).to_have_count(0)
    await page.goto(f"{ann.base}/#/account")
    await expect(page.locator("tfoot")).to_be_visible()
    await assert_nothing_grave(page)


async def test_a_phone_shows_all_of_it_and_fingers_find_their_buttons(ann: Person) -> None:
    page = ann.page
    await page.set_viewport_size({"width": 360, "height": 740})
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    small = await page.locator("button:visible, a:visible:not(.words a)").evaluate_all(
        "all => all.filter((one) => Math.min(one.offsetWidth, one.offsetHeight) < 44).map((one) => one.outerHTML)"
    )
    assert small == []
    await expect(page.locator(".side")).not_to_be_visible()
    await ann.button("side.open").click()
    await expect(ann.button("side.new")).to_be_visible()
    assert await page.locator("main").evaluate("main => main.inert")
    await page.keyboard.press("Escape")
    await expect(page.locator(".side")).not_to_be_visible()
    await expect(ann.button("side.open")).to_be_focused()


async def test_the_keyboard_alone_renames_a_conversation_and_comes_back_to_where_it_was(ann: Person) -> None:
    page = ann.page
    await page.locator(".row .more").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("menuitem").first).to_be_focused()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog").get_by_role("textbox")).to_be_focused()
    await page.keyboard.press("Control+A")
    await page.keyboard.type("Meals")
    await page.keyboard.press("Enter")
    await expect(page.locator(".titles h1")).to_have_text("Meals")
    await expect(page.locator(".row .more")).to_be_focused()


async def test_what_happens_is_told_to_screen_readers(ann: Person) -> None:
    told = ann.page.locator("body > .hidden[role=status]")
    await ann.write("Thanks")
    await ann.hears_back("You said: Thanks")
    await expect(told).to_contain_text("Assistant: You said: Thanks")
