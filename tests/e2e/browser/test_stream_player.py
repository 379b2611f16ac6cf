"""A reply that is heard while it is being spoken."""

from typing import Any

import pytest
from playwright.async_api import Page, expect

from shared.audio import mp3
from tests.e2e.browser.bench import Bench
from tests.e2e.browser.conftest import base_of
from tests.e2e.browser.watch import Watch
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import Live

FIRST = "This is the first sentence of all."
REST = ["This is the second one.", "And this is the third one."]
LOUD = 0.02


@pytest.fixture
def speaker(page: Page, parley: Live) -> Bench:
    """A person whose Parley answers."""
    return Bench(page, base_of(parley))


async def asked(live: Live, fake: FakeOpenAI, *, held: str | None = REST[0]) -> dict[str, Any]:
    """A job whose reply is spoken; the sentence `held` is not, before the script is released."""
    fake.script.add("chat", Answer(text=" ".join([FIRST, *REST])))
    if held:
        fake.script.add("speech", Answer(hold=True, when=held))
    return await live.text((await live.session())["id"], reply_audio=True)


async def listen(person: Bench, job: dict[str, Any]) -> None:
    await person.begin()
    await person.page.evaluate("path => bench.stream(path)", f"{job['links']['audio']}?stream=1")


async def hear_out(person: Bench) -> None:
    """Hear it to its end, sooner than it would take."""
    await person.page.locator(".player-stream audio").evaluate("audio => { audio.playbackRate = 8; }")
    await person.until("events.includes('ended')")


async def test_it_sounds_before_the_rest_is_spoken(speaker: Bench, parley: Live, fake: FakeOpenAI) -> None:
    job = await asked(parley, fake)
    await listen(speaker, job)
    await speaker.page.evaluate("void bench.streamed.start()")
    audio = speaker.page.locator(".player-stream audio")
    assert await speaker.level(audio) > LOUD
    await speaker.until("events.includes('sound')")
    assert (await parley.http.get(job["links"]["self"])).json()["status"] == "running"
    assert await speaker.ask("events") == ["sound"]
    fake.script.release()
    await hear_out(speaker)
    await parley.done(job)
    whole = mp3.duration((await parley.http.get(job["links"]["audio"])).content)
    assert await audio.evaluate("audio => audio.played.length && audio.played.end(audio.played.length - 1)") >= 0
    await expect(speaker.page.locator(".player-stream")).to_have_attribute("data-state", "ended")
    shown = await speaker.page.locator(".player-time").text_content()
    assert shown in {f"0:{int(whole) - n:02}" for n in (0, 1)}
    assert await speaker.ask("events") == ["sound", "ended"]


async def test_a_browser_that_wants_a_gesture_gets_a_button(speaker: Bench, parley: Live, fake: FakeOpenAI) -> None:
    job = await asked(parley, fake, held=None)
    async with speaker.page.expect_console_message(lambda message: message.text == "it is blocked"):
        await speaker.page.goto(f"{speaker.base}/bench/bench.html?stream={job['links']['audio']}?stream=1")
    player = speaker.page.locator(".player-stream")
    await expect(player).to_have_attribute("data-state", "blocked")
    await expect(player.get_by_text("Press Play to hear the reply.")).to_be_visible()
    assert await speaker.ask("events") == []
    await player.get_by_role("button", name="Play").click()
    await hear_out(speaker)
    assert await speaker.ask("events") == ["sound", "ended"]


async def test_without_a_way_to_play_piecewise_it_is_played_whole(
    speaker: Bench, parley: Live, fake: FakeOpenAI
) -> None:
    job = await asked(parley, fake, held=None)
    await speaker.page.add_init_script("delete globalThis.MediaSource; delete globalThis.ManagedMediaSource")
    await listen(speaker, job)
    await speaker.page.evaluate("void bench.streamed.start()")
    assert await speaker.level(speaker.page.locator(".player-stream audio")) > LOUD
    await hear_out(speaker)


async def test_it_is_paused_and_stopped(speaker: Bench, parley: Live, fake: FakeOpenAI) -> None:
    job = await asked(parley, fake)
    await listen(speaker, job)
    player = speaker.page.locator(".player-stream")
    await player.get_by_role("button", name="Play").click()
    await speaker.until("events.includes('sound')")
    await player.get_by_role("button", name="Pause").click()
    await expect(player).to_have_attribute("data-state", "paused")
    await player.get_by_role("button", name="Play").click()
    await player.get_by_role("button", name="Stop").click()
    await expect(player).to_have_attribute("data-state", "stopped")
    assert await speaker.ask("events") == ["sound", "stopped"]
    fake.script.release()
    await parley.done(job)


async def test_a_reply_that_breaks_off_is_told(speaker: Bench, parley: Live, fake: FakeOpenAI, watch: Watch) -> None:
    watch.allow("ERR_INCOMPLETE_CHUNKED_ENCODING")
    fake.script.add("chat", Answer(text=" ".join([FIRST, *REST])))
    fake.script.add("speech", Answer(status=400, hold=True, when=REST[0]))
    job = await parley.text((await parley.session())["id"], reply_audio=True)
    await listen(speaker, job)
    await speaker.page.evaluate("void bench.streamed.start()")
    await speaker.until("events.includes('sound')")
    fake.script.release()
    await speaker.until("events.length > 1")
    assert await speaker.ask("events") == ["sound", "error: TypeError"]
    await expect(speaker.page.locator(".player-stream")).to_have_attribute("data-state", "error")


async def test_no_sound_to_be_had_is_told(speaker: Bench, parley: Live, watch: Watch) -> None:
    watch.allow("404 .Not Found")
    job = await parley.text((await parley.session())["id"])
    await listen(speaker, job)
    await speaker.page.evaluate("void bench.streamed.start()")
    await speaker.until("events.length > 0")
    assert await speaker.ask("events") == ["error: Error"]


async def test_a_voice_note_goes_in_by_the_microphone_and_its_reply_comes_out(speaker: Bench, parley: Live) -> None:
    session = await parley.session()
    await speaker.begin()
    await speaker.recorder()
    await speaker.record()
    await speaker.send()
    sent = await speaker.sent()
    name = (await speaker.ask("sent[0]"))["filename"]
    answer = await parley.post_voice(session["id"], sent, name, reply_audio=True)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    await speaker.page.evaluate("path => bench.stream(path)", f"{job['links']['audio']}?stream=1")
    await speaker.page.evaluate("void bench.streamed.start()")
    assert await speaker.level(speaker.page.locator(".player-stream audio")) > LOUD
    await hear_out(speaker)
    messages = await parley.conversation(session["id"])
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert messages[0]["text"] == "Hello, can you hear me clearly?"
