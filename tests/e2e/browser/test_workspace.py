"""Going from one conversation to another, and what comes along."""

import asyncio
import re

import pytest
from playwright.async_api import Page, Route, expect

from tests.e2e.browser.conftest import base_of
from tests.e2e.browser.visitor import Visitor
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
