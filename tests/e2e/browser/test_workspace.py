"""Going from one conversation to another, and what comes along."""

import asyncio
import re

import pytest
from playwright.async_api import Page, Route, expect

from tests.e2e.browser.conftest import base_of
from tests.e2e.browser.visitor import Visitor
from tests.e2e.browser.watch import Watch
from tests.live import API, Live


@pytest.fixture
def visitor(parley: Live, page: Page) -> Visitor:
    return Visitor(page, base_of(parley))


async def test_another_conversation_is_chosen_while_one_is_being_opened(visitor: Visitor, parley: Live) -> None:
    agent = await parley.agent()
    names = ["Here", "Slow", "Quick"]
    _, slow, _ = [await parley.session(agent_id=agent["id"], name=name) for name in names]
    page = visitor.page
    await visitor.open()
    answers = asyncio.Event()

    async def answer_late(route: Route) -> None:
        await answers.wait()
        await route.continue_()

    await page.route(re.compile(f"{API}/message/conversation/{slow['id']}"), answer_late)
    async with page.expect_request(re.compile(f"/conversation/{slow['id']}")):
        await page.get_by_role("link", name="Slow", exact=True).click()
    await page.get_by_role("link", name="Quick", exact=True).click()
    await expect(page.get_by_role("heading", name="Quick", exact=True)).to_be_visible()
    answers.set()
    await expect(page.get_by_role("alert")).to_have_count(0)


async def test_a_double_click_begins_one_conversation(visitor: Visitor, parley: Live) -> None:
    page = visitor.page
    await visitor.open()
    await page.get_by_role("button", name="Start talking").dblclick()
    await expect(visitor.message).to_be_focused()
    more = page.get_by_role("button", name="New conversation", exact=True)
    conversations = page.locator("a.session")
    await more.click()
    await expect(conversations).to_have_count(2)
    await page.mouse.down(click_count=2)  # the second click of a slow one, when the first has done its work
    await page.mouse.up(click_count=2)
    await more.click()
    await expect(conversations).to_have_count(3)
    agents, sessions = [(await parley.http.get(f"{API}/{noun}")).json()["items"] for noun in ("agent", "session")]
    assert (len(agents), len(sessions)) == (1, 3)


async def test_a_recording_is_given_up_only_when_one_says_so(visitor: Visitor, parley: Live) -> None:
    await parley.session(name="Another")
    await parley.session(name="Here")
    page = visitor.page
    await visitor.open()
    await expect(page).to_have_url(re.compile("#/s/"))
    address = page.url
    await visitor.start_recording()
    asked = page.get_by_role("dialog", name="Discard the recording?")
    another = page.get_by_role("link", name="Another", exact=True)
    await another.click()
    await expect(asked).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(asked).to_have_count(0)
    await expect(page).to_have_url(address)
    await visitor.speak()
    await visitor.stop_recording()
    for name in ("New conversation", "العربية"):
        await page.get_by_role("button", name=name, exact=True).click()
        await asked.get_by_role("button", name="Cancel", exact=True).click()
    await page.get_by_role("button", name="Settings", exact=True).click()
    await page.get_by_role("radio", name="العربية").click()
    await asked.get_by_role("button", name="Cancel", exact=True).click()
    await expect(page.get_by_role("radio", name="English")).to_be_checked()
    await page.keyboard.press("Escape")
    await visitor.state("preview")
    await another.click()
    await asked.get_by_role("button", name="Discard", exact=True).click()
    await expect(page.get_by_role("heading", name="Another", exact=True)).to_be_visible()
    await visitor.state("idle")
    assert len((await parley.http.get(f"{API}/session")).json()["items"]) == 2


async def test_an_agent_whose_conversations_are_not_loaded_yet_is_not_said_to_have_none(
    visitor: Visitor, parley: Live
) -> None:
    page = visitor.page
    await parley.session(name="The oldest")
    busy, _ = await parley.agent(name="Busy"), await parley.agent(name="Idle")
    for number in range(100):
        await parley.session(agent_id=busy["id"], name=f"Number {number}")
    none = page.get_by_text("No conversations yet")
    await visitor.open()
    await expect(page.locator("a.session")).to_have_count(100)
    await expect(none).to_have_count(0)
    await page.get_by_role("button", name="Show more").click()
    await expect(page.get_by_role("link", name="The oldest", exact=True)).to_be_visible()
    await expect(none).to_have_count(1)


async def test_a_language_that_can_not_be_loaded_is_told_and_not_kept(visitor: Visitor, watch: Watch) -> None:
    watch.allow("ERR_INTERNET_DISCONNECTED")
    page = visitor.page
    await visitor.start()
    arabic = page.get_by_role("button", name="العربية", exact=True)
    await page.context.set_offline(True)
    await arabic.click()
    await expect(page.get_by_text("The language could not be loaded.")).to_be_visible()
    assert await page.evaluate("localStorage['parley.settings']") is None
    await page.context.set_offline(False)
    await arabic.click()
    await expect(page.locator("html")).to_have_attribute("lang", "ar")
