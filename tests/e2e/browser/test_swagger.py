"""Swagger UI, as somebody uses it who presses "Try it out" and "Execute" and changes as little as they can."""

import json
from typing import Any

from playwright.async_api import Locator, Page, Response

from tests.api.test_docs import SCHEMA
from tests.conftest import SAMPLES
from tests.e2e.browser.conftest import base_of
from tests.e2e.browser.watch import Watch
from tests.live import API, Live

POSTS = [path for path, operations in SCHEMA["paths"].items() if "post" in operations]
ID = "01936b2e-0000-7000-8000-000000000000"
NOTE = SAMPLES / "en_03_opus.ogg"


async def opened(page: Page, live: Live, path: str) -> Locator:
    """The block of a POST, being tried out."""
    if not page.url.endswith("/docs"):
        await page.goto(f"{base_of(live)}{API}/docs")
    block = page.locator(".opblock-post").filter(has=page.locator(f'[data-path="{path}"]'))
    await block.locator(".opblock-summary-control").click()
    await block.locator(".try-out__btn").click()
    return block


async def executed(page: Page, block: Locator, path: str) -> Response:
    parts = path.partition("{")[0]
    async with page.expect_response(lambda answer: answer.request.method == "POST" and parts in answer.url) as answer:
        await block.locator("button.execute").click()
    return await answer.value


async def test_nothing_that_it_fills_in_is_refused(parley: Live, page: Page, watch: Watch) -> None:
    watch.allow("status of 40[1349]")  # nobody has signed in, and the examples' ids are nobody's
    assert len(POSTS) >= 15
    for path in POSTS:
        block = await opened(page, parley, path)
        for field in await block.locator("input[placeholder$=_id]").all():
            if not await field.input_value():
                await field.fill(ID)
        for field in await block.locator("input[type=file]").all():
            await field.set_input_files(NOTE)
        answer = await executed(page, block, path)
        assert answer.status in {200, 201, 202, 204, 401, 403, 404, 409}, (path, await answer.text())
        await block.locator(".opblock-summary-control").click()


async def test_a_message_of_either_kind_is_answered_once_its_session_is_filled_in(parley: Live, page: Page) -> None:
    session = (await parley.session())["id"]
    jobs: list[dict[str, Any]] = []
    block = await opened(page, parley, f"{API}/message/text")
    body = block.locator("textarea").first
    await body.fill(json.dumps(json.loads(await body.input_value()) | {"session_id": session}))
    jobs.append(await (await executed(page, block, f"{API}/message/text")).json())
    block = await opened(page, parley, f"{API}/message/voice")
    await block.locator("input[placeholder=session_id]").fill(session)
    await block.locator("input[type=file]").set_input_files(NOTE)
    assert await block.locator("input[placeholder=language]").input_value() == ""
    jobs.append(await (await executed(page, block, f"{API}/message/voice")).json())
    for job in jobs:
        done = await parley.done(job)
        assert done["status"] == "succeeded", done
