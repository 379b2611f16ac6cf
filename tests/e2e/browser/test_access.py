"""The page for everybody: each view in both languages and both themes, on a small screen, and without motion."""

import pytest
from playwright.async_api import Page, expect

from shared.config import Settings
from tests.conftest import SAMPLES
from tests.e2e.browser.conftest import base_of
from tests.e2e.browser.test_sign_in import guarded_by
from tests.e2e.browser.visitor import Visitor, assert_accessible
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import Live

PHONE = 360
FINGER = 44
BOTH = pytest.mark.parametrize("lang", ["en", "ar"])
MARKDOWN = "## Today\n\n1. **Breakfast** at [eight](https://example.com)\n2. `swim`\n\n> Good morning\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```py\nprint(1)\n```"  # fmt: skip
CHOOSE = "settings => localStorage['parley.settings'] = JSON.stringify(settings)"
TOO_WIDE = """() => [document.documentElement, ...document.querySelectorAll('main, aside, dialog, .scroller, .account-body, .turn, .bubble, .panel')]
  .filter((one) => one.checkVisibility() && one.scrollWidth > one.clientWidth + 1)
  .map((one) => [one.tagName, one.className, one.scrollWidth, one.clientWidth])"""
# Links in a sentence are as tall as its line, as WCAG 2.5.8 has it; what is `hidden` or off the screen nobody touches.
TOO_SMALL = """least => [...document.querySelectorAll('button, a, input, select, textarea, summary, label.check, [role=slider]')]
  .filter((one) => one.checkVisibility({opacityProperty: true, visibilityProperty: true}) && !one.closest('.words, .links'))
  .filter((one) => !one.matches('.hidden, .skip, .check input, .segment input') && one.getBoundingClientRect().right > 0)
  .filter((one) => one.getBoundingClientRect().left < innerWidth)
  .map((one) => [one.ariaLabel || one.textContent || one.type, one.getBoundingClientRect().width, one.getBoundingClientRect().height])
  .filter(([, width, height]) => width < least - 0.5 || height < least - 0.5)"""


@pytest.fixture
def visitor(parley: Live, page: Page) -> Visitor:
    return Visitor(page, base_of(parley))


async def assert_for_everybody(page: Page) -> None:
    """Nothing grave, in the light and in the dark; colours change at once."""
    for theme in ("light", "dark"):
        await page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
        await assert_accessible(page)


async def fits(page: Page) -> None:
    """Nothing scrolls sideways, and a finger meets what it aims at."""
    assert await page.evaluate(TOO_WIDE) == []
    assert await page.evaluate(TOO_SMALL, FINGER) == []


async def come(visitor: Visitor, lang: str) -> None:
    """In a language that was chosen before."""
    await visitor.page.goto(f"{visitor.base}/static/favicon.svg")
    await visitor.page.evaluate(CHOOSE, {"lang": lang, "autoPlay": False})


async def closed(page: Page) -> None:
    """Close what is open over the page."""
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog")).to_have_count(0)


async def talk(visitor: Visitor, fake: FakeOpenAI) -> None:
    """A text, a voice note and its spoken reply, a turn that failed, and one under way."""
    fake.script.add("chat", Answer(text=MARKDOWN))
    await visitor.say("What is there today?")
    await visitor.answered("Good morning")
    await visitor.choose(SAMPLES / "en_03_opus.ogg")
    turn = await visitor.answered("Hello")
    await expect(turn.locator(".player")).to_have_count(2)
    fake.script.add("chat", Answer(status=401))
    await visitor.say("And tomorrow?")
    await expect(visitor.turns.last.locator(".state-wrong")).to_be_visible()
    fake.script.add("chat", Answer(hold=True))
    await visitor.say("Then?")
    await expect(visitor.turns.last.locator(".state .pulse")).to_be_visible()


@BOTH
async def test_axe_finds_nothing_grave_in_any_view(visitor: Visitor, fake: FakeOpenAI, lang: str) -> None:
    page = visitor.page
    await come(visitor, lang)
    await visitor.open()
    await expect(page.locator(".empty .button")).to_be_visible()
    await assert_for_everybody(page)
    await page.locator(".empty .button").click()
    await talk(visitor, fake)
    await assert_for_everybody(page)
    await visitor.start_recording()
    await assert_for_everybody(page)
    await visitor.speak()
    await visitor.stop_recording()
    await assert_for_everybody(page)
    await visitor.button("rec.discard").click()

    await page.locator(".head .more").click()
    await expect(page.locator(".menu:popover-open")).to_be_visible()
    await assert_for_everybody(page)
    await page.locator(".menu:popover-open .danger").click()
    await assert_for_everybody(page)
    await closed(page)
    await page.locator(".side-scroll > .ghost-button").click()
    await page.locator("dialog summary").click()
    await page.locator("dialog [type=submit]").click()
    await expect(page.locator("dialog [aria-invalid]")).to_have_count(1)
    await assert_for_everybody(page)
    await closed(page)
    await page.locator(".side-tools .icon-button").click()
    await assert_for_everybody(page)
    await closed(page)
    await page.locator("a.side-row").click()
    await expect(page.locator("tfoot")).to_be_visible()
    await assert_for_everybody(page)
    fake.script.release()


@BOTH
async def test_on_a_small_screen_everything_fits_and_is_big_enough_for_a_finger(
    visitor: Visitor, fake: FakeOpenAI, lang: str
) -> None:
    page = visitor.page
    await page.set_viewport_size({"width": PHONE, "height": 740})
    await come(visitor, lang)
    await visitor.open()
    await expect(page.locator(".empty .button")).to_be_visible()
    await fits(page)
    await page.locator(".empty .button").click()
    await talk(visitor, fake)
    await fits(page)
    await visitor.start_recording()
    await fits(page)
    await visitor.speak()
    await visitor.stop_recording()
    await fits(page)
    await visitor.button("rec.discard").click()

    await page.locator(".head .drawer-only").click()
    await expect(page.get_by_role("searchbox")).to_be_focused()
    assert await page.locator("main").evaluate("main => main.inert")
    await assert_for_everybody(page)
    await fits(page)
    await page.locator(".side-scroll > .ghost-button").click()
    await page.locator("dialog summary").click()
    await fits(page)
    await closed(page)
    await page.locator(".side-tools .icon-button").click()
    await fits(page)
    await closed(page)
    await page.locator("a.side-row").click()
    await expect(page.locator("tfoot")).to_be_visible()
    await fits(page)
    await expect(page.locator(".shell.is-open")).to_have_count(0)
    fake.script.release()


async def test_without_motion_nothing_moves_of_itself(visitor: Visitor, fake: FakeOpenAI) -> None:
    await visitor.page.emulate_media(reduced_motion="reduce")
    await visitor.start()
    fake.script.add("chat", Answer(hold=True))
    await visitor.say("Hello")
    await expect(visitor.states).to_contain_text(["Thinking…"])
    await visitor.start_recording()
    moving = "document.getAnimations().filter((one) => one.effect.getComputedTiming().activeDuration > 1).length"
    assert await visitor.page.evaluate(moving) == 0
    fake.script.release()


class TestWhereOneSignsIn:
    """With accounts."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return guarded_by(settings)

    @BOTH
    async def test_axe_finds_nothing_grave_on_the_way_in_and_in_the_account(self, visitor: Visitor, lang: str) -> None:
        page = visitor.page
        await page.set_viewport_size({"width": PHONE, "height": 740})
        await come(visitor, lang)
        await visitor.open()
        await expect(page.locator(".card")).to_be_visible()
        await page.locator(".card > .ghost-button:not([lang])").click()
        await page.locator("[type=submit]").click()
        await expect(page.locator("[aria-invalid]")).to_have_count(2)
        await assert_for_everybody(page)
        await fits(page)
        await page.locator("[name=username]").fill("alice")
        await page.locator("[name=password]").fill("correct horse")
        await page.locator("[type=submit]").click()
        await expect(page.locator(".empty .button")).to_be_visible()
        await page.goto(f"{visitor.base}/#/account")
        await expect(page.locator(".facts")).to_be_visible()
        await page.locator(".panel-head .ghost-button").click()
        await page.locator("dialog input[type=text]").fill("Reception")
        await page.locator("dialog [type=submit]").click()
        await expect(page.locator(".secret")).to_be_visible()
        await assert_for_everybody(page)
        await fits(page)
        await page.locator("dialog .button").click()
        await expect(page.locator(".keys li")).to_have_count(1)
        await assert_for_everybody(page)
        await fits(page)
