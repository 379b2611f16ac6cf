"""The microphone button: clicked, held, looked at, sent, and what it says when there is nothing to hear."""

from typing import Any

import pytest
from playwright.async_api import expect

from tests.e2e.browser.person import Bench
from tests.e2e.browser.sounds import heard

LOUD = 0.02  # of full scale: speech, not a room


async def test_clicked_and_clicked_again_it_records_what_is_sent(person: Bench) -> None:
    await person.begin()
    await person.recorder()
    await person.start_recording()
    await expect(person.page.locator(".rec-time")).to_have_text("0:01")
    await expect(person.page.locator(".rec-wave > *")).to_have_count(1)
    await person.page.wait_for_function("() => document.querySelector('.rec-meter').ariaValueNow > 20")
    await person.stop_recording()
    assert await person.ask("open()") == 0, "the microphone is let go before it is sent"
    await person.send()
    duration, loudness = heard(await person.sent())
    info = await person.ask("sent[0]")
    assert info["filename"] == "recording.webm"
    assert duration == pytest.approx(info["duration_s"], abs=0.3)
    assert duration > 0.9
    assert loudness > LOUD
    assert await person.ask("states") == ["asking", "recording", "preview", "sending", "idle"]


@pytest.mark.parametrize("how", ["pointer", "space"])
async def test_held_it_records_until_it_is_let_go(person: Bench, how: str) -> None:
    await person.begin()
    await person.recorder()
    async with person.holding(how):
        await person.state("recording")
        await person.speak()
        await person.state("recording")
    await person.state("preview")
    await person.send()
    assert heard(await person.sent())[1] > LOUD
    assert await person.ask("open()") == 0
