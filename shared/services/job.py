"""The life of a job. Its status is written here and nowhere else, always by a conditional UPDATE."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, ScalarSelect, case, exists, func, or_
from sqlalchemy.orm import aliased
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.db import Dispatch, JobChanged, after_commit, db_now
from shared.errors import AppError, Conflict, NotFound
from shared.models import (
    POISON_LEASES,
    TRANSITIONS,
    UNFINISHED,
    Blob,
    Job,
    JobStatus,
    Message,
    MessageKind,
    MessageRole,
    Step,
    is_unfinished,
)
from shared.services import blob as blobs
from shared.services import session as sessions

RESEND_S = 5.0  # how long the queue is trusted with a job that nobody claimed
SWEEP_LIMIT = 500

_earlier = aliased(Job)
_FIRST_IN_SESSION = ~exists().where(  # built once: making an alias costs more than running the query does
    col(_earlier.session_id) == col(Job.session_id),
    col(_earlier.seq) < col(Job.seq),
    is_unfinished(col(_earlier.status)),
)


class Budget(NamedTuple):
    """What a new job may use up: attempts, and seconds until it must have started."""

    attempts: int
    deadline_s: float


class Claim(NamedTuple):
    """The right to work on a job, as long as the token matches."""

    job_id: UUID
    session_id: UUID | None
    token: UUID
    attempt: int
    attempts_left: int


class LeaseLostError(Exception):
    """Somebody else has the job, or it is gone: nothing more may be written."""


class CancelRequestedError(Exception):
    """The job was asked to stop: nothing more may be written but that it did."""


async def add(
    db: AsyncSession,
    *,
    job_id: UUID,
    owner_id: UUID,
    session_id: UUID,
    seq: int,
    kind: MessageKind,
    reply_audio: bool,
    language_hint: str | None,
    budget: Budget,
) -> None:
    """Queue a turn of a session; it is dispatched after the commit unless the session is busy."""
    job = Job(
        id=job_id,
        owner_id=owner_id,
        session_id=session_id,
        seq=seq,
        kind=kind,
        reply_audio=reply_audio,
        language_hint=language_hint,
        attempts_left=budget.attempts,
        deadline_at=cast("datetime", db_now(budget.deadline_s)),
    )
    db.add(job)
    await db.flush()
    await _dispatch_head(db, col(Job.id) == job_id)


async def get(db: AsyncSession, *, owner_id: UUID, job_id: UUID) -> Job:
    """The job, or NotFound."""
    job = (await db.exec(select(Job).where(Job.id == job_id, Job.owner_id == owner_id))).first()
    if job is None:
        raise missing()
    return job


async def count_unfinished(db: AsyncSession) -> int:
    """How many jobs of everybody have not ended: read from their own index."""
    return (await db.exec(select(func.count()).select_from(Job).where(is_unfinished(col(Job.status))))).one()


def missing() -> NotFound:
    """What every route says of a job that is not there, or is another's."""
    return NotFound("There is no such job.")


async def cancel(db: AsyncSession, *, owner_id: UUID, job_id: UUID) -> None:
    """Stop a job: a queued one at once, a running one at its worker's next look. Conflict when it has ended."""
    job = await _locked(db, owner_id=owner_id, job_id=job_id)
    if await _move(db, JobStatus.CANCELLED, col(Job.id) == job_id, col(Job.status) == JobStatus.QUEUED):
        return
    flag = (
        update(Job)
        .where(col(Job.id) == job_id, col(Job.status) == JobStatus.RUNNING)
        .values(cancel_requested=True, version=Job.version + 1)
    )
    if (await db.exec(flag)).rowcount:
        after_commit(db, JobChanged(job_id))
    elif job.status != JobStatus.CANCELLED:
        detail = f"The job has already ended: it is {job.status}."
        raise Conflict(detail, code="job_ended")


async def retry(db: AsyncSession, *, owner_id: UUID, job_id: UUID, attempts: int) -> None:
    """Queue a failed job again, with a fresh set of attempts; its finished steps are kept."""
    job = await _locked(db, owner_id=owner_id, job_id=job_id)
    moved = await _move(
        db,
        JobStatus.QUEUED,
        col(Job.id) == job_id,
        col(Job.status) == JobStatus.FAILED,
        attempts_left=attempts,
        lost_leases=0,
        error=None,
        finished_at=None,
        run_at=None,
    )
    if not moved:
        detail = f"Only a failed job can be retried: this one is {job.status}."
        raise Conflict(detail, code="not_failed")


async def claim(db: AsyncSession, *, job_id: UUID, worker_id: UUID, lease_s: float) -> Claim | None:
    """Take a queued job whose turn it is. None when it is not to be had, now or ever.

    A second running job of one session, or a worker's second suspect, violates a partial unique index:
    IntegrityError means "not now" too.
    """
    token = uuid4()
    taken = await _move(
        db,
        JobStatus.RUNNING,
        col(Job.id) == job_id,
        _due(),
        _FIRST_IN_SESSION,
        or_(col(Job.attempt) > 0, col(Job.deadline_at) > db_now()),
        attempt=Job.attempt + 1,
        worker_id=worker_id,
        lease_token=token,
        lease_expires_at=db_now(lease_s),
        started_at=func.coalesce(Job.started_at, db_now()),
        run_at=None,
        stage=case(
            (_said(MessageRole.ASSISTANT), "speak"),
            (_said(MessageRole.USER, col(Message.text).is_(None)), "transcribe"),
            else_="reply",
        ),
    )
    if not taken:
        return None
    job = taken[0]
    return Claim(job.id, job.session_id, token, job.attempt, job.attempts_left)


async def renew(db: AsyncSession, claim: Claim, *, lease_s: float) -> None:
    """Keep the lease; raises LeaseLostError or CancelRequestedError."""
    await _hold(db, claim, lease_expires_at=db_now(lease_s))


async def fence(db: AsyncSession, claim: Claim, *, stage: str | None = None) -> None:
    """Open every transaction that a worker writes in: from here to its commit the job can't change hands."""
    if not await sessions.lock(db, claim.session_id):
        raise LeaseLostError
    values: dict[str, Any] = {"version": Job.version + 1}
    if stage:
        values["stage"] = stage
    await _hold(db, claim, **values)
    after_commit(db, JobChanged(claim.job_id))


async def succeed(db: AsyncSession, claim: Claim) -> None:
    """End a fenced job well."""
    await _leave(db, claim, JobStatus.SUCCEEDED)


async def fail(db: AsyncSession, claim: Claim, error: AppError) -> None:
    """End a fenced job with a problem; what it saved before stays."""
    await _leave(db, claim, JobStatus.FAILED, error=problem(error))


async def cancelled(db: AsyncSession, claim: Claim) -> None:
    """End a running job that was asked to stop."""
    await sessions.lock(db, claim.session_id)
    await _leave(db, claim, JobStatus.CANCELLED)


async def give_back(db: AsyncSession, claim: Claim, *, delay_s: float) -> None:
    """Queue a fenced job again after a transient error: uses up an attempt, waits `delay_s` in SQL."""
    run_at = db_now(delay_s) if delay_s > 0 else None
    await _leave(db, claim, JobStatus.QUEUED, attempts_left=Job.attempts_left - 1, run_at=run_at)


async def hand_back(db: AsyncSession, claim: Claim) -> None:
    """Queue a fenced job again because its worker shuts down: uses up nothing."""
    await _leave(db, claim, JobStatus.QUEUED)


async def reclaim_lost(db: AsyncSession) -> int:
    """Queue, or end, the running jobs whose lease ran out; their number."""
    lost = select(Job).where(Job.status == JobStatus.RUNNING, col(Job.lease_expires_at) < db_now())
    rows = (await db.exec(lost.order_by(col(Job.session_id)).limit(SWEEP_LIMIT))).all()
    for job in rows:
        if not await sessions.try_lock(db, job.session_id):
            continue
        where = (
            col(Job.id) == job.id,
            col(Job.lease_token) == job.lease_token,
            col(Job.lease_expires_at) < db_now(),
            col(Job.cancel_requested) == job.cancel_requested,  # else it was asked meanwhile: the next look sees it
        )
        if job.cancel_requested:
            await _move(db, JobStatus.CANCELLED, *where)
        elif job.lost_leases + 1 >= POISON_LEASES:
            detail = "Workers died while they ran this job, so it was taken away."
            await _move(db, JobStatus.FAILED, *where, error=problem(AppError(detail, code="poison")))
        elif job.attempts_left <= 1:
            detail = "The last attempt was lost with its worker."
            await _move(db, JobStatus.FAILED, *where, error=problem(AppError(detail, code="worker_lost")))
        else:
            used = {"attempts_left": Job.attempts_left - 1, "lost_leases": Job.lost_leases + 1}
            await _move(db, JobStatus.QUEUED, *where, **used)
    return len(rows)


async def expire_overdue(db: AsyncSession) -> int:
    """End the queued jobs that should have started long ago; their number."""
    overdue = (col(Job.status) == JobStatus.QUEUED, col(Job.attempt) == 0, col(Job.deadline_at) < db_now())
    rows = (await db.exec(select(Job).where(*overdue).order_by(col(Job.session_id)).limit(SWEEP_LIMIT))).all()
    for job in rows:
        if not await sessions.try_lock(db, job.session_id):
            continue
        error = problem(AppError("The job did not start before its deadline.", code="expired"))
        await _move(db, JobStatus.EXPIRED, col(Job.id) == job.id, *overdue, error=error)
    return len(rows)


async def dispatch_due(db: AsyncSession) -> int:
    """Dispatch what is due and was never sent, or was sent and not claimed for a while; their number."""
    stale = or_(col(Job.dispatched_at).is_(None), col(Job.dispatched_at) < db_now(-RESEND_S))
    due = select(Job.id).where(Job.status == JobStatus.QUEUED, stale, _due(), _FIRST_IN_SESSION)
    due = due.order_by(col(Job.dispatched_at).nulls_first()).limit(SWEEP_LIMIT).with_for_update(skip_locked=True)
    send = (
        update(Job)
        .where(col(Job.id).in_(due), col(Job.status) == JobStatus.QUEUED)
        .values(dispatched_at=db_now())
        .returning(col(Job.id), col(Job.dispatch_no))
    )
    rows = (await db.exec(send)).all()
    for job_id, dispatch_no in rows:
        after_commit(db, Dispatch(job_id, dispatch_no))
    return len(rows)


def problem(error: AppError) -> dict[str, Any]:
    """The problem object that a failed job shows."""
    return {"type": "about:blank", "title": error.title, "detail": error.detail, "code": error.code}


async def _locked(db: AsyncSession, *, owner_id: UUID, job_id: UUID) -> Job:
    """The job as it is once its session is locked: before that somebody else may have been ending it."""
    job = await get(db, owner_id=owner_id, job_id=job_id)
    if not await sessions.lock(db, job.session_id):
        raise missing()
    await db.refresh(job)
    return job


async def _move(db: AsyncSession, to: JobStatus, *where: ColumnElement[bool], **values: Any) -> Sequence[Job]:
    """Bring the jobs that match, and may, to a state; the jobs as they are now.

    What every state needs comes with it: a queued job is dispatched when it is due, and every other state but
    running frees the session for its next job.
    """
    if to is not JobStatus.RUNNING:
        values |= {"lease_token": None, "lease_expires_at": None, "stage": None}
        values |= {"cancel_requested": False} if to is JobStatus.QUEUED else {"finished_at": db_now()}
    statement = (
        update(Job)
        .where(col(Job.status).in_(TRANSITIONS[to]), *where)
        .values(status=to, version=Job.version + 1, dispatched_at=None, **values)
        .returning(Job)
        .execution_options(populate_existing=True)
    )
    jobs = (await db.exec(statement)).scalars().all()
    for job in jobs:
        after_commit(db, JobChanged(job.id))
        if to is JobStatus.QUEUED:
            await _dispatch_head(db, col(Job.id) == job.id)
        if to is JobStatus.CANCELLED:
            spoken = select(Step.blob_id).where(Step.job_id == job.id, col(Step.blob_id).is_not(None))
            await blobs.bury(db, col(Blob.id).in_(spoken))
        if to not in UNFINISHED and job.session_id:
            await _dispatch_head(db, col(Job.id) == _first_in(job.session_id))
        if to is not JobStatus.RUNNING and job.lost_leases >= POISON_LEASES - 1:
            await _dispatch_head(db, col(Job.id) == _next_suspect(job.id))
    return jobs


async def _dispatch_head(db: AsyncSession, which: ColumnElement[bool]) -> None:
    """Dispatch, under a new number, the queued job among `which` whose turn it is."""
    statement = (
        update(Job)
        .where(which, is_unfinished(col(Job.status)), col(Job.status) == JobStatus.QUEUED, _due(), _FIRST_IN_SESSION)
        .values(dispatch_no=Job.dispatch_no + 1, dispatched_at=db_now())
        .returning(col(Job.id), col(Job.dispatch_no))
    )
    for job_id, dispatch_no in (await db.exec(statement)).all():
        after_commit(db, Dispatch(job_id, dispatch_no))


async def _hold(db: AsyncSession, claim: Claim, **values: Any) -> None:
    statement = update(Job).where(*_held(claim)).values(**values).returning(col(Job.cancel_requested))
    cancel_requested = (await db.exec(statement)).scalar_one_or_none()
    if cancel_requested is None:
        raise LeaseLostError
    if cancel_requested:
        raise CancelRequestedError


async def _leave(db: AsyncSession, claim: Claim, status: JobStatus, **values: Any) -> None:
    if not await _move(db, status, *_held(claim), **values):
        raise LeaseLostError


def _held(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return col(Job.id) == claim.job_id, col(Job.lease_token) == claim.token, col(Job.status) == JobStatus.RUNNING


def _due() -> ColumnElement[bool]:
    return or_(col(Job.run_at).is_(None), col(Job.run_at) <= db_now())


def _first_in(session_id: UUID) -> ScalarSelect[UUID]:
    """The unfinished job of a session whose turn it is, found without looking at those behind it."""
    unfinished = select(Job.id).where(col(Job.session_id) == session_id, is_unfinished(col(Job.status)))
    return unfinished.order_by(col(Job.seq)).limit(1).scalar_subquery()


def _next_suspect(leaving: UUID) -> ScalarSelect[UUID]:
    """The suspect that waits longest for the one that leaves its worker."""
    suspect = (col(Job.id) != leaving, col(Job.lost_leases) >= POISON_LEASES - 1)
    waiting = select(Job.id).where(Job.status == JobStatus.QUEUED, *suspect, _due(), _FIRST_IN_SESSION)
    oldest = waiting.order_by(col(Job.dispatched_at)).limit(1)
    return oldest.with_for_update(skip_locked=True).scalar_subquery()  # it is of another session: wait for nobody


def _said(role: MessageRole, *where: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(col(Message.job_id) == col(Job.id), col(Message.role) == role, *where)
