"""Which jobs are next: those of the account with the fewest running jobs, then the oldest. From SQL alone.

A choice looks at the running jobs of the fleet, and at no more accounts, and jobs of each, than it wants to have,
however many wait. The accounts without a running job are found by the jobs that lead them.

Every step is a subquery with a limit, or finds its rows by the one index that has them: a planner whose statistics are
from before the rush can't make it a join of all that wait.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Uuid,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.sql.selectable import CTE, Select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.models import POISON_LEASES, Job, JobStatus, is_unfinished, table
from shared.services.page import padded
from shared.sql.functions import db_now, json_rows

SPARE = 8  # more than are wanted: other workers may be quicker
MOST_LEADING = 10_000  # are looked at for accounts without a running job: more than there are places in a fleet

_job = table(Job)
_earlier, _other = _job.alias(), _job.alias()
_most = bindparam("most", type_=Integer())


def _is_dispatched(job: FromClause) -> ColumnElement[bool]:
    """The predicate of `ix_job_waits`: whatever moves a job to another state unsets it."""
    return job.c.waits_since.is_not(None)


def _is_running(job: FromClause) -> ColumnElement[bool]:
    """The predicate of `ix_job_running`, and in words that of other small indexes."""
    return and_(job.c.lease_expires_at.is_not(None), job.c.status == literal_column(f"'{JobStatus.RUNNING}'"))


def _is_ready(job: FromClause) -> ColumnElement[bool]:
    """Whether a dispatched job may be claimed: it is due, not too late, and the first of its session."""
    before = (_earlier.c.session_id == job.c.session_id, _earlier.c.seq < job.c.seq)
    ahead = select(_earlier.c.id).where(*before, is_unfinished(_earlier.c.status))
    due = or_(job.c.run_at.is_(None), job.c.run_at <= db_now())
    in_time = or_(job.c.attempt > 0, job.c.deadline_at > db_now())
    first = ahead.order_by(_earlier.c.seq).limit(1).correlate(job).scalar_subquery()
    return and_(due, in_time, first.is_(None))


def _oldest_of(account: FromClause, owner_id: ColumnElement[UUID], *columns: str) -> Select[Any]:
    """The dispatched jobs of an account, oldest first."""
    theirs = (_other.c.owner_id == owner_id, _is_dispatched(_other))
    wanted = select(*[_other.c[name] for name in columns]).where(*theirs)
    return wanted.order_by(_other.c.waits_since).correlate(account)


def _accounts() -> CTE:
    """`most` accounts with dispatched jobs and the number of their running ones (`places`), who is next first."""
    running = select(_job.c.owner_id, func.count().label("places")).where(_is_running(_job))
    busy = running.group_by(_job.c.owner_id).cte("busy")
    marked = select(_job).where(_job.c.leads_since.is_not(None)).order_by(_job.c.leads_since).limit(MOST_LEADING)
    leading = marked.subquery("leading")
    others = (
        leading.c.dispatched_at.is_not(None),
        _is_ready(leading),
        leading.c.owner_id.not_in(select(busy.c.owner_id)),
    )
    ready = select(leading.c.owner_id, literal(0).label("places")).where(*others)
    idle = ready.limit(_most).cte("idle")  # in their order: to ask for it again would make SQLite read them all
    every = select(busy).union(select(idle)).cte("every")
    oldest = _oldest_of(every, every.c.owner_id, "waits_since").limit(1).scalar_subquery()
    waiting = select(every, oldest.label("oldest")).cte("waiting")
    there = select(waiting).where(waiting.c.oldest.is_not(None))
    return there.order_by(waiting.c.places, waiting.c.oldest).limit(_most).cte("account")


def _candidates() -> Select[Any]:
    """The accounts' `places`, and of their `most` oldest jobs those that are ready: age, id, and whether a suspect.

    And whether the worker has a suspect.
    """
    account = _accounts()
    columns = (
        "id",
        "waits_since",
        "dispatched_at",
        "session_id",
        "seq",
        "run_at",
        "attempt",
        "deadline_at",
        "lost_leases",
    )
    oldest = _oldest_of(account, account.c.owner_id, *columns).limit(_most).subquery("oldest")
    is_suspect = oldest.c.lost_leases >= POISON_LEASES - 1
    ready = select(json_rows(oldest.c.waits_since, oldest.c.id, is_suspect)).where(
        oldest.c.dispatched_at.is_not(None), _is_ready(oldest)
    )
    has_suspect = exists().where(
        _other.c.worker_id == bindparam("worker", type_=Uuid()),
        _is_running(_other),
        _other.c.lost_leases >= POISON_LEASES - 1,
    )
    return select(account.c.places, ready.correlate(account).scalar_subquery(), has_suspect)


def _every_account() -> CTE:
    """Every account with a dispatched job, found by one step in an index for each."""
    first = select(_job.c.owner_id).where(_is_dispatched(_job)).order_by(_job.c.owner_id).limit(1)
    account = select(first.scalar_subquery().label("owner_id")).cte("account", recursive=True)
    following = first.where(_job.c.owner_id > account.c.owner_id).correlate(account).scalar_subquery()
    return account.union_all(select(following).where(account.c.owner_id.is_not(None)))


def _leading(account: FromClause, *where: ColumnElement[bool]) -> Any:
    """Let the oldest ready job of each account lead it; nobody waits for one that is locked."""
    oldest = _oldest_of(account, account.c.owner_id, "id").where(_is_ready(_other)).limit(1).scalar_subquery()
    these = select(_job.c.id).where(_job.c.id.in_(select(oldest).where(*where)), _job.c.leads_since.is_(None))
    free = these.with_for_update(skip_locked=True, key_share=True)
    still = case((_is_dispatched(_job), _job.c.created_at))
    return update(_job).where(_job.c.id.in_(free)).values(leads_since=still).returning(_job.c.id)


_CANDIDATES = _candidates()
_claimed, _waiting = _job.alias(), _every_account()
_LEAD = _leading(_claimed, _claimed.c.id.in_(bindparam("jobs", type_=Uuid(), expanding=True)))
_stale = update(_job).where(_is_dispatched(_job), _job.c.dispatched_at.is_(None))
_FORGET = _stale.values(waits_since=None, leads_since=None)
_LEAD_EVERY = _leading(_waiting, _waiting.c.owner_id.is_not(None))


async def choose(db: AsyncSession, *, number: int, worker_id: UUID) -> list[UUID]:
    """The jobs that a worker with so many free places is to claim, who is next first, and a few behind them."""
    most = number + SPARE
    accounts = (await db.exec(_CANDIDATES, params={"most": most, "worker": worker_id})).all()  # type: ignore[call-overload]
    return _in_order([(places, jobs) for places, jobs, _ in accounts], most, any(row[2] for row in accounts))


def _in_order(accounts: Iterable[tuple[int, list[Any]]], number: int, has_suspect: bool) -> list[UUID]:  # noqa: FBT001
    """One place after another: to the account with the fewest, then to the oldest job."""
    waiting = [(places, [(datetime.fromisoformat(age), UUID(job_id), one) for age, job_id, one in jobs])
               for places, jobs in accounts]  # fmt: skip
    heap = [(places, sorted(jobs)) for places, jobs in waiting if jobs]
    heapify(heap)
    chosen: list[UUID] = []
    while heap and len(chosen) < number:
        places, ((_, job_id, is_suspect), *others) = heappop(heap)
        if not (is_suspect and has_suspect):  # a worker runs one at a time
            chosen.append(job_id)
            has_suspect, places = has_suspect or bool(is_suspect), places + 1
        if others:
            heappush(heap, (places, others))
    return chosen


async def lead(db: AsyncSession, *, after: Sequence[UUID]) -> None:
    """Let the oldest job of each account lead it, after these jobs of theirs were claimed."""
    await db.exec(_LEAD, params={"jobs": padded(after)})


async def lead_every(db: AsyncSession) -> int:
    """`lead` every account that waits and is led by none: what led it was cancelled or deleted. Their number.

    A process of the version before this one, in a rolling upgrade, moves jobs and leaves their marks.
    """
    await db.exec(_FORGET)
    return len((await db.exec(_LEAD_EVERY)).all())
