"""What many turns of a worker do in the same moment: claimed together and saved together, each by its own right."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlmodel import col, select, update

from shared.models import POISON_LEASES, Job, JobStatus, Message, MessageRole, Session, Step, Usage
from shared.services.job import lease as leases
from shared.services.job.lease import LeaseLostError
from shared.services.job.step import TurnReply
from shared.services.job.turn import StepDone, Turn, Used
from tests.factories import make_job
from tests.statements import recorded
from worker.context import WorkerContext

servers = pytest.mark.parametrize("stack", ["servers"], indirect=True)


async def queued(worker: WorkerContext, number: int) -> list[Job]:
    """So many jobs, each of a session of its own."""
    async with worker.database.write() as db:
        return [await make_job(db) for _ in range(number)]


async def claimed(worker: WorkerContext, number: int) -> list[Turn]:
    """So many turns, claimed in one transaction."""
    asked = await queued(worker, number)
    turns = await asyncio.gather(*[worker.claims.take(job.id) for job in asked])
    return [turn for turn in turns if turn]


async def put(worker: WorkerContext, job_id: UUID, **values: Any) -> None:
    async with worker.database.write() as db:
        await db.exec(update(Job).where(col(Job.id) == job_id).values(**values))


async def save(worker: WorkerContext, turns: Sequence[Turn]) -> list[bool]:
    """Save a reply to each in the same moment; whether it was."""
    done = StepDone("reply", 5, "openai", "chat", "0", Used(input_tokens=11, output_tokens=7))
    replies = [TurnReply(turn, f"Reply {number}.", "en", done) for number, turn in enumerate(turns)]
    return await asyncio.gather(*[worker.replies.save(reply) for reply in replies])


async def written(worker: WorkerContext) -> dict[UUID, tuple[JobStatus, list[str], int, int]]:
    """The state of each job, its replies, and how many steps and usages it has."""
    async with worker.database.read() as db:
        found = {}
        for job in (await db.exec(select(Job))).all():
            said = select(Message.text).where(Message.job_id == job.id, Message.role == MessageRole.ASSISTANT)
            steps = (await db.exec(select(Step.id).where(Step.job_id == job.id))).all()
            usages = (await db.exec(select(Usage.id).where(Usage.job_id == job.id))).all()
            replies = [str(text) for text in (await db.exec(said)).all()]
            found[job.id] = (job.status, replies, len(steps), len(usages))
    return found


async def test_jobs_asked_for_in_the_same_moment_are_claimed_in_one_transaction(worker: WorkerContext) -> None:
    asked = await queued(worker, 5)
    with recorded() as visits:
        turns = await asyncio.gather(*[worker.claims.take(job.id) for job in asked])
    assert [turn and turn.job.id for turn in turns] == [job.id for job in asked]
    assert (len(visits.sent), visits.commits) == (3, 1)  # the locks, the claim, the turns with what was said before


async def test_a_job_that_is_asked_for_twice_is_run_once(worker: WorkerContext) -> None:
    (job, other) = await queued(worker, 2)
    turns = await asyncio.gather(*[worker.claims.take(job_id) for job_id in (job.id, other.id, job.id)])
    assert [turn is not None for turn in turns] == [True, True, False]


async def test_a_session_has_one_running_job_however_many_are_asked_for(worker: WorkerContext) -> None:
    async with worker.database.write() as db:
        first = await make_job(db)
        session = await db.get_one(Session, first.session_id)
        later = [await make_job(db, session) for _ in range(3)]
    turns = await asyncio.gather(*[worker.claims.take(job.id) for job in (*later, first)])
    assert [turn is not None for turn in turns] == [False, False, False, True]


async def test_one_that_can_not_be_had_keeps_none_of_the_others_back(worker: WorkerContext) -> None:
    """A second suspect breaks the statement that claims them all."""
    suspects, fresh = await queued(worker, 2), await queued(worker, 3)
    for job in suspects:
        await put(worker, job.id, lost_leases=POISON_LEASES - 1)
    turns = await asyncio.gather(*[worker.claims.take(job.id) for job in (*suspects, *fresh)], return_exceptions=True)
    taken = [isinstance(turn, Turn) for turn in turns]
    assert (sum(taken[:2]), taken[2:]) == (1, [True] * 3)


@servers
async def test_nobody_waits_for_a_job_that_somebody_has_locked(worker: WorkerContext) -> None:
    locked, *free = await queued(worker, 4)
    async with worker.database.write() as db:
        await db.exec(select(Job).where(Job.id == locked.id).with_for_update())
        waiting = asyncio.create_task(worker.claims.take(locked.id))
        assert all(await asyncio.gather(*[worker.claims.take(job.id) for job in free]))
        assert not waiting.done()
    assert await waiting


async def test_replies_ready_in_the_same_moment_are_saved_in_one_transaction(worker: WorkerContext) -> None:
    turns = await claimed(worker, 5)
    with recorded() as visits:
        assert await save(worker, turns) == [True] * 5
    assert visits.commits == 1
    assert len(visits.sent) == 9 + 5  # a conversation's first turn says in which language it is
    assert await written(worker) == {
        turn.job.id: (JobStatus.SUCCEEDED, [f"Reply {number}."], 1, 1) for number, turn in enumerate(turns)
    }


async def test_only_what_is_still_ours_is_saved(worker: WorkerContext) -> None:
    """Beside others that are: one that was asked to stop, and one that another worker has by now."""
    good, stopped, stolen = await claimed(worker, 3)
    await put(worker, stopped.job.id, cancel_requested=True)
    await put(worker, stolen.job.id, lease_token=uuid4())
    assert await save(worker, [stopped, good, stolen]) == [False, True, False]
    nothing: tuple[JobStatus, list[str], int, int] = (JobStatus.RUNNING, [], 0, 0)
    assert await written(worker) == {
        good.job.id: (JobStatus.SUCCEEDED, ["Reply 1."], 1, 1),
        stopped.job.id: nothing,
        stolen.job.id: nothing,
    }


async def test_the_token_of_another_job_does_not_open_the_fence(worker: WorkerContext) -> None:
    """Jobs that were claimed together share a token: an older claim of one of them is no claim any more."""
    one, other = await claimed(worker, 2)
    assert one.claim.token == other.claim.token
    old = one.claim._replace(token=uuid4())
    async with worker.database.write() as db:
        assert await leases.fence_many(db, [old, other.claim]) == {other.job.id}
    with pytest.raises(LeaseLostError):
        async with worker.database.write() as db:
            await leases.succeed_many(db, [old, other.claim])
    assert {status for status, *_ in (await written(worker)).values()} == {JobStatus.RUNNING}


@servers
async def test_nobody_waits_for_a_session_that_somebody_has_locked(worker: WorkerContext) -> None:
    locked, *free = await claimed(worker, 3)
    async with worker.database.write() as db:
        await db.exec(select(Session).where(Session.id == locked.session.id).with_for_update())
        assert await save(worker, [locked, *free]) == [False, True, True]


async def test_each_sessions_next_job_is_sent(worker: WorkerContext) -> None:
    turns = await claimed(worker, 3)
    async with worker.database.write() as db:
        following = [await make_job(db, turn.session) for turn in turns]
    await save(worker, turns)
    async with worker.database.read() as db:
        sent = select(Job.id).where(Job.dispatch_no == 2, Job.status == JobStatus.QUEUED)
        assert set((await db.exec(sent)).all()) == {job.id for job in following}


async def test_a_deleted_turn_keeps_none_of_the_others_back(worker: WorkerContext) -> None:
    gone, *others = await queued(worker, 3)
    async with worker.database.write() as db:
        await db.exec(update(Message).where(col(Message.job_id) == gone.id).values(role=MessageRole.ASSISTANT))
    turns = await asyncio.gather(*[worker.claims.take(job.id) for job in (gone, *others)], return_exceptions=True)
    assert [isinstance(turn, Turn) for turn in turns] == [False, True, True]
    assert (await written(worker))[gone.id][0] == JobStatus.QUEUED
