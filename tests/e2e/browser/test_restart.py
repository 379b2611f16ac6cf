"""The page while the server dies in the middle of a job, and comes back."""

import asyncio
import re
from pathlib import Path

from playwright.async_api import Page, expect

from tests.e2e.browser.visitor import ANSWERED_MS, Visitor
from tests.e2e.browser.watch import Watch
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.processes import running, wait_until_healthy
from tests.services import free_port

BROKEN_OFF = "ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|ERR_NETWORK_IO"


async def test_a_server_that_dies_and_comes_back_is_waited_for_and_nothing_is_shown_twice(
    page: Page, fake: FakeOpenAI, watch: Watch, tmp_path: Path
) -> None:
    watch.allow(BROKEN_OFF)
    url = f"http://127.0.0.1:{(port := free_port())}"
    env = {"PORT": str(port), "DATA_DIR": str(tmp_path / "d"), "OPENAI_API_KEY": "sk-test-canary", "OPENAI_BASE_URL": fake.url, "LEASE_S": "1"}  # fmt: skip
    pieces = ["It begins, ", "goes on, ", "and ends."]
    fake.script.add("chat", Answer(pieces=pieces, stall_after=3), Answer(pieces=pieces))
    visitor = Visitor(page, url)
    with running("-m", "standalone", log=tmp_path / "first", env=env) as first:
        await asyncio.to_thread(wait_until_healthy, url, first)
        await visitor.start()
        await visitor.say("Are you there?")
        await expect(visitor.replies).to_have_text(["It begins, goes on,"])
        await asyncio.to_thread(first.kill)
        away = page.get_by_text("The server can't be reached. Trying again…")
        await expect(away).to_be_visible()
        await visitor.say("And now?")
        await expect(visitor.states.last).to_contain_text("Waiting for the connection…")
    with running("-m", "standalone", log=tmp_path / "second", env=env) as second:
        await asyncio.to_thread(wait_until_healthy, url, second)
        await expect(away).to_be_hidden(timeout=ANSWERED_MS)
        await visitor.answered("You said: And now?")
        await expect(visitor.turns).to_have_count(2)
        await expect(visitor.replies).to_have_text(
            [re.compile(r"^It begins, goes on, and ends\.\s*$"), re.compile("^You said: And now")]
        )
        await expect(visitor.turns.first.locator(".state:not([hidden])")).to_have_count(0)
        assert second.stop() == 0
    assert [call.text for call in fake.script.of("chat")].count("And now?") == 1, "it was sent once"
