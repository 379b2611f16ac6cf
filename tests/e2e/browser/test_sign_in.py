"""Signing in, and what is whose."""

import asyncio
import re
from decimal import Decimal

import pytest
from playwright.async_api import BrowserContext, Page, expect
from pydantic import SecretStr

from shared.config import Settings
from tests.e2e.browser.conftest import base_of, watched
from tests.e2e.browser.visitor import PASSWORD, Visitor
from tests.e2e.browser.watch import Watch
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live

SECRET = "0123456789abcdef0123456789abcdef"
LIFE_S = 4.0
RUN_OUT = "() => JSON.parse(localStorage['parley.tokens']).until < Date.now()"
END_NOW = "localStorage['parley.tokens'] = JSON.stringify({...JSON.parse(localStorage['parley.tokens']), until: 0})"


def guarded_by(settings: Settings) -> Settings:
    """Settings of a Parley that asks who is there, and gives half a dollar to who comes."""
    return settings.model_copy(
        update={"auth": "on", "jwt_secret": SecretStr(SECRET), "default_balance": Decimal("0.5")}
    )


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return guarded_by(settings)


@pytest.fixture
def visitor(parley: Live, page: Page) -> Visitor:
    return Visitor(page, base_of(parley))


def refreshes(context: BrowserContext) -> list[str]:
    """The requests for new tokens, as they are made."""
    made: list[str] = []
    context.on("request", lambda request: made.append(request.url) if request.url.endswith("/refresh") else None)
    return made


async def test_an_account_is_made_left_and_entered_again(visitor: Visitor, watch: Watch) -> None:
    page = visitor.page
    await visitor.open()
    await expect(page.get_by_role("heading", name="Sign in to Parley")).to_be_visible()
    await expect(page.get_by_label("Username", exact=True)).to_be_focused()
    await expect(page.locator("aside")).to_have_count(0)
    assert watch.complaints == [], "a stranger's page asks for nothing that it may not have"
    await visitor.sign_up("alice")
    await page.get_by_role("button", name="Start talking").click()
    await visitor.say("Hello")
    await visitor.answered("You said: Hello")
    address = page.url

    await page.get_by_role("link", name=re.compile("Account and usage")).click()
    await page.get_by_role("button", name="Sign out", exact=True).click()
    await expect(page.get_by_role("heading", name="Sign in to Parley")).to_be_visible()
    assert (
        await page.evaluate("Object.keys(localStorage).filter((name) => /tokens|last|drafts|unsent/.test(name))") == []
    )
    await page.goto(address)
    await expect(page.get_by_text("You said: Hello")).to_have_count(0)

    watch.allow("status of 401")
    await sign_in(page, "alice", "wrong horse")
    await expect(page.get_by_role("alert")).to_have_text("The username or the password is wrong.")
    await sign_in(page, "alice", PASSWORD)
    await visitor.answered("You said: Hello")


async def sign_in(page: Page, username: str, password: str) -> None:
    await page.get_by_label("Username", exact=True).fill(username)
    await page.get_by_label("Password", exact=True).fill(password)
    await page.get_by_role("button", name="Sign in", exact=True).click()


async def test_what_is_left_and_what_was_used_is_shown(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.sign_up("alice")
    account = page.get_by_role("link", name="alice, Account and usage, Balance $0.50")
    await expect(account).to_be_visible()
    await page.get_by_role("button", name="Start talking").click()
    await visitor.say("Hello")
    await visitor.answered("You said: Hello")
    account = page.get_by_role("link", name=re.compile(r"alice, Account and usage, Balance \$0\.49"))
    await expect(account).to_be_visible()
    await account.click()
    await expect(page.get_by_role("heading", name="Account and usage")).to_be_focused()
    await expect(page.locator(".facts")).to_contain_text("alice")
    await expect(page.locator(".amount")).to_contain_text("$0.49")
    usage = page.get_by_role("region", name="Usage")
    await expect(usage.get_by_role("row", name=re.compile(r"^Total 1 .*\$0\.00\d+$"))).to_be_visible()
    await page.get_by_role("button", name="Model", exact=True).click()
    await expect(usage.get_by_role("rowheader", name=re.compile("gpt"))).to_be_visible()


async def test_a_key_is_shown_once_works_and_is_revoked(visitor: Visitor, parley: Live) -> None:
    page = visitor.page
    await visitor.sign_up("alice")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.get_by_role("link", name=re.compile("Account and usage")).click()
    await page.get_by_role("button", name="New key", exact=True).click()
    await page.get_by_role("dialog").get_by_label("Name", exact=True).fill("Reception")
    await page.get_by_role("dialog").get_by_label("write", exact=True).uncheck()
    await page.get_by_role("button", name="Make key", exact=True).click()
    shown = page.get_by_role("dialog", name="Your new key")
    key = await shown.locator(".secret").inner_text()
    await shown.get_by_role("button", name="Copy the key").click()
    await expect(shown.get_by_text("Copied.")).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == key
    await leave_three_times(page)
    await shown.get_by_role("button", name="I have copied it").click()

    row = page.get_by_role("listitem").filter(has_text="Reception")
    await expect(row).to_contain_text("Active")
    assert key not in await page.content(), "it is shown this once"
    headers = {"Authorization": f"Bearer {key}"}
    assert (await parley.http.get(f"{API}/agent", headers=headers)).status_code == 200
    assert (await parley.http.post(f"{API}/agent", json={"name": "No"}, headers=headers)).status_code == 403
    await row.get_by_role("button", name="Revoke Reception").click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke", exact=True).click()
    await expect(row).to_contain_text("Revoked")
    assert (await parley.http.get(f"{API}/agent", headers=headers)).status_code == 401


async def test_a_key_that_may_nothing_or_is_over_is_refused_in_the_pages_own_words(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.sign_up("alice")
    await page.get_by_role("link", name=re.compile("Account and usage")).click()
    await page.get_by_role("button", name="New key", exact=True).click()
    form = page.get_by_role("dialog", name="New key")
    await form.get_by_label("Name", exact=True).fill("Reception")
    await form.get_by_label("read", exact=True).uncheck()
    await form.get_by_label("write", exact=True).uncheck()
    await form.get_by_role("button", name="Make key", exact=True).click()
    await expect(form.locator(".field-error:visible")).to_have_text("Choose at least one.")
    await form.get_by_label("read", exact=True).check()
    await form.get_by_label("Ends on").fill("2020-01-01")
    await form.get_by_role("button", name="Make key", exact=True).click()
    await expect(form.locator(".field-error:visible")).to_have_text("This day is over. Choose a later one.")


async def leave_three_times(page: Page) -> None:
    """Twice by Esc, which a browser lets nobody refuse for ever, and by a click beside what is open."""
    for _ in range(2):
        await page.keyboard.press("Escape")
    await page.mouse.click(5, 5)


async def test_the_address_of_somebody_elses_conversation_shows_nothing_of_it(
    visitor: Visitor, parley: Live, watch: Watch
) -> None:
    watch.allow("status of 404")
    bob = await parley.sign_in("bob")
    agent = (await parley.http.post(f"{API}/agent", json={"name": "Bob's own"}, headers=bob)).json()
    fields = {"agent_id": agent["id"], "name": "Bob's secret"}
    session = (await parley.http.post(f"{API}/session", json=fields, headers=bob)).json()
    await visitor.sign_up("alice")
    await visitor.page.goto(f"{visitor.base}/#/s/{session['id']}")
    await expect(visitor.page.get_by_text("This conversation is gone. Choose another one.")).to_be_visible()
    await expect(visitor.page.get_by_role("button", name="Start talking")).to_be_visible()
    assert "Bob" not in await visitor.page.content()
    assert session["id"] not in visitor.page.url


async def test_two_tabs_share_one_new_token(visitor: Visitor, context: BrowserContext, watch: Watch) -> None:
    made = refreshes(context)
    await visitor.sign_up("alice")
    other = Visitor(await watched(context, watch), visitor.base)
    await other.open()
    pages = [visitor.page, other.page]
    await expect(other.page.get_by_role("button", name="Start talking")).to_be_visible()
    assert made == []
    await visitor.page.evaluate(END_NOW)
    await asyncio.gather(*(page.get_by_role("link", name=re.compile("Account")).click() for page in pages))
    for page in pages:
        await expect(page.locator(".facts")).to_contain_text("alice")
    assert len(made) == 1, "each is good once: a second request for it would end the login"


async def test_signing_out_in_one_tab_signs_out_the_other(
    visitor: Visitor, context: BrowserContext, watch: Watch
) -> None:
    await visitor.sign_up("alice")
    other = Visitor(await watched(context, watch), visitor.base)
    await other.start()
    await visitor.page.get_by_role("link", name=re.compile("Account")).click()
    await visitor.page.get_by_role("button", name="Sign out", exact=True).click()
    await expect(other.page.get_by_role("heading", name="Sign in to Parley")).to_be_visible()
    await expect(other.message).to_have_count(0)


class TestShortLived:
    """A token that runs out in four seconds."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"access_token_s": LIFE_S})

    async def test_a_token_that_has_run_out_is_renewed_without_a_word(
        self, visitor: Visitor, context: BrowserContext
    ) -> None:
        made = refreshes(context)
        await visitor.sign_up("alice")
        await visitor.page.get_by_role("button", name="Start talking").click()
        await expect(visitor.message).to_be_focused()
        await visitor.page.wait_for_function(RUN_OUT)
        await visitor.say("Hello")
        await visitor.answered("You said: Hello")
        await expect(visitor.page.locator(".toast")).to_have_count(0)
        assert made


async def end_logins(parley: Live, now: str, new: str) -> None:
    """All of alice's, but one of her own elsewhere: there she changes her password."""
    tokens = (await parley.http.post(f"{API}/auth/login", json={"username": "alice", "password": now})).json()
    change = {"current_password": now, "new_password": new}
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await parley.http.post(f"{API}/auth/password", json=change, headers=headers)).status_code == 200


async def test_a_login_that_ended_elsewhere_asks_to_sign_in_again(visitor: Visitor, parley: Live, watch: Watch) -> None:
    watch.allow("status of 401")
    await visitor.sign_up("alice")
    await end_logins(parley, PASSWORD, "another horse")
    await visitor.page.get_by_role("link", name=re.compile("Account")).click()
    await expect(visitor.page.get_by_text("You were signed out. Sign in again to go on.")).to_be_visible()
    await sign_in(visitor.page, "alice", "another horse")
    await expect(visitor.page.get_by_role("heading", name="Account and usage")).to_be_visible()


async def test_a_login_that_ends_elsewhere_while_a_reply_is_read_asks_to_sign_in_again_and_goes_on(
    visitor: Visitor, parley: Live, fake: FakeOpenAI, watch: Watch
) -> None:
    watch.allow("status of 401")
    page = visitor.page
    await visitor.sign_up("alice")
    await page.get_by_role("button", name="Start talking").click()
    fake.script.add("chat", Answer(pieces=["It begins ", *["and goes on "] * 40, "to its end."], chunk_delay_s=0.3))
    await visitor.say("Tell me a long story")
    await expect(page.get_by_text("and goes on").first).to_be_visible()
    await end_logins(parley, PASSWORD, "another horse")
    await expect(page.get_by_text("You were signed out. Sign in again to go on.")).to_be_visible()
    await sign_in(page, "alice", "another horse")
    await expect(page.get_by_text("to its end.")).to_be_visible(timeout=60_000)


async def test_what_was_said_when_the_login_ended_waits_for_the_same_person_alone(
    visitor: Visitor, parley: Live, watch: Watch
) -> None:
    watch.allow("status of 401")
    page = visitor.page
    assert (await parley.http.post(f"{API}/auth/register", json={"username": "bob", "password": PASSWORD})).is_success
    await visitor.sign_up("alice")
    await page.get_by_role("button", name="Start talking").click()
    await expect(visitor.message).to_be_focused()
    address = page.url
    await end_logins(parley, PASSWORD, "another horse")
    await visitor.say("Are you there?")
    await sign_in(page, "alice", "another horse")
    await visitor.answered("You said: Are you there?")
    assert page.url == address

    await end_logins(parley, "another horse", PASSWORD)
    await visitor.say("My secret")
    await sign_in(page, "bob", PASSWORD)
    await expect(page.get_by_role("button", name="Start talking")).to_be_visible()
    assert "#" not in page.url
    assert "My secret" not in await page.evaluate("JSON.stringify(localStorage)")


async def test_a_wrong_current_password_is_told_in_the_form_and_ends_no_login(visitor: Visitor, watch: Watch) -> None:
    watch.allow("status of 401")
    page = visitor.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/auth/password") else None)
    await visitor.sign_up("alice")
    await page.get_by_role("link", name=re.compile("Account")).click()
    await page.get_by_role("button", name="Change password", exact=True).click()
    dialog = page.get_by_role("dialog", name="Change password")
    await dialog.get_by_label("Current password", exact=True).fill("wrong horse")
    await dialog.get_by_label("New password", exact=True).fill("another horse")
    await dialog.get_by_role("button", name="Save", exact=True).click()
    await expect(dialog.get_by_role("alert")).to_contain_text("password is wrong")
    await dialog.get_by_label("Current password", exact=True).fill(PASSWORD)
    await dialog.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_text("Password changed.")).to_be_visible()
    assert len(asked) == 2
