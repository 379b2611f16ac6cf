"""The spoken reply while it is being made."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlmodel import select

from shared.audio import mp3
from shared.models import Blob, BlobStatus, Usage
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import Live

FIRST = "This is the first sentence of all."
REST = ["This is the second one.", "And this is the third one."]
TEXT = " ".join([FIRST, *REST])


async def listen(live: Live, job: dict[str, Any]) -> bytes:
    async with live.http.stream("GET", job["links"]["audio"], params={"stream": 1}, timeout=60) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"] == "audio/mpeg"
        assert "content-length" not in answer.headers
        return b"".join([chunk async for chunk in answer.aiter_bytes()])


async def spoken(live: Live, **fields: Any) -> dict[str, Any]:
    return await live.text((await live.session())["id"], reply_audio=True, **fields)


async def test_it_is_heard_from_the_first_sentence_on(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(text=TEXT))
    fake.script.add("speech", Answer(delay_s=3, when=REST[0]))
    job = await spoken(parley)
    async with parley.http.stream("GET", job["links"]["audio"], params={"stream": 1}, timeout=60) as answer:
        chunks = answer.aiter_bytes()
        heard = await anext(chunks)
        now = (await parley.http.get(job["links"]["self"])).json()
        assert now["status"] == "running"
        assert mp3.duration(heard) > 0.3
        heard += b"".join([chunk async for chunk in chunks])
    await parley.done(job)
    assert heard == mp3.without_info((await parley.http.get(job["links"]["audio"])).content)


async def test_it_is_heard_before_the_reply_is_written(parley: Live, fake: FakeOpenAI) -> None:
    pieces = [FIRST, " This ", "is", *[" so very"] * 30, " long."]
    fake.script.add("chat", Answer(pieces=pieces, chunk_delay_s=0.1))
    job = await spoken(parley)
    async with parley.http.stream("GET", job["links"]["audio"], params={"stream": 1}, timeout=60) as answer:
        await anext(answer.aiter_bytes())
        now = (await parley.http.get(job["links"]["self"])).json()
        assert (now["stage"], now["result"]) == ("reply", None)
    assert (await parley.done(job))["status"] == "succeeded"


async def test_all_who_listen_hear_the_same_whenever_they_come(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(text=TEXT))
    fake.script.add("speech", Answer(delay_s=1, when=REST[0]))
    job = await spoken(parley)
    early = [asyncio.create_task(listen(parley, job)) for _ in range(5)]
    await parley.done(job)
    stored = mp3.without_info((await parley.http.get(job["links"]["audio"])).content)
    assert {*await asyncio.gather(*early), await listen(parley, job)} == {stored}


async def test_a_sentence_that_failed_is_waited_for(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(text=TEXT))
    fake.script.add("speech", Answer(status=500, delay_s=0.5, when=REST[1]))
    job = await spoken(parley)
    heard = await listen(parley, job)
    job = await parley.done(job)
    assert job["attempt"] == 2
    assert heard == mp3.without_info((await parley.http.get(job["links"]["audio"])).content)


async def test_it_breaks_off_when_the_reply_becomes_another(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(pieces=[f"{FIRST} ", "More ", "of ", "it."], chunk_delay_s=0.5, cut_after=4))
    fake.script.add("chat", Answer(text="Something else, all of it."))
    job = await spoken(parley)
    with pytest.raises(httpx.RemoteProtocolError):
        await listen(parley, job)
    job = await parley.done(job)
    assert [step["name"] for step in job["steps"]] == ["reply", "speak/1"]
    assert await listen(parley, job) == mp3.without_info((await parley.http.get(job["links"]["audio"])).content)


async def test_it_breaks_off_when_the_job_fails(
    parley: Live, fake: FakeOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    fake.script.add("chat", Answer(text=TEXT))
    fake.script.add("speech", Answer(delay_s=1, status=400, when=REST[0]))
    job = await spoken(parley)
    with caplog.at_level("ERROR", "uvicorn.error"), pytest.raises(httpx.RemoteProtocolError):
        await listen(parley, job)
    assert not [one for one in caplog.records if one.name == "uvicorn.error"], "the server means to"
    assert (await parley.done(job))["status"] == "failed"
    answer = await parley.http.get(job["links"]["audio"], params={"stream": 1})
    assert (answer.status_code, answer.json()["code"]) == (404, "no_audio")


async def test_without_sound_there_is_none_to_hear(parley: Live) -> None:
    job = await parley.text((await parley.session())["id"])
    answer = await parley.http.get(job["links"]["audio"], params={"stream": 1})
    assert (answer.status_code, answer.json()["code"]) == (404, "no_audio")


async def test_sentences_of_many_shapes_are_heard_as_they_are_stored(parley: Live, fake: FakeOpenAI) -> None:
    """What a speech server sends may change its rate from one sentence to the next."""
    other = mp3.encode(b"\x00\x10\x00\xf0" * 30_000, rate=44_100)
    fake.script.add("chat", Answer(text=TEXT))
    raw = [other.decode("utf-8", "surrogateescape")]
    fake.script.add("speech", Answer(raw=raw, content_type="audio/mpeg", when=REST[0]))
    job = await spoken(parley)
    heard = await listen(parley, job)
    assert heard == mp3.without_info((await parley.http.get(job["links"]["audio"])).content)
    assert mp3.duration(heard) > 1


async def test_the_first_sentence_is_spoken_while_the_rest_is_written(parley: Live, fake: FakeOpenAI) -> None:
    pieces = [f"{sentence} " for sentence in (FIRST, *REST)]
    fake.script.add("chat", Answer(pieces=pieces, chunk_delay_s=1.0))
    job = await parley.done(await spoken(parley))
    assert job["status"] == "succeeded"
    (chat,) = fake.script.of("chat")
    at = [call.at - chat.at for call in fake.script.of("speech")]
    assert [call.text for call in fake.script.of("speech")] == [FIRST, *REST]
    assert at[0] < at[1] - 0.5 < at[2] - 1.0


async def test_what_was_spoken_of_a_lost_reply_serves_the_next_if_it_says_the_same(
    parley: Live, fake: FakeOpenAI
) -> None:
    lost = Answer(pieces=[f"{FIRST} ", f"{REST[0]} ", "Then ", "it ", "broke."], chunk_delay_s=0.4, cut_after=5)
    fake.script.add("chat", lost)
    fake.script.add("chat", Answer(text=f"{FIRST} Now it goes on otherwise. And it ends."))
    job = await parley.done(await spoken(parley))
    assert (job["status"], job["attempt"]) == ("succeeded", 2)
    said = [call.text for call in fake.script.of("speech")]
    assert said == [FIRST, REST[0], "Now it goes on otherwise.", "And it ends."]
    assert [step["name"] for step in job["steps"]] == ["reply", "speak/1", "speak/2", "speak/3"]
    async with parley.resources.database.read() as db:
        ready = (await db.exec(select(Blob.purpose).where(Blob.status == BlobStatus.READY))).all()
        usage = dict((await db.exec(select(Usage.step, Usage.characters))).all())
    assert ready == ["reply"]
    assert usage["speak/2"] == len(REST[0]) + len("Now it goes on otherwise."), "both were spoken, both are billed"
    stored = (await parley.http.get(job["links"]["audio"])).content
    assert mp3.duration(stored) == pytest.approx(job["result"]["audio"]["duration_s"], abs=0.01)


async def test_no_more_sentences_are_spoken_at_a_time_than_allowed(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(text=" ".join(f"This is the sentence number {n} of many." for n in range(15))))
    fake.script.always("speech", Answer(delay_s=0.2))
    assert (await parley.done(await spoken(parley)))["status"] == "succeeded"
    assert fake.script.count("speech") == 15
    assert fake.script.peak["speech"] == parley.resources.settings.tts_concurrency
