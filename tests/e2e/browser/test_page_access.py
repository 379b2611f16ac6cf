"""The page for everybody: in both languages and schemes, on a phone, and by keyboard alone."""

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browser.conftest import base_of
from tests.e2e.browser.person import Person
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
