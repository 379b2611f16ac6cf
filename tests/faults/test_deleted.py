"""A session, or its agent, is deleted under its jobs: nothing is written any more, and nothing of it is left."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import httpx
import pytest

from tests.faults.checker import check
from tests.faults.client import API
from tests.faults.deployment import Deployment
from tests.faults.history import Accepted, History
from tests.faults.jobs import STEPS, in_flight, submit
from tests.faults.waiting import until

AGED = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', 'now', '-61 seconds')",
    "postgresql": "clock_timestamp() - interval '61 seconds'",
}
COMMITS: tuple[tuple[str, str | None, dict[str, str]], ...] = (
    ("job", None, {"status": "queued"}),
    ("job", None, {"status": "running"}),
    ("step", "transcribe", {}),
    ("step", "reply", {}),
    ("blob", "sentence", {}),
    ("step", "speak/1", {}),
    ("blob", "reply", {}),
    ("job", None, {"status": "succeeded"}),
)
"""The commits of a spoken turn, from its submit to its end."""

DELETED = ("session", "delete")
Delete = Callable[[Deployment, str], Awaitable[httpx.Response]]


async def delete_session(parley: Deployment, session_id: str) -> httpx.Response:
    return await parley.client.delete_session(session_id)


async def delete_agent(parley: Deployment, session_id: str) -> httpx.Response:
    session = (await parley.client.http.get(f"{API}/session/{session_id}")).json()
    return await parley.client.delete_agent(session["agent_id"], [session_id])


async def sweep(parley: Deployment) -> None:
    """Age every tombstone, and let a new worker sweep: that is the first thing it does."""
    dialect = "sqlite" if parley.sql.is_sqlite else "postgresql"
    await parley.sql.execute(f"UPDATE blob SET updated_at = {AGED[dialect]} WHERE status = 'deleted'")  # noqa: S608
    await parley.start_worker()

    async def swept() -> bool:
        return not await parley.sql.rows("SELECT id FROM blob WHERE status = 'deleted'")

    await until(swept, "the tombstones are swept")


def count(parley: Deployment, *events: str) -> int:
    return sum(len(worker.events(event)) for worker in parley.workers for event in events)


def of_deleted(history: History, table: str, key: str = "job_id") -> list[str]:
    """The rows that are left of the jobs that were deleted."""
    jobs = {told.job_id for told in history.accepted.values() if told.session_id in history.deleted}
    return [str(row["id"]) for row in history.rows[table] if row[key] in jobs]


def assert_nothing_was_written_after(history: History) -> None:
    gone = {write.row_id: write.number for write in history.writes if (write.table, write.operation) == DELETED}
    assert set(gone) == history.deleted
    sessions = {told.job_id: told.session_id for told in history.accepted.values()}
    for write in history.writes:
        session_id = write.session_id or sessions.get(write.job_id or "")
        late = session_id in gone and write.number > gone[session_id]
        assert not late or write.operation == "delete", write


async def assert_gone(parley: Deployment, jobs: list[Accepted]) -> None:
    """The jobs can't be seen, now or after the sweep, and what they used is still counted."""
    await until(
        lambda: count(parley, "job.claimed") == count(parley, "job.attempt_ended", "job.lease_lost"), "all ends"
    )
    history = await parley.ended()
    assert_nothing_was_written_after(history)
    check(history)
    used = of_deleted(history, "usage")
    await sweep(parley)
    swept = await parley.collect()
    check(swept)
    assert of_deleted(swept, "usage") == used
    assert not [table for table in ("message", "step") if of_deleted(swept, table)]
    assert not of_deleted(swept, "job", "id")
    assert not [row for row in swept.rows["blob"] if row["session_id"] in swept.deleted]
    assert set(swept.sizes) == {row["key"] for row in swept.rows["blob"]}
    for job in jobs:
        assert (await parley.client.http.get(f"{API}/job/{job.job_id}")).status_code == 404


@pytest.mark.parametrize("delete", [delete_session, delete_agent])
async def test_what_the_model_answers_to_a_deleted_job_changes_nothing(
    parley: Deployment, chance: Random, delete: Delete
) -> None:
    _, worker = await asyncio.gather(parley.start_api(), parley.start_worker())
    jobs = await in_flight(parley, chance)
    others = await in_flight(parley, chance)
    sessions = {job.session_id for job in jobs.values()}
    doomed = [job for job in parley.history.accepted.values() if job.session_id in sessions]
    assert len(doomed) == 2 * len(STEPS)  # each has one that waits behind it
    waiting = [
        asyncio.create_task(parley.client.http.get(f"{API}/job/{job.job_id}", headers={"Prefer": "wait=20"}))
        for job in doomed
    ]
    for job in jobs.values():
        assert (await delete(parley, job.session_id)).status_code == 204
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {404}
    assert (await parley.client.post_text(doomed[0].session_id, topic=doomed[0].topic)).status_code == 404
    parley.model.release()
    lost = {job.job_id for job in jobs.values()}
    # one of the others may be said to have lost its lease too: renewed in the very moment in which its end is saved
    await until(lambda: {line["job_id"] for line in worker.events("job.lease_lost")} >= lost, "the late answers come")
    for job in others.values():
        assert (await parley.client.done(job.job_id))["status"] == "succeeded"
    await assert_gone(parley, doomed)
    asked = {call.topic for call in parley.history.calls}
    assert {job.topic for job in doomed if job.topic in asked} == {job.topic for job in jobs.values()}


async def test_deleted_right_after_any_commit_nothing_of_it_is_left(parley: Deployment, chance: Random) -> None:
    await asyncio.gather(parley.start_api(), parley.start_worker(), parley.start_worker())

    async def doom(table: str, name: str | None, fields: dict[str, str]) -> Accepted:
        session = await parley.client.session()
        job = await parley.client.voice(session, sentences=chance.randint(2, 4))
        await parley.client.text(session)
        await parley.wrote(job, table, name, **fields)
        delete = chance.choice([delete_session, delete_agent])
        assert (await delete(parley, session)).status_code == 204
        return job

    other = await submit(parley, "speak/1", chance)
    doomed = await asyncio.gather(*[doom(*commit) for commit in chance.sample(COMMITS, len(COMMITS))])
    assert (await parley.client.done(other.job_id))["status"] == "succeeded"
    await assert_gone(parley, list(doomed))
