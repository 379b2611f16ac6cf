"""The life of a job. Its status is written here and nowhere else, always by a conditional UPDATE.

The statements are built once: to build one costs several times what it costs to run it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Row,
    ScalarSelect,
    Select,
    Uuid,
    bindparam,
    case,
    exists,
    func,
    insert,
    null,
    or_,
    tuple_,
    update,
)
from sqlalchemy import select as sql_select
from sqlalchemy.sql.dml import ReturningUpdate
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.db import Dispatch, JobChanged, after_commit, db_now, seconds
from shared.errors import AppError, Conflict, NotFound
from shared.models import (
    POISON_LEASES,
    TRANSITIONS,
    UNFINISHED,
    Blob,
    Job,
    JobStatus,
    Message,
    MessageRole,
    NewJob,
    Session,
    Step,
    defaults,
    is_unfinished,
    table,
)
from shared.services import balance as balances
from shared.services import blob as blobs
from shared.services import session as sessions
from shared.services.bound import EVERYTHING, Ask, Tariff
from shared.services.page import padded
from shared.services.user import Account

MOVED = ("id", "session_id", "attempt", "attempts_left", "lost_leases", "reserved")

_job, _message, _session, _step = table(Job), table(Message), table(Session), table(Step)
_earlier = _job.alias()

THIS = _job.c.id == bindparam("job", type_=Uuid())
_THESE = _job.c.id.in_(bindparam("jobs", type_=Uuid(), expanding=True))
DUE = or_(_job.c.run_at.is_(None), _job.c.run_at <= db_now())
FIRST_IN_SESSION = ~exists().where(
    _earlier.c.session_id == _job.c.session_id, _earlier.c.seq < _job.c.seq, is_unfinished(_earlier.c.status)
)


class Budget(NamedTuple):
    """What a new job may use up: attempts, seconds until it must have started, and money by the tariff."""

    attempts: int
    deadline_s: float
    tariff: Tariff


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


class Move(NamedTuple):
    """A way to a state: for the jobs that it matches, if they may go there at all."""

    to: JobStatus
    statement: ReturningUpdate[Any]


def moving(to: JobStatus, *where: ColumnElement[bool], **values: Any) -> Move:
    """Build a move."""
    if to is not JobStatus.RUNNING:
        values |= {"lease_token": None, "lease_expires_at": None, "stage": None}
        values |= {"cancel_requested": False} if to is JobStatus.QUEUED else {"finished_at": db_now()}
    statement = (
        update(_job)
        .where(or_(*[_job.c.status == status for status in TRANSITIONS[to]]), *where)
        .values(status=to, version=_job.c.version + 1, dispatched_at=None, **values)
        .returning(*(_job.c[name] for name in MOVED))
    )
    return Move(to, statement)


def _said(role: MessageRole, *where: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(_message.c.job_id == _job.c.id, _message.c.role == role, *where)


_HELD = (THIS, _job.c.lease_token == bindparam("token", type_=Uuid()), _job.c.status == JobStatus.RUNNING)
_CANCEL = moving(JobStatus.CANCELLED, THIS, _job.c.status == JobStatus.QUEUED)
_RETRY = moving(
    JobStatus.QUEUED,
    THIS,
    _job.c.status == JobStatus.FAILED,
    attempts_left=bindparam("attempts"),
    lost_leases=0,
    error=null(),
    finished_at=None,
    reserved=bindparam("held"),
    run_at=None,
)


def _claiming(which: ColumnElement[bool]) -> Move:
    return moving(
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
_SUCCEED = moving(JobStatus.SUCCEEDED, *_HELD)
_HELD_THESE = (
    tuple_(_job.c.id, _job.c.lease_token).in_(bindparam("held", expanding=True)),
    _job.c.status == JobStatus.RUNNING,
)
_FENCE_THESE = select(_job.c.id).where(*_HELD_THESE, ~_job.c.cancel_requested).with_for_update(key_share=True)
_SUCCEED_THESE = moving(JobStatus.SUCCEEDED, *_HELD_THESE)
_FAIL = moving(JobStatus.FAILED, *_HELD, error=bindparam("problem"))
_CANCELLED = moving(JobStatus.CANCELLED, *_HELD)
_GIVE_BACK = moving(JobStatus.QUEUED, *_HELD, attempts_left=_job.c.attempts_left - 1, run_at=None)
_GIVE_BACK_LATER = moving(
    JobStatus.QUEUED, *_HELD, attempts_left=_job.c.attempts_left - 1, run_at=db_now(seconds("delay_s"))
)
_HAND_BACK = moving(JobStatus.QUEUED, *_HELD)

_holding = update(_job).where(*_HELD).returning(_job.c.cancel_requested)
_RENEW = _holding.values(lease_expires_at=db_now(seconds("lease_s")))
_FENCE = _holding.values(version=_job.c.version + 1)
_FENCE_STAGE = _FENCE.values(stage=bindparam("next_stage"))
_ASK = (
    update(_job)
    .where(THIS, _job.c.status == JobStatus.RUNNING)
    .values(cancel_requested=True, version=_job.c.version + 1)
)
_UNFINISHED = select(func.count()).select_from(_job).where(is_unfinished(_job.c.status))
_AHEAD = _UNFINISHED.where(_job.c.session_id == bindparam("session", type_=Uuid()))
_AHEAD_IN = (
    select(_job.c.session_id, func.count())
    .where(_job.c.session_id.in_(bindparam("sessions", type_=Uuid(), expanding=True)), is_unfinished(_job.c.status))
    .group_by(_job.c.session_id)
)
_ADD = insert(_job).values(
    **{name: value for name, value in defaults(Job).items() if name != "reply_audio"},
    deadline_at=db_now(seconds("deadline_s")),
    dispatched_at=case((bindparam("send", type_=Boolean()), db_now())),
)


def _dispatching(which: ColumnElement[bool]) -> ReturningUpdate[Any]:
    return (
        update(_job)
        .where(which, is_unfinished(_job.c.status), _job.c.status == JobStatus.QUEUED, DUE, FIRST_IN_SESSION)
        .values(dispatch_no=_job.c.dispatch_no + 1, dispatched_at=db_now())
        .returning(_job.c.id, _job.c.dispatch_no)
    )


def _first_in_sessions() -> Select[tuple[UUID]]:
    """The unfinished jobs of some sessions whose turn it is, found without looking at those behind them."""
    unfinished = select(_job.c.id).where(_job.c.session_id == _session.c.id, is_unfinished(_job.c.status))
    first = unfinished.order_by(_job.c.seq).limit(1).correlate(_session).scalar_subquery()
    return sql_select(first).where(_session.c.id.in_(bindparam("sessions", type_=Uuid(), expanding=True)))


def _next_suspect() -> ScalarSelect[UUID]:
    """The suspect that waits longest for the one that leaves its worker."""
    suspect = (_job.c.id != bindparam("job", type_=Uuid()), _job.c.lost_leases >= POISON_LEASES - 1)
    waiting = select(_job.c.id).where(_job.c.status == JobStatus.QUEUED, *suspect, DUE, FIRST_IN_SESSION)
    oldest = waiting.order_by(_job.c.dispatched_at).limit(1)
    return oldest.with_for_update(skip_locked=True).scalar_subquery()  # it is of another session: wait for nobody


_SEND = _dispatching(THIS)
_SEND_FIRST = _dispatching(_job.c.id.in_(_first_in_sessions()))
_SEND_SUSPECT = _dispatching(_job.c.id == _next_suspect())


async def ahead_of(db: AsyncSession, session_id: UUID | None) -> int:
    """The unfinished jobs of a session."""
    return int((await db.exec(_AHEAD, params={"session": session_id})).one())


async def ahead_in(db: AsyncSession, session_ids: Sequence[UUID]) -> dict[UUID, int]:
    """The unfinished jobs of each session that has some."""
    return dict((await db.exec(_AHEAD_IN, params={"sessions": padded(session_ids)})).all())


async def add_all(db: AsyncSession, jobs: Sequence[tuple[NewJob, int]], *, deadline_s: float) -> None:
    """Queue turns of sessions whose rows are locked, each with the number of unfinished jobs ahead of it.

    One without any is dispatched after the commit.
    """
    rows = [{**vars(job), "deadline_s": deadline_s, "send": ahead == 0} for job, ahead in jobs]
    await db.exec(_ADD, params=rows)
    for job, ahead in jobs:
        if ahead == 0:
            after_commit(db, Dispatch(job.id, job.dispatch_no))


async def get(db: AsyncSession, *, owner_id: UUID, job_id: UUID) -> Job:
    """The job, or NotFound."""
    job = (await db.exec(select(Job).where(col(Job.id) == job_id, col(Job.owner_id) == owner_id))).first()
    if job is None:
        raise missing()
    return job


async def owner_of(db: AsyncSession, *, job_id: UUID) -> UUID:
    """Whose job it is, or NotFound."""
    owner_id = (await db.exec(select(Job.owner_id).where(Job.id == job_id))).first()
    if owner_id is None:
        raise missing()
    return owner_id


async def count_unfinished(db: AsyncSession) -> int:
    """How many jobs of everybody have not ended: read from their own index."""
    return int((await db.exec(_UNFINISHED)).one())


def missing() -> NotFound:
    """What every route says of a job that is not there, or is another's."""
    return NotFound("There is no such job.")


async def cancel(db: AsyncSession, *, owner_id: UUID, job_id: UUID) -> None:
    """Stop a job: a queued one at once, a running one at its worker's next look. Conflict when it has ended."""
    job = await _locked(db, owner_id=owner_id, job_id=job_id)
    if await move(db, _CANCEL, job=job_id):
        return
    if (await db.exec(_ASK, params={"job": job_id})).rowcount:
        after_commit(db, JobChanged(job_id))
    elif job.status != JobStatus.CANCELLED:
        detail = f"The job has already ended: it is {job.status}."
        raise Conflict(detail, code="job_ended")


async def retry(db: AsyncSession, *, account: Account, job_id: UUID, budget: Budget) -> None:
    """Queue a failed job again, with a fresh set of attempts; its finished steps are kept.

    What is left to do is held back anew: raises PaymentRequired, TooMany, and Invalid for a model that is not allowed.
    """
    job = await _locked(db, owner_id=account.id, job_id=job_id)
    if job.status == JobStatus.FAILED:
        ask = await _left(db, job) if account.is_metered else Ask(job.session_id, job.reply_audio)
        (held,) = await balances.hold(db, budget.tariff, account, [ask], before=job.seq or EVERYTHING)
        if await move(db, _RETRY, job=job_id, attempts=budget.attempts, held=held):
            return
    detail = f"Only a failed job can be retried: this one is {job.status}."
    raise Conflict(detail, code="not_failed")


async def _left(db: AsyncSession, job: Job) -> Ask:
    """What a failed job has still to do."""
    said = select(Message.role, Message.text, Blob.duration_s).where(Message.job_id == job.id)
    rows = (await db.exec(said.join(Blob, col(Blob.id) == col(Message.blob_id), isouter=True))).all()
    texts = {role: text for role, text, _ in rows}
    return Ask(
        job.session_id,
        speak=job.reply_audio,
        text=texts[MessageRole.USER],
        audio_s=next((seconds for role, _, seconds in rows if role == MessageRole.USER), None) or 0.0,
        reply=texts.get(MessageRole.ASSISTANT),
        ahead=await ahead_of(db, job.session_id),
    )


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
    if len(await move(db, _SUCCEED_THESE, held=_held(claims))) < len(claims):
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


def problem(error: AppError) -> dict[str, Any]:
    """The problem object that a failed job shows."""
    return {"type": "about:blank", "title": error.title, "detail": error.detail, "code": error.code}


async def move(db: AsyncSession, way: Move, **params: Any) -> Sequence[Row[Any]]:
    """Bring the jobs that match, and may, to a state; id, session, attempts and lost leases of those that went.

    What every state needs comes with it: a queued job is dispatched when it is due, and every other state but
    running frees the session for its next job.
    """
    jobs = (await db.exec(way.statement, params=params)).all()
    left: list[UUID] = []
    held = [job.id for job in jobs if job.reserved is not None and way.to not in UNFINISHED]
    if held:
        await balances.settle(db, held)
    for job in jobs:
        after_commit(db, JobChanged(job.id, ended=way.to not in UNFINISHED))
        if way.to is JobStatus.QUEUED:
            await _dispatch(db, _SEND, job=job.id)
        if way.to is JobStatus.CANCELLED:
            spoken = select(_step.c.blob_id).where(_step.c.job_id == job.id, _step.c.blob_id.is_not(None))
            await blobs.bury(db, col(Blob.id).in_(spoken))
        if way.to not in UNFINISHED and job.session_id:
            left.append(job.session_id)
        if way.to is not JobStatus.RUNNING and job.lost_leases >= POISON_LEASES - 1:
            await _dispatch(db, _SEND_SUSPECT, job=job.id)
    if left:
        await _dispatch(db, _SEND_FIRST, sessions=padded(left))
    return jobs


async def _locked(db: AsyncSession, *, owner_id: UUID, job_id: UUID) -> Job:
    """The job as it is once its session is locked: before that somebody else may have been ending it."""
    job = await get(db, owner_id=owner_id, job_id=job_id)
    if not await sessions.lock(db, job.session_id):
        raise missing()
    await db.refresh(job)
    return job


async def _claim(db: AsyncSession, way: Move, **params: Any) -> list[Claim]:
    token = uuid4()  # with the job's id it is one claim's only
    taken = await move(db, way, token=token, **params)
    return [Claim(job.id, job.session_id, token, job.attempt, job.attempts_left) for job in taken]


async def _dispatch(db: AsyncSession, statement: ReturningUpdate[Any], **params: Any) -> None:
    """Dispatch, under new numbers, the queued jobs that it finds, if it is their turn."""
    for job_id, dispatch_no in (await db.exec(statement, params=params)).all():
        after_commit(db, Dispatch(job_id, dispatch_no))


async def _hold(db: AsyncSession, statement: ReturningUpdate[Any], claim: Claim, **params: Any) -> None:
    held = await db.exec(statement, params={"job": claim.job_id, "token": claim.token, **params})
    cancel_requested = held.scalar_one_or_none()
    if cancel_requested is None:
        raise LeaseLostError
    if cancel_requested:
        raise CancelRequestedError


async def _leave(db: AsyncSession, way: Move, claim: Claim, **params: Any) -> None:
    if not await move(db, way, job=claim.job_id, token=claim.token, **params):
        raise LeaseLostError
