"""Following a job: the reply while it is written, whenever and however often one connects."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from tests.conftest import SAMPLES
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import Live

WORDS = [f"word{n} " for n in range(60)]
WHOLE = "".join(WORDS).strip()
SLOW = Answer(pieces=WORDS, chunk_delay_s=0.01)


class Event(NamedTuple):
    id: str
    name: str
    data: Any


async def follow(live: Live, job: dict[str, Any], **headers: str) -> AsyncIterator[Event]:
    async with live.http.stream("GET", job["links"]["events"], headers=headers) as stream:
        assert stream.status_code == 200
        fields: dict[str, str] = {}
        async for line in stream.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "event" in fields:
                yield Event(fields["id"], fields["event"], json.loads(fields["data"]))
                fields = {}


async def all_of(live: Live, job: dict[str, Any], **headers: str) -> list[Event]:
    return [event async for event in follow(live, job, **headers)]


def text_of(events: list[Event], known: str = "") -> str:
    """What a client shows that does as the documentation says."""
    for event in events:
        if event.name == "reset":
            known = ""
        elif event.name == "delta":
            assert event.data["offset"] == len(known)
            known += event.data["text"]
    return known


async def assert_whole_from_anywhere(live: Live, job: dict[str, Any], seen: list[Event], known: str = "") -> None:
    """Wherever the connection broke off, one comes to the whole reply, with what one has and what one is told then."""
    for number, event in enumerate(seen, 1):
        after = await all_of(live, job, **{"Last-Event-ID": event.id})
        assert text_of(after, text_of(seen[:number], known)) == WHOLE, event


async def test_the_reply_comes_while_it_is_written(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", SLOW)
    job = await parley.text((await parley.session())["id"])
    events = await all_of(parley, job)
    assert text_of(events) == WHOLE
    deltas = [event for event in events if event.name == "delta"]
    assert 3 < len(deltas) < len(WORDS) / 2, "words are gathered, and not until the end"
    assert events[-1].name == "end"
    assert events[-1].data["result"]["text"] == WHOLE
    ids = [tuple(map(int, event.id.split("-"))) for event in events]
    assert ids == sorted(ids)
    shown = [(event.data["status"], event.data["stage"]) for event in events if event.name == "status"]
    assert len(shown) == len(set(shown)), "a status is told once"
    assert len({event.id for event in deltas}) == len(deltas)


async def test_one_goes_on_where_one_was(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", SLOW)
    job = await parley.text((await parley.session())["id"])
    seen: list[Event] = []
    async for event in follow(parley, job):
        seen.append(event)
        if len([event for event in seen if event.name == "delta"]) == 3:
            break
    before = text_of(seen)
    after = await all_of(parley, job, **{"Last-Event-ID": seen[-1].id})
    assert "reset" not in [event.name for event in after]
    assert text_of(after, before) == WHOLE
    await parley.done(job)
    again = await all_of(parley, job, **{"Last-Event-ID": seen[-1].id})
    assert text_of(again, before) == WHOLE


async def test_who_comes_late_is_told_all(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", SLOW)
    job = await parley.done(await parley.text((await parley.session())["id"]))
    assert text_of(await all_of(parley, job)) == WHOLE
    await parley.resources.queue.redis.flushall()
    events = await all_of(parley, job)
    assert [event.name for event in events] == ["delta", "end"]
    assert text_of(events) == WHOLE


async def test_what_redis_lost_is_told_from_sql(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", SLOW)
    job = await parley.text((await parley.session())["id"])
    seen: list[Event] = []
    async for event in follow(parley, job):
        seen.append(event)
        if len([event for event in seen if event.name == "delta"]) == 3:
            known = text_of(seen)
            await parley.resources.queue.redis.flushall()
            late = asyncio.create_task(all_of(parley, job))
            back = asyncio.create_task(all_of(parley, job, **{"Last-Event-ID": event.id}))
    assert text_of(seen) == WHOLE
    assert text_of(await late) == WHOLE
    assert text_of(await back, known) == WHOLE
    await assert_whole_from_anywhere(parley, job, seen)
    await parley.resources.queue.redis.flushall()
    told = await all_of(parley, job, **{"Last-Event-ID": event.id})
    assert [one.name for one in told] == ["reset", "delta", "end"], "what the client had is not known any more"
    await assert_whole_from_anywhere(parley, job, told)


async def test_a_new_attempt_begins_the_reply_anew(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(pieces=["It ", "begins ", "one way, "], chunk_delay_s=0.1, cut_after=4))
    fake.script.add("chat", SLOW)
    job = await parley.text((await parley.session())["id"])
    events = await all_of(parley, job)
    names = [event.name for event in events]
    assert "reset" in names
    assert "It begins" in text_of(events[: names.index("reset")])
    assert text_of(events) == WHOLE
    assert {event.id.split("-")[0] for event in events[names.index("reset") :]} == {"2"}
    await assert_whole_from_anywhere(parley, job, events)


async def test_a_voice_note_is_heard_and_its_answer_spoken(parley: Live, fake: FakeOpenAI) -> None:
    note = SAMPLES / "en_13.flac"
    fake.script.hear(note.read_bytes(), "Good morning to you all.")
    fake.script.add("chat", Answer(text="This is the first sentence. This is the second sentence."))
    job = await parley.voice((await parley.session())["id"], note)
    events = await all_of(parley, job)
    heard = [event.data for event in events if event.name == "transcript"]
    assert heard == [{"text": "Good morning to you all.", "language": "en"}]
    spoken = sorted((event.data for event in events if event.name == "audio"), key=lambda data: data["index"])
    assert [(data["index"], data["text"]) for data in spoken] == [
        (1, "This is the first sentence."),
        (2, "This is the second sentence."),
    ]
    whole = events[-1].data["result"]["audio"]["duration_s"]
    assert sum(data["duration_s"] for data in spoken) == pytest.approx(whole, abs=0.4)


async def test_what_is_no_id_of_ours_is_no_id(parley: Live) -> None:
    job = await parley.done(await parley.text((await parley.session())["id"]))
    for told in ("", "x", "1", "-", "9-9", "1-999999"):
        events = await all_of(parley, job, **{"Last-Event-ID": told})
        assert text_of(events, "what somebody had" if told.endswith("9") else "") == job["result"]["text"]


@pytest.mark.parametrize("stack", ["servers"], indirect=True)
async def test_a_hundred_followers_read_as_often_as_one(parley: Live, fake: FakeOpenAI) -> None:
    redis = parley.resources.queue.redis

    async def reads(followers: int) -> int:
        fake.script.add("chat", SLOW)
        await redis.config_resetstat()
        job = await parley.text((await parley.session())["id"])
        told = await asyncio.gather(*(all_of(parley, job) for _ in range(followers)))
        assert {text_of(events) for events in told} == {WHOLE}
        return int((await redis.info("commandstats"))["cmdstat_xrange"]["calls"])

    alone = await reads(1)
    assert await reads(100) < alone + 150  # each reads once as it comes; then one reads for all


async def test_a_deleted_job_ends_its_events(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(delay_s=2))
    session = await parley.session()
    job = await parley.text(session["id"])
    names = []
    async for event in follow(parley, job):
        names.append(event.name)
        await parley.http.delete(f"/api/v1/session/{session['id']}")
    assert "end" not in names
