"""The microphone button: clicked, held, looked at, sent, and what it says when there is nothing to hear."""

import pytest
from playwright.async_api import expect

from tests.e2e.browser.bench import Bench
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
    assert duration > 0.7
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


async def test_enter_starts_stops_and_sends(person: Bench) -> None:
    await person.begin()
    await person.recorder()
    await person.button("rec.record").focus()
    await person.page.keyboard.press("Enter")
    await person.state("recording")
    await person.speak()
    await person.page.keyboard.press("Enter")
    await person.state("preview")
    await expect(person.button("rec.send")).to_be_focused()
    await person.page.keyboard.press("Enter")
    assert heard(await person.sent())[1] > LOUD
    await person.state("idle")
    await expect(person.button("rec.record")).to_be_focused()


@pytest.mark.parametrize("at", ["recording", "preview"])
async def test_escape_discards(person: Bench, at: str) -> None:
    await person.begin()
    await person.recorder()
    await person.start_recording()
    if at == "preview":
        await person.speak(0.5)
        await person.stop_recording()
    await person.page.keyboard.press("Escape")
    await person.state("idle")
    assert await person.ask("open()") == 0
    assert await person.ask("sent") == []
    assert (await person.ask("said"))[-1] == "Recording discarded."
    await expect(person.button("rec.record")).to_be_focused()


async def test_escape_while_it_is_held_discards(person: Bench) -> None:
    await person.begin()
    await person.recorder()
    async with person.holding():
        await person.state("recording")
        await person.page.keyboard.press("Escape")
        await person.state("idle")
    await person.state("idle")
    assert await person.ask("open()") == 0


async def test_let_go_while_the_browser_asks_it_does_not_listen_behind_ones_back(person: Bench) -> None:
    await person.begin()
    await person.recorder()
    await person.page.evaluate("() => { bench.answer = new Promise((resolve) => { bench.allow = resolve; }); }")
    async with person.holding():
        await person.state("asking")
        await person.speak()
    await person.state("idle")
    await expect(person.page.locator(".rec-note")).to_have_text(person.words["rec.ready"])
    await person.ask("allow()")
    await person.until("streams.length === 1")
    await person.until("open() === 0")
    assert await person.ask("states") == ["asking", "idle"]
    await person.start_recording()
    assert await person.ask("open()") == 1


async def test_what_was_recorded_can_be_heard_and_recorded_anew(person: Bench) -> None:
    await person.begin()
    await person.recorder()
    await person.record()
    audio = person.page.locator(".rec-preview audio")
    await expect(person.page.locator(".rec-preview [data-drawn]")).to_have_count(1)
    await person.button("play.play").click()
    assert await person.level(audio) > LOUD
    assert await person.seconds(audio) > 0
    await person.button("rec.again").click()
    await person.state("recording")
    assert await audio.count() == 0
    await person.speak(0.5)
    await person.stop_recording()
    await person.button("rec.discard").click()
    await person.state("idle")
    assert await person.ask("sent") == []
    assert await person.ask("rec.isActive") is False


async def test_what_could_not_be_sent_is_kept(person: Bench) -> None:
    await person.begin()
    await person.recorder()
    await person.record(0.6)
    await person.page.evaluate("bench.refuse = 1")
    await person.send()
    await expect(person.page.get_by_text(person.words["rec.unsent"]).first).to_be_visible()
    await person.state("preview")
    await person.send()
    assert heard(await person.sent())[0] > 0.3


async def test_a_silence_after_speech_sends_if_that_is_wished(person: Bench) -> None:
    await person.begin()
    await person.recorder(autoSend=True)
    await person.start_recording()
    await person.state("idle")
    duration, loudness = heard(await person.sent())
    assert loudness > LOUD
    assert duration > 1.5
    assert await person.ask("states") == ["asking", "recording", "sending", "idle"]
    assert await person.ask("open()") == 0


async def test_it_stops_at_the_longest_and_says_so(person: Bench) -> None:
    await person.begin()
    await person.recorder(longestS=1)
    await person.start_recording()
    await person.state("preview")
    told = person.words["rec.limit"].replace("{time}", "0:01")
    assert (await person.ask("said"))[-1] == told
    await expect(person.page.locator(".rec-note")).to_have_text(told)
    await person.send()
    assert heard(await person.sent())[0] <= 1


async def test_a_recording_too_short_for_a_word_is_explained(person: Bench) -> None:
    await person.begin()
    await person.recorder(isHasty=True)
    await person.button("rec.record").click()
    await person.state("error")
    await expect(person.page.locator(".rec-note")).to_have_text(person.words["rec.short"])
    assert await person.ask("open()") == 0
    assert await person.ask("sent") == []


async def test_a_microphone_that_goes_away_leaves_what_it_heard(person: Bench) -> None:
    await person.begin()
    await person.recorder()
    await person.start_recording()
    await person.speak()
    await person.page.evaluate(UNPLUG)
    await person.state("preview")
    await expect(person.page.locator(".rec-note")).to_have_text(person.words["rec.lost"])
    await person.send()
    assert heard(await person.sent())[1] > LOUD


async def test_destroyed_it_lets_go(person: Bench) -> None:
    await person.begin()
    await person.recorder()
    await person.start_recording()
    await person.ask("rec.destroy()")
    assert await person.ask("open()") == 0
    assert await person.page.locator(".rec").count() == 0


# A track that stops by itself, as an unplugged one does: no event comes of our own stop().
UNPLUG = """() => {
  const track = bench.streams[0].getTracks()[0];
  track.stop();
  track.dispatchEvent(new Event("ended"));
}"""
