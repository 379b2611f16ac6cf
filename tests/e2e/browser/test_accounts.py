"""Where one signs in: the page asks for it first, shows what one has, and looks after keys."""

import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import BrowserContext, Page, expect

from shared.audio.pool import AudioPool
from shared.config import Settings
from tests.e2e.browser.conftest import base_of, watched
from tests.e2e.browser.person import Person
from tests.e2e.browser.watch import Watch
from tests.live import API, Live, live_parley

PASSWORD = "correct horse"


@pytest.fixture
async def guarded(settings: Settings, audio_pool: AudioPool) -> AsyncIterator[Live]:
    """A Parley that asks who is there, and whose tokens last a moment."""
    asking = settings.model_copy(update={"auth": "on", "access_token_s": 3.0, "default_balance": 5})
    async with live_parley(asking, audio_pool) as live:
        yield live


@pytest.fixture
async def ann(page: Page, guarded: Live) -> Person:
    """Somebody with a new account."""
    ann = Person(page, base_of(guarded))
    await ann.open()
    await ann.button("sign.to_up").click()
    await page.get_by_label("Username").fill("Ann")
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await ann.button("sign.up").click()
    await expect(ann.button("talk.first_start")).to_be_visible()
    return ann


async def test_nothing_is_asked_for_before_one_has_signed_in(page: Page, guarded: Live) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    ann = Person(page, base_of(guarded))
    await ann.open()
    await expect(ann.button("sign.in")).to_be_visible()
    assert [url for url in asked if API in url] == []


async def test_a_wrong_password_is_told_and_can_be_corrected(ann: Person, watch: Watch) -> None:
    watch.allow("401")
    await ann.page.get_by_role("link", name="ann").click()
    await ann.button("sign.out").click()
    await ann.page.get_by_label("Username").fill("ann")
    for password, told in (("wrong horse", "is wrong"), (PASSWORD, "")):
        await ann.page.get_by_label("Password", exact=True).fill(password)
        await ann.button("sign.in").click()
        if told:
            await expect(ann.page.get_by_role("alert")).to_contain_text(told)
    await expect(ann.button("side.new")).to_be_visible()


async def test_two_pages_of_one_login_go_on_when_its_tokens_are_renewed(
    ann: Person, context: BrowserContext, watch: Watch
) -> None:
    await ann.new_conversation()
    other = Person(await watched(context, watch), ann.base)
    await other.open(re.sub(r"^[^#]*", "/", ann.page.url))
    for n in range(3):
        await ann.page.wait_for_timeout(2_500)
        await ann.write(f"From here {n}")
        await other.write(f"From there {n}")
    await ann.hears_back("From here 2")
    await other.hears_back("From there 2")


async def test_balance_usage_and_keys_are_shown(ann: Person) -> None:
    await ann.new_conversation()
    await ann.write("What does it cost?")
    await ann.hears_back("You said")
    await expect(ann.page.locator(".balance")).to_have_text(re.compile(r"\$\d"))
    await ann.page.get_by_role("link", name="ann").click()
    await expect(ann.page.get_by_role("row", name="Total")).to_contain_text("$")
    await ann.button("key.new").click()
    await ann.page.get_by_role("textbox", name="Name").fill("Front desk")
    await ann.button("key.make").click()
    await expect(ann.page.locator(".secret")).to_have_text(re.compile("^parley_"))
    await ann.button("key.done").click()
    await ann.page.get_by_role("button", name="Revoke Front desk").click()
    await ann.page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    await expect(ann.page.locator(".keys")).to_contain_text("Revoked")
