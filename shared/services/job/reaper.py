"""The rules of a reconciler: what is left to do when a worker, Redis or a client went away. From SQL alone."""

from typing import Any

from sqlalchemy import Boolean, Uuid, bindparam, or_, update
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.errors import AppError
from shared.models import POISON_LEASES, Job, JobStatus, is_unfinished, table
from shared.services import session as sessions
from shared.services.job.transitions import (
    DUE,
    FIRST_IN_SESSION,
    THIS,
    WAITING,
    Transition,
    apply,
    problem,
    transition_to,
)
from shared.sql.effects import Dispatch, after_commit
from shared.sql.functions import db_now

RESEND_S = 5.0  # how long the queue is trusted with a job that nobody claimed
SWEEP_LIMIT = 500

_job = table(Job)

_EXPIRED_LEASE = _job.c.lease_expires_at < db_now()
_LOST = (
    select(Job).where(_job.c.status == JobStatus.RUNNING, _EXPIRED_LEASE).order_by(_job.c.session_id).limit(SWEEP_LIMIT)
)
_STILL_LOST = (
    THIS,
    _job.c.lease_token == bindparam("token", type_=Uuid()),
    _EXPIRED_LEASE,
    _job.c.cancel_requested == bindparam("asked", type_=Boolean()),  # if that changed, the next look sees it
)
_CANCEL_LOST = transition_to(JobStatus.CANCELLED, *_STILL_LOST)
_FAIL_LOST = transition_to(JobStatus.FAILED, *_STILL_LOST, error=bindparam("problem"))
_TAKE_BACK = transition_to(
    JobStatus.QUEUED, *_STILL_LOST, attempts_left=_job.c.attempts_left - 1, lost_leases=_job.c.lost_leases + 1
)
_OVERDUE = (_job.c.status == JobStatus.QUEUED, _job.c.attempt == 0, _job.c.deadline_at < db_now())
_LATE = select(Job).where(is_unfinished(_job.c.status), *_OVERDUE).order_by(_job.c.session_id).limit(SWEEP_LIMIT)
_EXPIRE = transition_to(JobStatus.EXPIRED, THIS, *_OVERDUE, error=bindparam("problem"))
_UNSENT = (
    select(_job.c.id)
    .where(
        _job.c.status == JobStatus.QUEUED,
        or_(_job.c.dispatched_at.is_(None), _job.c.dispatched_at < db_now(-RESEND_S)),
        DUE,
        FIRST_IN_SESSION,
    )
    .order_by(_job.c.dispatched_at.nulls_first())
    .limit(SWEEP_LIMIT)
    .with_for_update(skip_locked=True)
)
_SEND = (
    update(_job)
    .where(_job.c.id.in_(_UNSENT), _job.c.status == JobStatus.QUEUED)
    .values(dispatched_at=db_now(), **WAITING)
    .returning(_job.c.id, _job.c.dispatch_no)
)


async def reclaim_lost(db: AsyncSession) -> int:
    """Queue, or end, the running jobs whose lease ran out; their number."""
    rows = (await db.exec(_LOST)).all()
    for job in rows:
        if await sessions.try_lock(db, job.session_id):
            way, more = _fate_of(job)
            await apply(db, way, job=job.id, token=job.lease_token, asked=job.cancel_requested, **more)
    return len(rows)


def _fate_of(job: Job) -> tuple[Transition, dict[str, Any]]:
    """What becomes of a job whose worker is gone, and the problem it shows if it has failed."""
    if job.cancel_requested:
        return _CANCEL_LOST, {}
    if job.lost_leases + 1 >= POISON_LEASES:
        detail = "Workers died while they ran this job, so it was taken away."
        return _FAIL_LOST, {"problem": problem(AppError(detail, code="poison"))}
    if job.attempts_left <= 1:
        detail = "The last attempt was lost with its worker."
        return _FAIL_LOST, {"problem": problem(AppError(detail, code="worker_lost"))}
    return _TAKE_BACK, {}


async def expire_overdue(db: AsyncSession) -> int:
    """End the queued jobs that should have started long ago; their number."""
    rows = (await db.exec(_LATE)).all()
    expired = problem(AppError("The job did not start before its deadline.", code="expired"))
    for job in rows:
        if await sessions.try_lock(db, job.session_id):
            await apply(db, _EXPIRE, job=job.id, problem=expired)
    return len(rows)


async def dispatch_due(db: AsyncSession) -> int:
    """Dispatch what is due and was never sent, or was sent and not claimed for a while; their number."""
    rows = (await db.exec(_SEND)).all()
    for job_id, dispatch_no in rows:
        after_commit(db, Dispatch(job_id, dispatch_no))
    return len(rows)
