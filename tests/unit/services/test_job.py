"""The life of a job, on both databases."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.errors import AppError, Conflict, NotFound, Unavailable
from shared.models import (
    LOCAL_USER_ID,
    POISON_LEASES,
    TRANSITIONS,
    Blob,
    BlobPurpose,
    BlobStatus,
    Job,
    JobStatus,
    Message,
    Session,
)
from shared.services import blob as blobs
from shared.services import session as sessions
from shared.services.job import lease as leases
from shared.services.job import reaper
from shared.services.job import transitions as jobs
from shared.services.job.lease import CancelRequestedError, Claim, LeaseLostError
from shared.services.user import LOCAL, Account
from shared.sql.database import Database
from shared.sql.effects import Dispatch, Effect
from shared.sql.functions import db_now
from tests.factories import BUDGET, make_job, make_session
from tests.reads import few_jobs_read

LEASE_S = 30.0
WORKER_ID = uuid4()


class Book:
    """A database, and what was dispatched after its commits."""

    def __init__(self, url: str) -> None:
        self.dispatched: list[UUID] = []
        self.database = Database(url, self._note)

    async def _note(self, effects: list[Effect]) -> None:
        self.dispatched += [effect.job_id for effect in effects if isinstance(effect, Dispatch)]

    async def write(self, rule: Callable[[AsyncSession], Awaitable[Any]]) -> Any:
        async with self.database.write() as db:
            return await rule(db)

    async def claim(self, job: Job) -> Claim | None:
        try:
            return await self.write(lambda db: leases.claim(db, job_id=job.id, worker_id=WORKER_ID, lease_s=LEASE_S))  # type: ignore[no-any-return]
        except IntegrityError:
            return None

    async def job(self, job: Job) -> Job:
        async with self.database.read() as db:
            return (await db.exec(select(Job).where(Job.id == job.id))).one()

    async def set(self, job: Job, **values: Any) -> None:
        await self.write(lambda db: db.exec(update(Job).where(col(Job.id) == job.id).values(**values)))


@pytest.fixture
async def book(database_url: str) -> AsyncIterator[Book]:
    book = Book(database_url)
    yield book
    await book.database.close()


async def claimed(book: Book) -> tuple[Job, Claim]:
    job = await book.write(make_job)
    claim = await book.claim(job)
    assert claim
    return job, claim


async def test_a_new_job_is_dispatched_unless_its_session_is_busy(book: Book) -> None:
    session = await book.write(make_session)
    first = await book.write(lambda db: make_job(db, session))
    second = await book.write(lambda db: make_job(db, session))
    assert book.dispatched == [first.id]
    assert (first.seq, second.seq) == (1, 3)
    assert await book.claim(second) is None
    claim = await book.claim(first)
    assert claim
    assert await book.claim(second) is None
    await book.write(lambda db: leases.succeed(db, claim))
    assert book.dispatched == [first.id, second.id]
    assert await book.claim(second)


async def test_of_many_claims_at_once_one_wins(book: Book) -> None:
    job = await book.write(make_job)
    claims = await asyncio.gather(*(book.claim(job) for _ in range(15)))
    assert len([claim for claim in claims if claim]) == 1
    stored = await book.job(job)
    assert (stored.status, stored.attempt) == (JobStatus.RUNNING, 1)


async def test_two_jobs_of_a_session_never_run_at_once(book: Book) -> None:
    session = await book.write(make_session)
    one, two = [await book.write(lambda db: make_job(db, session)) for _ in range(2)]
    await book.claim(one)
    with pytest.raises(IntegrityError):
        await book.set(two, status=JobStatus.RUNNING)


async def test_whoever_lost_the_lease_can_write_nothing(book: Book) -> None:
    job, claim = await claimed(book)
    stale = claim._replace(token=UUID(int=7))
    for rule in (
        lambda db: leases.fence(db, stale),
        lambda db: leases.renew(db, stale, lease_s=LEASE_S),
        lambda db: leases.succeed(db, stale),
        lambda db: leases.fail(db, stale, AppError("x")),
        lambda db: leases.give_back(db, stale, delay_s=0),
        lambda db: leases.hand_back(db, stale),
        lambda db: leases.cancelled(db, stale),
    ):
        with pytest.raises(LeaseLostError):
            await book.write(rule)
    assert (await book.job(job)).status == JobStatus.RUNNING


async def test_a_lost_lease_is_taken_back_and_poison_is_ended(book: Book) -> None:
    job, claim = await claimed(book)
    for lost in (1, 2):
        await book.set(job, lease_expires_at=db_now(-1))
        assert await book.write(reaper.reclaim_lost) == 1
        stored = await book.job(job)
        assert (stored.status, stored.lost_leases, stored.attempts_left) == (JobStatus.QUEUED, lost, 4 - lost)
        with pytest.raises(LeaseLostError):
            await book.write(lambda db: leases.fence(db, claim))
        assert await book.claim(job)
    await book.set(job, lease_expires_at=db_now(-1))
    await book.write(reaper.reclaim_lost)
    stored = await book.job(job)
    assert stored.status == JobStatus.FAILED
    assert stored.error
    assert stored.error["code"] == "poison"
    assert book.dispatched == [job.id] * 3


async def test_a_renewed_lease_is_not_taken_back(book: Book) -> None:
    _, claim = await claimed(book)
    await book.write(lambda db: leases.renew(db, claim, lease_s=LEASE_S))
    assert await book.write(reaper.reclaim_lost) == 0


async def test_a_transient_error_gives_the_job_back_when_it_is_due(book: Book) -> None:
    job, claim = await claimed(book)
    await book.write(lambda db: leases.give_back(db, claim, delay_s=100))
    assert (await book.job(job)).attempts_left == 3
    assert await book.claim(job) is None
    assert await book.write(reaper.dispatch_due) == 0
    await book.set(job, run_at=db_now(-1))
    assert await book.write(reaper.dispatch_due) == 1
    assert book.dispatched == [job.id, job.id]
    assert await book.claim(job)


async def test_a_shutdown_uses_no_attempt(book: Book) -> None:
    job, claim = await claimed(book)
    await book.write(lambda db: leases.hand_back(db, claim))
    stored = await book.job(job)
    assert (stored.status, stored.attempts_left) == (JobStatus.QUEUED, 4)
    assert book.dispatched == [job.id, job.id]


async def test_what_was_never_dispatched_is_sent_again(book: Book) -> None:
    job = await book.write(make_job)
    assert await book.write(reaper.dispatch_due) == 0
    await book.set(job, dispatched_at=None)
    assert await book.write(reaper.dispatch_due) == 1
    await book.set(job, dispatched_at=db_now(-reaper.RESEND_S - 1))
    assert await book.write(reaper.dispatch_due) == 1
    assert (await book.job(job)).dispatch_no == 1  # the same number: the queue ignores what it still has


async def test_a_job_that_did_not_start_in_time_expires_and_frees_its_session(book: Book) -> None:
    session = await book.write(make_session)
    late = await book.write(lambda db: make_job(db, session, budget=BUDGET._replace(deadline_s=-1)))
    behind = await book.write(lambda db: make_job(db, session))
    assert await book.claim(late) is None
    assert await book.write(reaper.expire_overdue) == 1
    stored = await book.job(late)
    assert stored.status == JobStatus.EXPIRED
    assert stored.error
    assert stored.error["code"] == "expired"
    assert book.dispatched[-1] == behind.id


async def test_a_started_job_does_not_expire(book: Book) -> None:
    job, claim = await claimed(book)
    await book.write(lambda db: leases.hand_back(db, claim))
    await book.set(job, deadline_at=db_now(-1))
    assert await book.write(reaper.expire_overdue) == 0
    assert await book.claim(job)


async def test_a_running_job_learns_that_it_is_cancelled_and_writes_nothing_more(book: Book) -> None:
    job, claim = await claimed(book)
    await book.write(lambda db: jobs.cancel(db, owner_id=LOCAL_USER_ID, job_id=job.id))
    with pytest.raises(CancelRequestedError):
        await book.write(lambda db: leases.renew(db, claim, lease_s=LEASE_S))
    with pytest.raises(CancelRequestedError):
        await book.write(lambda db: leases.fence(db, claim))
    await book.write(lambda db: leases.cancelled(db, claim))
    assert (await book.job(job)).status == JobStatus.CANCELLED


async def test_a_cancelled_job_whose_lease_ran_out_ends_cancelled(book: Book) -> None:
    job, _ = await claimed(book)
    await book.write(lambda db: jobs.cancel(db, owner_id=LOCAL_USER_ID, job_id=job.id))
    await book.set(job, lease_expires_at=db_now(-1))
    await book.write(reaper.reclaim_lost)
    assert (await book.job(job)).status == JobStatus.CANCELLED


async def test_only_a_failed_job_can_be_retried_and_gets_a_fresh_set(book: Book) -> None:
    job, claim = await claimed(book)

    async def retry(db: AsyncSession) -> None:
        await jobs.retry(db, account=LOCAL, job_id=job.id, budget=BUDGET)

    with pytest.raises(Conflict):
        await book.write(retry)
    await book.set(job, attempts_left=1, lost_leases=2)
    await book.write(lambda db: leases.fail(db, claim, AppError("It broke.", code="broke")))
    await book.write(retry)
    stored = await book.job(job)
    assert (stored.status, stored.attempts_left, stored.lost_leases) == (JobStatus.QUEUED, 4, 0)
    assert (stored.error, stored.finished_at) == (None, None)
    assert book.dispatched == [job.id, job.id]


async def test_a_cancel_that_comes_after_the_end_is_told_of_that_end(book: Book) -> None:
    job, claim = await claimed(book)
    async with book.database.write() as db:
        await leases.fence(db, claim)
        await leases.succeed(db, claim)
        late = asyncio.create_task(book.write(lambda db: jobs.cancel(db, owner_id=LOCAL_USER_ID, job_id=job.id)))
        await asyncio.wait([late], timeout=0.2)
        assert not late.done()
    with pytest.raises(Conflict, match="it is succeeded"):
        await late


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_an_end_reads_as_few_rows_however_many_wait_behind_it(book: Book) -> None:
    session = await book.write(make_session)
    first, second, *_ = [await book.write(lambda db: make_job(db, session)) for _ in range(200)]
    claim = await book.claim(first)
    assert claim
    async with book.database.write() as db, few_jobs_read(db, 20):
        await leases.fence(db, claim)
        await leases.succeed(db, claim)
    assert book.dispatched == [first.id, second.id]


async def test_nobody_cancels_or_retries_anothers_job(book: Book) -> None:
    job = await book.write(make_job)
    with pytest.raises(NotFound):
        await book.write(lambda db: jobs.cancel(db, owner_id=UUID(int=5), job_id=job.id))
    with pytest.raises(NotFound):
        await book.write(lambda db: jobs.retry(db, account=Account(UUID(int=5)), job_id=job.id, budget=BUDGET))


async def test_a_hundred_submits_at_once_get_numbers_in_a_row(book: Book) -> None:
    session = await book.write(make_session)

    async def submit() -> Job:
        while True:
            with suppress(Unavailable):  # too many at once for a slow disk: clients come back
                return await book.write(lambda db: make_job(db, session))  # type: ignore[no-any-return]

    made = await asyncio.gather(*(submit() for _ in range(100)))
    assert sorted(job.seq or 0 for job in made) == list(range(1, 201, 2))
    assert len(book.dispatched) == 1


async def test_no_end_is_ever_left(book: Book) -> None:
    ends = {JobStatus.SUCCEEDED, JobStatus.CANCELLED, JobStatus.EXPIRED}
    assert not any(ends & set(sources) for sources in TRANSITIONS.values())
    job, claim = await claimed(book)
    await book.write(lambda db: leases.succeed(db, claim))
    with pytest.raises(LeaseLostError):
        await book.write(lambda db: leases.fail(db, claim, AppError("late")))
    with pytest.raises(Conflict):
        await book.write(lambda db: jobs.cancel(db, owner_id=LOCAL_USER_ID, job_id=job.id))


async def test_deleting_a_session_fences_its_jobs_out_and_buries_its_blobs(book: Book) -> None:
    job, claim = await claimed(book)
    blob = await book.write(
        lambda db: blobs.add(db, owner_id=LOCAL_USER_ID, session_id=job.session_id, purpose=BlobPurpose.SENTENCE)
    )
    session_id = job.session_id
    assert session_id
    await book.write(lambda db: sessions.delete(db, owner_id=LOCAL_USER_ID, session_id=session_id))
    with pytest.raises(LeaseLostError):
        await book.write(lambda db: leases.fence(db, claim))
    async with book.database.read() as db:
        for model in (Job, Message, Session):
            assert (await db.exec(select(model))).all() == []
        (tombstone,) = (await db.exec(select(Blob))).all()
        assert (tombstone.id, tombstone.status) == (blob.id, BlobStatus.DELETED)
        assert await blobs.sweepable(db) == []  # not before any write under way has ended
    await book.write(lambda db: db.exec(update(Blob).values(updated_at=db_now(-blobs.TOMBSTONE_S - 1))))
    async with book.database.read() as db:
        assert [found for found, _ in await blobs.sweepable(db)] == [blob.id]


async def test_a_worker_runs_one_suspect_at_a_time_and_its_end_sends_the_next(book: Book) -> None:
    suspects = [await book.write(make_job) for _ in range(3)]
    fresh = await book.write(make_job)
    for job in suspects:
        await book.set(job, lost_leases=POISON_LEASES - 1)
    claim = await book.claim(suspects[0])
    assert claim
    assert await book.claim(suspects[1]) is None
    assert await book.claim(fresh)
    elsewhere = await book.write(lambda db: leases.claim(db, job_id=suspects[1].id, worker_id=uuid4(), lease_s=LEASE_S))
    assert elsewhere
    book.dispatched.clear()
    await book.write(lambda db: leases.succeed(db, claim))
    assert book.dispatched == [suspects[2].id]
    assert await book.claim(suspects[2])


async def test_those_beside_a_poison_job_survive_it(book: Book) -> None:
    """However its worker dies with it, and whoever happened to be there."""
    poison, *good = [await book.write(make_job) for _ in range(10)]
    for _ in range(POISON_LEASES):
        for job in (poison, *good):
            await book.claim(job)
        await book.write(lambda db: db.exec(update(Job).values(lease_expires_at=db_now(-1))))
        await book.write(reaper.reclaim_lost)
    assert (await book.job(poison)).status == JobStatus.FAILED
    assert {(await book.job(job)).status for job in good} == {JobStatus.QUEUED}


async def test_unfinished_jobs_are_counted_from_their_own_index(sqlite_url: str) -> None:
    book = Book(sqlite_url)
    queued, ended, (_, claim) = await book.write(make_job), await book.write(make_job), await claimed(book)
    await book.write(lambda db: jobs.cancel(db, owner_id=LOCAL_USER_ID, job_id=ended.id))
    async with book.database.read() as db:
        assert await jobs.count_unfinished(db) == 2
        connection = await db.connection()
        plan = "EXPLAIN QUERY PLAN SELECT count(*) FROM job WHERE status IN ('queued', 'running')"
        assert re.search(r"INDEX ix_job(_owner)?_unfinished", str((await connection.exec_driver_sql(plan)).all()))
    assert queued.id != claim.job_id
    await book.database.close()


async def test_a_retry_that_is_due_waits_behind_no_backlog(book: Book) -> None:
    due = await book.write(make_job)
    async with book.database.write() as db:
        like = {"owner_id": LOCAL_USER_ID, "kind": "text", "attempts_left": 4, "deadline_at": due.deadline_at}
        db.add_all(Job(**like) for _ in range(reaper.SWEEP_LIMIT))
    await book.write(lambda db: db.exec(update(Job).values(dispatched_at=db_now(-60))))
    await book.set(due, dispatched_at=None, run_at=db_now(-30), attempt=1)
    book.dispatched.clear()
    assert await book.write(reaper.dispatch_due) == reaper.SWEEP_LIMIT
    assert due.id in book.dispatched


async def test_a_cancel_while_the_lease_is_judged_is_not_lost(postgres_url: str) -> None:
    book = Book(postgres_url)
    job, _ = await claimed(book)
    await book.set(job, lease_expires_at=db_now(-1))
    async with book.database.write() as db:
        await jobs.cancel(db, owner_id=LOCAL_USER_ID, job_id=job.id)
        judging = asyncio.create_task(book.write(reaper.reclaim_lost))
        await asyncio.sleep(0.3)  # it has read the job, and waits for its session
    await judging
    await book.write(reaper.reclaim_lost)
    assert (await book.job(job)).status == JobStatus.CANCELLED
    await book.database.close()


async def test_an_attempt_that_was_the_last_is_not_called_poison(book: Book) -> None:
    job, _ = await claimed(book)
    await book.set(job, attempts_left=1, lease_expires_at=db_now(-1))
    await book.write(reaper.reclaim_lost)
    stored = await book.job(job)
    assert stored.status == JobStatus.FAILED
    assert stored.error
    assert stored.error["code"] == "worker_lost"


async def test_a_session_that_somebody_holds_keeps_no_other_from_being_taken_back(postgres_url: str) -> None:
    """A frozen process may hold it for long."""
    book = Book(postgres_url)
    (held, _), (free, _) = await claimed(book), await claimed(book)
    await book.write(lambda db: db.exec(update(Job).values(lease_expires_at=db_now(-1))))
    async with book.database.write() as db:
        await sessions.lock(db, held.session_id)
        await book.write(reaper.reclaim_lost)
        assert [(await book.job(job)).status for job in (held, free)] == [JobStatus.RUNNING, JobStatus.QUEUED]
    await book.write(reaper.reclaim_lost)
    assert (await book.job(held)).status == JobStatus.QUEUED
    await book.database.close()
