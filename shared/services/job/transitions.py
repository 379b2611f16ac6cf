"""The life of a job. Its status is written here and nowhere else, always by a conditional UPDATE.

The statements are built once: to build one costs several times what it costs to run it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

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
    true,
    update,
)
from sqlalchemy import select as sql_select
from sqlalchemy.sql.dml import ReturningUpdate
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

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
    Usage,
    defaults,
    is_unfinished,
    table,
)
from shared.money import ZERO
from shared.services import balance as balances
from shared.services import blob as blobs
from shared.services import session as sessions
from shared.services import user as users
from shared.services.cost_estimate import EVERYTHING, Estimate, PriceBook
from shared.services.page import padded
from shared.services.user import Account
from shared.sql.effects import Dispatch, JobChanged, after_commit
from shared.sql.functions import UtcDateTime, db_now, seconds

CANCELLED_AT_ONCE = 200  # jobs in one transaction: it keeps their sessions locked
MOVED = ("id", "owner_id", "session_id", "attempt", "attempts_left", "lost_leases")

_job, _session, _step, _usage = table(Job), table(Session), table(Step), table(Usage)
_earlier, _older = _job.alias(), _job.alias()

THIS = _job.c.id == bindparam("job", type_=Uuid())
DUE = or_(_job.c.run_at.is_(None), _job.c.run_at <= db_now())
FIRST_IN_SESSION = ~exists().where(
    _earlier.c.session_id == _job.c.session_id, _earlier.c.seq < _job.c.seq, is_unfinished(_earlier.c.status)
)


def _oldest_dispatched(owner_id: ColumnElement[UUID]) -> Select[tuple[datetime]]:
    """Of an account. Asked for by its place, since no planner takes an index to find that there is none."""
    theirs = (_older.c.owner_id == owner_id, _older.c.waits_since.is_not(None))
    return sql_select(_older.c.waits_since).where(*theirs).order_by(_older.c.waits_since).limit(1)


_oldest = _oldest_dispatched(_job.c.owner_id).correlate(_job).scalar_subquery()
_leads = func.coalesce(_oldest >= _job.c.created_at, true())
WAITING: dict[str, Any] = {"waits_since": _job.c.created_at, "leads_since": case((_leads, _job.c.created_at))}


class Budget(NamedTuple):
    """What a new job may use up: attempts, seconds until it must have started, and money by the tariff."""

    attempts: int
    deadline_s: float
    tariff: PriceBook


class Transition(NamedTuple):
    """A transition to a state: for the jobs that it matches, if they may go there at all."""

    to: JobStatus
    statement: ReturningUpdate[Any]


def transition_to(to: JobStatus, *where: ColumnElement[bool], **values: Any) -> Transition:
    """Build a move."""
    if to is not JobStatus.RUNNING:
        values |= {"lease_token": None, "lease_expires_at": None, "stage": None}
        values |= {"cancel_requested": False} if to is JobStatus.QUEUED else {"finished_at": db_now()}
    statement = (
        update(_job)
        .where(or_(*[_job.c.status == status for status in TRANSITIONS[to]]), *where)
        .values(status=to, version=_job.c.version + 1, dispatched_at=None, waits_since=None, leads_since=None, **values)
        .returning(*(_job.c[name] for name in MOVED), *(() if to in UNFINISHED else balances.METERED))
    )
    return Transition(to, statement)


_CANCEL = transition_to(JobStatus.CANCELLED, THIS, _job.c.status == JobStatus.QUEUED)
_used = sql_select(func.coalesce(func.sum(_usage.c.cost), ZERO)).where(_usage.c.job_id == _job.c.id).correlate(_job)
_RETRY = transition_to(
    JobStatus.QUEUED,
    THIS,
    _job.c.status == JobStatus.FAILED,
    users.is_enabled(_job),
    attempts_left=bindparam("attempts"),
    lost_leases=0,
    error=null(),
    finished_at=None,
    reserved=bindparam("held"),
    charged=_used.scalar_subquery(),  # what was used before is settled, or was free
    run_at=None,
)
_asking = update(_job).where(_job.c.status == JobStatus.RUNNING)
_asking = _asking.values(cancel_requested=True, version=_job.c.version + 1)
_ASK = _asking.where(THIS)
_TO_CANCEL = (
    sql_select(_job.c.id, _job.c.session_id)
    .where(_job.c.owner_id == bindparam("owner", type_=Uuid()), is_unfinished(_job.c.status), ~_job.c.cancel_requested)
    .order_by(_job.c.id.desc())
    .limit(CANCELLED_AT_ONCE)
)
_these = _job.c.id.in_(bindparam("jobs", type_=Uuid(), expanding=True))
_CANCEL_THESE = transition_to(JobStatus.CANCELLED, _these, _job.c.status == JobStatus.QUEUED)
_ASK_THESE = _asking.where(_these).returning(_job.c.id)
_UNFINISHED = select(func.count()).select_from(_job).where(is_unfinished(_job.c.status))
_AHEAD = _UNFINISHED.where(_job.c.session_id == bindparam("session", type_=Uuid()))
_AHEAD_IN = (
    select(_job.c.session_id, func.count())
    .where(_job.c.session_id.in_(bindparam("sessions", type_=Uuid(), expanding=True)), is_unfinished(_job.c.status))
    .group_by(_job.c.session_id)
)
_at = bindparam("at", type_=UtcDateTime())
_is_sent = bindparam("send", type_=Boolean())
_others = _oldest_dispatched(bindparam("account", type_=Uuid())).scalar_subquery()
_ADD = insert(_job).values(
    **{name: value for name, value in defaults(Job).items() if name != "reply_audio"},
    deadline_at=db_now(seconds("deadline_s")),
    dispatched_at=case((_is_sent, db_now())),
    waits_since=case((_is_sent, _at)),
    leads_since=case((_is_sent & _others.is_(None), _at)),
)


def _dispatching(which: ColumnElement[bool]) -> ReturningUpdate[Any]:
    return (
        update(_job)
        .where(which, is_unfinished(_job.c.status), _job.c.status == JobStatus.QUEUED, DUE, FIRST_IN_SESSION)
        .values(dispatch_no=_job.c.dispatch_no + 1, dispatched_at=db_now(), **WAITING)
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
    more = {"deadline_s": deadline_s}
    rows = [
        {**vars(job), **more, "send": ahead == 0, "account": job.owner_id, "at": job.created_at} for job, ahead in jobs
    ]
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
    if await apply(db, _CANCEL, job=job_id):
        return
    if (await db.exec(_ASK, params={"job": job_id})).rowcount:
        after_commit(db, JobChanged(job_id))
    elif job.status != JobStatus.CANCELLED:
        detail = f"The job has already ended: it is {job.status}."
        raise Conflict(detail, code="job_ended")


async def cancel_some(db: AsyncSession, *, owner_id: UUID) -> int:
    """`cancel` the newest of a user's unfinished jobs, before those that they wait for; the number that was found."""
    found = (await db.exec(_TO_CANCEL, params={"owner": owner_id})).all()  # type: ignore[call-overload]  # no model
    if found:
        await sessions.lock_all(db, {session_id for _, session_id in found if session_id})
        these = padded([job_id for job_id, _ in found])
        await apply(db, _CANCEL_THESE, jobs=these)
        for (job_id,) in (await db.exec(_ASK_THESE, params={"jobs": these})).all():
            after_commit(db, JobChanged(job_id))
    return len(found)


async def retry(db: AsyncSession, *, account: Account, job_id: UUID, budget: Budget) -> None:
    """Queue a failed job again, with a fresh set of attempts; its finished steps are kept.

    What is left to do is held back anew: raises PaymentRequired, TooMany, and Invalid for a model that is not allowed.
    Conflict when it has not failed, or its owner is disabled.
    """
    job = await _locked(db, owner_id=account.id, job_id=job_id)
    if job.status == JobStatus.FAILED:
        ask = await _left(db, job) if account.is_metered else Estimate(job.session_id, job.reply_audio)
        (held,) = await balances.authorize(db, budget.tariff, account, [ask], before=job.seq or EVERYTHING)
        if await apply(db, _RETRY, job=job_id, attempts=budget.attempts, held=held):
            return
        detail = "The account of its owner is disabled."
        raise Conflict(detail, code="user_disabled")
    detail = f"Only a failed job can be retried: this one is {job.status}."
    raise Conflict(detail, code="not_failed")


async def _left(db: AsyncSession, job: Job) -> Estimate:
    """What a failed job has still to do."""
    said = select(Message.role, Message.text, Blob.duration_s).where(Message.job_id == job.id)
    rows = (await db.exec(said.join(Blob, col(Blob.id) == col(Message.blob_id), isouter=True))).all()
    texts = {role: text for role, text, _ in rows}
    return Estimate(
        job.session_id,
        speak=job.reply_audio,
        text=texts[MessageRole.USER],
        audio_s=next((seconds for role, _, seconds in rows if role == MessageRole.USER), None) or 0.0,
        reply=texts.get(MessageRole.ASSISTANT),
        ahead=await ahead_of(db, job.session_id),
    )


def problem(error: AppError) -> dict[str, Any]:
    """The problem object that a failed job shows."""
    return {"type": "about:blank", "title": error.title, "detail": error.detail, "code": error.code}


async def apply(db: AsyncSession, transition: Transition, **params: Any) -> Sequence[Row[Any]]:
    """Bring the jobs that match, and may, to a state; id, session, attempts and lost leases of those that went.

    What every state needs comes with it: a queued job is dispatched when it is due, and every other state but
    running frees the session for its next job.
    """
    jobs = (await db.exec(transition.statement, params=params)).all()
    left: list[UUID] = []
    metered = [job.id for job in jobs if transition.to not in UNFINISHED and balances.is_metered(job)]
    if metered:
        await balances.capture(db, metered)
    for job in jobs:
        after_commit(db, JobChanged(job.id, ended=transition.to not in UNFINISHED))
        if transition.to is JobStatus.QUEUED:
            await _dispatch(db, _SEND, job=job.id)
        if transition.to is JobStatus.CANCELLED:
            spoken = select(_step.c.blob_id).where(_step.c.job_id == job.id, _step.c.blob_id.is_not(None))
            await blobs.mark_deleted(db, col(Blob.id).in_(spoken))
        if transition.to not in UNFINISHED and job.session_id:
            left.append(job.session_id)
        if transition.to is not JobStatus.RUNNING and job.lost_leases >= POISON_LEASES - 1:
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


async def _dispatch(db: AsyncSession, statement: ReturningUpdate[Any], **params: Any) -> None:
    """Dispatch, under new numbers, the queued jobs that it finds, if it is their turn."""
    for job_id, dispatch_no in (await db.exec(statement, params=params)).all():
        after_commit(db, Dispatch(job_id, dispatch_no))
