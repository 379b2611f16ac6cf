"""What of a reply reaches the speech model, and what becomes of one that has nothing to say."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.audio.pool import AudioPool
from shared.config import Settings
from tests.conftest import SAMPLES
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live, live_parley

CASES = Path(__file__).parents[2] / "cases"
MANIFEST = {case["file"]: case for case in json.loads((CASES / "manifest.json").read_text())["cases"]}
SILENT = ["👍", "---", "...", "🇩🇪 ✓\n\n***", "<br>&nbsp;", "![](data:image/png;base64,iVBORw0KGgo=)"]


@pytest.fixture
async def parley(settings: Settings, audio_pool: AudioPool) -> AsyncIterator[Live]:
    """Sentences are spoken one at a time: the calls come in their order."""
    async with live_parley(settings.model_copy(update={"tts_concurrency": 1}), audio_pool) as live:
        yield live


def as_stream(text: str) -> Answer:
    return Answer(pieces=[text[at : at + 7] for at in range(0, len(text), 7)])


async def answered(live: Live, fake: FakeOpenAI, text: str) -> tuple[dict[str, Any], list[str]]:
    """The ended job whose reply is `text`, and what was sent to be spoken."""
    fake.script.add("chat", as_stream(text))
    job = await live.done(await live.text((await live.session())["id"], reply_audio=True))
    assert job["status"] == "succeeded", job["error"]
    assert job["result"]["text"] == text.strip()
    return job, [call.text for call in fake.script.of("speech")]


def case(name: str) -> tuple[str, dict[str, Any]]:
    file = f"replies/reply_{name}.txt"
    return (CASES / file).read_text(encoding="utf-8"), MANIFEST[file]


@pytest.mark.parametrize("name", ["code_only", "emoji", "html_entities"])
async def test_a_reply_is_spoken_as_a_person_would_say_it(parley: Live, fake: FakeOpenAI, name: str) -> None:
    text, wanted = case(name)
    job, sent = await answered(parley, fake, text)
    assert " ".join(sent) == wanted["spoken"]
    assert len(sent) == 1
    assert job["result"]["audio"]["duration_s"] > 0


async def test_maths_is_spoken_in_words(parley: Live, fake: FakeOpenAI) -> None:
    _, sent = await answered(parley, fake, case("latex")[0])
    assert not set("\\${}").intersection("".join(sent))
    assert "6 x 1 plus 4 x 2 is less than or equal to 24." in " ".join(sent)


async def test_hindi_is_spoken_sentence_by_sentence(parley: Live, fake: FakeOpenAI) -> None:
    text, _ = case("hindi_danda")
    _, sent = await answered(parley, fake, text)
    assert sent == [f"{sentence.strip()}।" for sentence in text.split("।") if sentence.strip()]


async def test_the_data_of_an_image_is_not_spoken(parley: Live, fake: FakeOpenAI) -> None:
    text, wanted = case("image_data_uri_20k")
    _, sent = await answered(parley, fake, text)
    assert " ".join(sent) == "Here is your chart. chart Enjoy it."
    assert sum(map(len, sent)) <= wanted["most_characters"]


async def test_a_reply_with_nothing_to_say_is_a_reply_in_text(parley: Live, fake: FakeOpenAI) -> None:
    for text in (case("emoji_only")[0], *SILENT):
        job, sent = await answered(parley, fake, text)
        assert sent == []
        assert job["result"]["audio"] is None
        assert [step["name"] for step in job["steps"]] == ["reply"]
        message = (await parley.conversation(job["session_id"]))[-1]
        assert (message["kind"], message["text"], message["audio"]) == ("text", text, None)


async def test_there_is_no_sound_to_fetch_of_it(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(text="👍", delay_s=0.5))
    job = await parley.text((await parley.session())["id"], reply_audio=True)
    listened = await parley.http.get(job["links"]["audio"], params={"stream": 1}, timeout=60)
    job = await parley.done(job)
    for answer in (
        listened,
        await parley.http.get(job["links"]["audio"]),
        await parley.http.get(job["links"]["audio"], params={"stream": 1}),
        await parley.http.get(f"{API}/message/{job['result']['message_id']}/audio"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "no_audio")


async def test_who_waits_for_its_sound_gets_the_job(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(text="👍"))
    note = (SAMPLES / "en_03_opus.ogg").read_bytes()
    wishes = {"Accept": "audio/mpeg", "Prefer": "wait=30"}
    answer = await parley.post_voice((await parley.session())["id"], note, headers=wishes)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["result"]["audio"] is None
    assert fake.script.count("speech") == 0


async def test_its_events_end_without_sound(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(text="👍"))
    job = await parley.text((await parley.session())["id"], reply_audio=True)
    events = (await parley.http.get(job["links"]["events"], timeout=60)).text
    names = [line.removeprefix("event: ") for line in events.splitlines() if line.startswith("event: ")]
    assert names[-1] == "end"
    assert "audio" not in names
    assert '"audio":null' in events.replace(" ", "")


async def test_a_retried_job_may_have_nothing_to_say(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(status=400))
    job = await parley.done(await parley.text((await parley.session())["id"], reply_audio=True))
    assert job["status"] == "failed"
    fake.script.add("chat", Answer(text="👍"))
    assert (await parley.http.post(f"{API}/job/{job['id']}/retry")).status_code == 202
    job = await parley.done(job)
    assert (job["status"], job["result"]["text"], job["result"]["audio"]) == ("succeeded", "👍", None)
    assert fake.script.count("speech") == 0


async def test_what_was_spoken_of_a_lost_reply_is_dropped_when_the_next_has_nothing_to_say(
    parley: Live, fake: FakeOpenAI
) -> None:
    fake.script.add("chat", Answer(pieces=["This is the first sentence. ", "And", " more"], cut_after=3))
    fake.script.add("chat", Answer(text="👍"))
    job = await parley.done(await parley.text((await parley.session())["id"], reply_audio=True))
    assert (job["status"], job["attempt"]) == ("succeeded", 2)
    assert (job["result"]["text"], job["result"]["audio"]) == ("👍", None)
    assert [step["name"] for step in job["steps"]] == ["reply"]
