"""A worker's right to a job: taken, kept, and given up with what the job has come to."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Uuid, bindparam, case, exists, func, or_, tuple_, update
from sqlalchemy.sql.dml import ReturningUpdate
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.errors import AppError
from shared.models import Job, JobStatus, Message, MessageRole, table
from shared.services import fairness
from shared.services import session as sessions
from shared.services.job.transitions import DUE, FIRST_IN_SESSION, THIS, Transition, apply, problem, transition_to
from shared.services.page import padded
from shared.sql.effects import JobChanged, after_commit
from shared.sql.functions import db_now, seconds

_job, _message = table(Job), table(Message)

_THESE = _job.c.id.in_(bindparam("jobs", type_=Uuid(), expanding=True))


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


def _said(role: MessageRole, *where: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(_message.c.job_id == _job.c.id, _message.c.role == role, *where)


_HELD = (THIS, _job.c.lease_token == bindparam("token", type_=Uuid()), _job.c.status == JobStatus.RUNNING)


def _claiming(which: ColumnElement[bool]) -> Transition:
    return transition_to(
        JobStatus.RUNNING,
        which,
        DUE,
        FIRST_IN_SESSION,
        or_(_job.c.attempt > 0, _job.c.deadline_at > db_now()),
        attempt=_job.c.attempt + 1,
        worker_id=bindparam("worker"),
        lease_token=bindparam("token"),
        lease_expires_at=db_now(seconds("lease_s")),
        started_at=func.coalesce(_job.c.started_at, db_now()),
        run_at=None,
        stage=case(
            (_said(MessageRole.ASSISTANT), "speak"),
            (_said(MessageRole.USER, _message.c.text.is_(None)), "transcribe"),
            else_="reply",
        ),
    )


_CLAIM = _claiming(THIS)
_CLAIM_THESE = _claiming(_THESE)
_queued_these = select(_job.c.id).where(_THESE, _job.c.status == JobStatus.QUEUED)
_TRY_LOCK_THESE = _queued_these.with_for_update(skip_locked=True, key_share=True)
_CLAIM_FREE = _claiming(_job.c.id.in_(_TRY_LOCK_THESE))
_SUCCEED = transition_to(JobStatus.SUCCEEDED, *_HELD)
_HELD_THESE = (
    tuple_(_job.c.id, _job.c.lease_token).in_(bindparam("held", expanding=True)),
    _job.c.status == JobStatus.RUNNING,
)
_FENCE_THESE = select(_job.c.id).where(*_HELD_THESE, ~_job.c.cancel_requested).with_for_update(key_share=True)
_SUCCEED_THESE = transition_to(JobStatus.SUCCEEDED, *_HELD_THESE)
_FAIL = transition_to(JobStatus.FAILED, *_HELD, error=bindparam("problem"))
_CANCELLED = transition_to(JobStatus.CANCELLED, *_HELD)
_GIVE_BACK = transition_to(JobStatus.QUEUED, *_HELD, attempts_left=_job.c.attempts_left - 1, run_at=None)
_GIVE_BACK_LATER = transition_to(
    JobStatus.QUEUED, *_HELD, attempts_left=_job.c.attempts_left - 1, run_at=db_now(seconds("delay_s"))
)
_HAND_BACK = transition_to(JobStatus.QUEUED, *_HELD)

_holding = update(_job).where(*_HELD).returning(_job.c.cancel_requested)
_RENEW = _holding.values(lease_expires_at=db_now(seconds("lease_s")))
_FENCE = _holding.values(version=_job.c.version + 1)
_FENCE_STAGE = _FENCE.values(stage=bindparam("next_stage"))


async def claim(db: AsyncSession, *, job_id: UUID, worker_id: UUID, lease_s: float) -> Claim | None:
    """Take a queued job whose turn it is. None when it is not to be had, now or ever.

    A second running job of one session, or a worker's second suspect, violates a partial unique index:
    IntegrityError means "not now" too.
    """
    claims = await _claim(db, _CLAIM, job=job_id, worker=worker_id, lease_s=lease_s)
    return claims[0] if claims else None


async def claim_many(db: AsyncSession, *, job_ids: Sequence[UUID], worker_id: UUID, lease_s: float) -> list[Claim]:
    """`claim` those of the jobs that can be had at once, or none: IntegrityError when one of them can't.

    A job that is missing from the claims may be locked just now: it must be claimed by itself.
    """
    free = (await db.exec(_TRY_LOCK_THESE, params={"jobs": padded(job_ids)})).all()
    return await _claim(db, _CLAIM_THESE, jobs=padded(free), worker=worker_id, lease_s=lease_s) if free else []


async def claim_next(db: AsyncSession, *, job_ids: Sequence[UUID], worker_id: UUID, lease_s: float) -> list[Claim]:
    """Take as many jobs as these, but those that are next by `fairness`; these only where there are not enough.

    IntegrityError as above.
    """
    wanted, claims = len(job_ids), list[Claim]()
    chosen = await fairness.choose(db, number=wanted, worker_id=worker_id)
    chosen += [job_id for job_id in job_ids if job_id not in chosen]
    while chosen and len(claims) < wanted:  # once, unless other workers were quicker
        missing = wanted - len(claims)
        these, chosen = chosen[:missing], chosen[missing:]
        claims += await _claim(db, _CLAIM_FREE, jobs=padded(these), worker=worker_id, lease_s=lease_s)
    if claims:
        await fairness.lead(db, after=[claim.job_id for claim in claims])
    return claims


async def renew(db: AsyncSession, claim: Claim, *, lease_s: float) -> None:
    """Keep the lease; raises LeaseLostError or CancelRequestedError."""
    await _hold(db, _RENEW, claim, lease_s=lease_s)


async def fence(db: AsyncSession, claim: Claim, *, stage: str | None = None) -> None:
    """Open a transaction that a worker writes in: from here to its commit the job can't change hands.

    Raises LeaseLostError or CancelRequestedError.
    """
    if not await sessions.lock(db, claim.session_id):
        raise LeaseLostError
    if stage:
        await _hold(db, _FENCE_STAGE, claim, next_stage=stage)
    else:
        await _hold(db, _FENCE, claim)
    after_commit(db, JobChanged(claim.job_id))


async def succeed(db: AsyncSession, claim: Claim) -> None:
    """End a fenced job well."""
    await _leave(db, _SUCCEED, claim)


async def fence_many(db: AsyncSession, claims: Sequence[Claim]) -> set[UUID]:
    """`fence` many jobs; those that are ours.

    What is missing was cancelled, or is not ours any more, or its session is locked: it must be fenced by itself.
    """
    free = await sessions.try_lock_all(db, [claim.session_id for claim in claims if claim.session_id])
    held = _held([claim for claim in claims if claim.session_id in free])
    return set((await db.exec(_FENCE_THESE, params={"held": held})).all()) if held else set()


async def succeed_many(db: AsyncSession, claims: Sequence[Claim]) -> None:
    """`succeed` many fenced jobs."""
    if len(await apply(db, _SUCCEED_THESE, held=_held(claims))) < len(claims):
        raise LeaseLostError


def _held(claims: Sequence[Claim]) -> list[tuple[UUID, UUID]]:
    return padded([(claim.job_id, claim.token) for claim in claims]) if claims else []


async def fail(db: AsyncSession, claim: Claim, error: AppError) -> None:
    """End a fenced job with a problem; what it saved before stays."""
    await _leave(db, _FAIL, claim, problem=problem(error))


async def cancelled(db: AsyncSession, claim: Claim) -> None:
    """End a running job that was asked to stop."""
    await sessions.lock(db, claim.session_id)
    await _leave(db, _CANCELLED, claim)


async def give_back(db: AsyncSession, claim: Claim, *, delay_s: float) -> None:
    """Queue a fenced job again after a transient error: uses up an attempt, waits `delay_s` in SQL."""
    if delay_s > 0:
        await _leave(db, _GIVE_BACK_LATER, claim, delay_s=delay_s)
    else:
        await _leave(db, _GIVE_BACK, claim)


async def hand_back(db: AsyncSession, claim: Claim) -> None:
    """Queue a fenced job again because its worker shuts down: uses up nothing."""
    await _leave(db, _HAND_BACK, claim)


async def _claim(db: AsyncSession, way: Transition, **params: Any) -> list[Claim]:
    token = uuid4()  # with the job's id it is one claim's only
    taken = await apply(db, way, token=token, **params)
    return [Claim(job.id, job.session_id, token, job.attempt, job.attempts_left) for job in taken]


async def _hold(db: AsyncSession, statement: ReturningUpdate[Any], claim: Claim, **params: Any) -> None:
    held = await db.exec(statement, params={"job": claim.job_id, "token": claim.token, **params})
    cancel_requested = held.scalar_one_or_none()
    if cancel_requested is None:
        raise LeaseLostError
    if cancel_requested:
        raise CancelRequestedError


async def _leave(db: AsyncSession, way: Transition, claim: Claim, **params: Any) -> None:
    if not await apply(db, way, job=claim.job_id, token=claim.token, **params):
        raise LeaseLostError
