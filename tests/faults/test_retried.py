"""A failed turn that is retried late takes its own place, and a hundred messages at once are answered in order."""

import asyncio
from collections.abc import Callable
from itertools import chain
from operator import itemgetter
from random import Random
from typing import Any

import pytest

from tests.fakes.openai_script import Answer
from tests.faults.checker import check
from tests.faults.client import API, new_topic
from tests.faults.deployment import Deployment
from tests.faults.history import Accepted, History, Row

REFUSED = [Answer(status=400)]
BROKEN = [Answer(status=500)] * 4  # as often as a job may try
LATER, CONTEXT = 3, 20
HUNDRED = 100
_BY_ID, _BY_JOB = itemgetter("id"), itemgetter("job_id")


def rows_of_others(history: History, job: Accepted) -> dict[str, list[Row]]:
    """What the tables hold of all the other jobs."""
    job_of = {row["blob_id"]: row["job_id"] for row in chain(history.rows["message"], history.rows["step"])}
    owner: dict[str, Callable[[Row], str | None]] = {"job": itemgetter("id"), "blob": lambda row: job_of.get(row["id"])}
    return {
        table: sorted([row for row in history.rows[table] if owner.get(table, _BY_JOB)(row) != job.job_id], key=_BY_ID)
        for table in ("job", "message", "step", "usage", "blob")
    }


async def conversation(parley: Deployment, session_id: str) -> list[dict[str, Any]]:
    answer = await parley.client.http.get(f"{API}/message/conversation/{session_id}", params={"limit": 100})
    return list(answer.json()["items"])


@pytest.mark.parametrize("step", ["reply", "speak/2"])
async def test_a_failed_turn_retried_late_takes_its_own_place(parley: Deployment, chance: Random, step: str) -> None:
    await asyncio.gather(parley.start_api(), parley.start_worker())
    session, topic = await parley.client.session(), new_topic()
    before = await parley.client.text(session)
    parley.model.once(topic, step, *chance.choice([REFUSED, BROKEN]))
    failed = await parley.client.voice(session, topic=topic, sentences=3, reply_audio=step != "reply")
    later = [await parley.client.text(session, reply_audio=chance.random() < 0.5) for _ in range(LATER)]
    known = await parley.ended()
    assert (await parley.client.job(failed.job_id))["status"] == "failed"
    others = rows_of_others(known, failed)
    calls = len(parley.model.calls)

    assert (await parley.client.retry(failed.job_id)).status_code == 202
    history = await parley.ended()
    check(history)
    assert (await parley.client.job(failed.job_id))["status"] == "succeeded"
    assert rows_of_others(history, failed) == others
    asked = [(call.step, call.context) for call in history.calls[calls:]]
    if step == "reply":
        assert asked == [("reply", (before.topic,))]
    else:
        assert ("speak/2", ()) in asked
        assert len(asked) == len(set(asked))
        assert {name for name, _ in asked} <= {"speak/2", "speak/3"}  # the third may not have begun when it failed
    said = await conversation(parley, session)
    assert [message["job_id"] for message in said] == [
        job.job_id for job in (before, failed, *later) for _ in ("message", "reply")
    ]
    assert [message["seq"] for message in said] == list(range(1, len(said) + 1))


async def test_a_hundred_messages_at_once_are_answered_in_order(parley: Deployment, chance: Random) -> None:
    await asyncio.gather(parley.start_api(), parley.start_worker(), parley.start_worker())
    session = await parley.client.session()
    lengths = [chance.randint(1, 3) for _ in range(HUNDRED)]
    await asyncio.gather(*[parley.client.text(session, sentences=sentences) for sentences in lengths])
    history = await parley.ended()
    check(history)
    place = {row["id"]: row["seq"] for row in history.rows["job"]}
    jobs = sorted(history.accepted.values(), key=lambda job: place[job.job_id])
    assert [call.topic for call in history.calls] == [job.topic for job in jobs]
    said: list[str] = []
    for job, call in zip(jobs, parley.model.of("chat"), strict=True):
        said.append(call.text)
        assert [message["content"] for message in call.messages[1:]] == said[-CONTEXT:]
        said.append(str(job.reply))
    assert all(worker.events("job.claimed") for worker in parley.workers)
