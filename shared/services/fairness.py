"""Which jobs are next: those of the account with the fewest running jobs, then the oldest. From SQL alone.

A choice looks at the running jobs of the fleet, and at no more accounts, and jobs of each, than it wants to have,
however many wait. The accounts without a running job are found by the jobs that lead them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Uuid,
    and_,
    bindparam,
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

from shared.db import UtcDateTime
from shared.models import POISON_LEASES, Job, JobStatus, is_dispatched, table
from shared.services.job import DUE, FIRST_IN_SESSION, IN_TIME
from shared.services.page import padded

SPARE = 8  # more candidates than are wanted: some may be locked by other workers

_job = table(Job)
_other = _job.alias()
_number, _most, _last = [bindparam(name, type_=Integer()) for name in ("number", "most", "last")]
_worker = bindparam("worker", type_=Uuid())
_EVER = literal(datetime(9999, 1, 1, tzinfo=UTC), UtcDateTime())
_DISPATCHED = is_dispatched(_job.c.status, _job.c.dispatched_at)
_LEADING = is_dispatched(_job.c.status, _job.c.leads_since)
_READY = and_(DUE, FIRST_IN_SESSION, IN_TIME)


def _is_running(job: FromClause) -> ColumnElement[bool]:
    """The predicate of `ix_job_running`, in words."""
    return job.c.status == literal_column(f"'{JobStatus.RUNNING}'")


_is_suspect = _job.c.lost_leases >= POISON_LEASES - 1
_has_suspect = exists().where(
    _is_running(_other), _other.c.worker_id == _worker, _other.c.lost_leases >= POISON_LEASES - 1
)


def _accounts() -> CTE:
    """`most` accounts with dispatched jobs and the number of their running ones (`places`), who is next first.

    `last` is the age of the last of an account's `most` oldest jobs, null when it has fewer.
    """
    running = select(_job.c.owner_id, func.count().label("places")).where(_is_running(_job))
    busy = running.group_by(_job.c.owner_id).cte("busy")
    leading = select(_job.c.owner_id, literal(0).label("places")).where(_LEADING, _READY)
    others = leading.where(_job.c.owner_id.not_in(select(busy.c.owner_id)))
    idle = others.order_by(_job.c.leads_since).limit(_most).cte("idle")
    every = select(busy).union(select(idle)).cte("every")
    theirs = (_other.c.owner_id == every.c.owner_id, is_dispatched(_other.c.status, _other.c.dispatched_at))
    ages = select(_other.c.created_at).where(*theirs).order_by(_other.c.created_at).limit(1).correlate(every)
    oldest, last = ages.scalar_subquery(), ages.offset(_last).scalar_subquery()
    waiting = select(every, oldest.label("oldest"), last.label("last")).cte("waiting")
    there = select(waiting).where(waiting.c.oldest.is_not(None))
    return there.order_by(waiting.c.places, waiting.c.oldest).limit(_most).cte("account")


def _choose() -> Select[Any]:
    """The jobs that are next, as if their places came up one after another; locked, and without those that are."""
    account = _accounts()
    order = (_job.c.created_at, _job.c.id)
    place = account.c.places + func.row_number().over(partition_by=_job.c.owner_id, order_by=order)
    candidates = (
        select(_job.c.id, place.label("place"))
        .join(account, account.c.owner_id == _job.c.owner_id)
        .where(_DISPATCHED, _job.c.created_at <= func.coalesce(account.c.last, _EVER), _READY)
        .where(or_(~_is_suspect, ~_has_suspect))
        .subquery("candidate")
    )
    chosen = select(_job.c.id).join(candidates, candidates.c.id == _job.c.id)
    first = chosen.where(_job.c.status == JobStatus.QUEUED).order_by(candidates.c.place, *order).limit(_number)
    return first.with_for_update(skip_locked=True, key_share=True, of=_job)


def _oldest_of(account: ColumnElement[UUID], within: FromClause) -> Select[Any]:
    """The ids of the jobs that are to lead the accounts that `within` names."""
    oldest = select(_job.c.id).where(_job.c.owner_id == account, _DISPATCHED, DUE, FIRST_IN_SESSION)
    return select(oldest.order_by(_job.c.created_at).limit(1).correlate(within).scalar_subquery())


def _waiting_accounts() -> CTE:
    """Every account with a dispatched job, found by one step in an index for each."""
    first = select(_job.c.owner_id).where(_DISPATCHED).order_by(_job.c.owner_id).limit(1)
    account = select(first.scalar_subquery().label("id")).cte("account", recursive=True)
    following = first.where(_job.c.owner_id > account.c.id).correlate(account).scalar_subquery()
    return account.union_all(select(following).where(account.c.id.is_not(None)))


def _leading(oldest: Select[Any]) -> Any:
    """Let these jobs lead their accounts; nobody waits for one that is locked."""
    these = select(_job.c.id).where(_job.c.id.in_(oldest), _job.c.leads_since.is_(None))
    free = these.with_for_update(skip_locked=True, key_share=True)
    return (
        update(_job).where(_job.c.id.in_(free), _DISPATCHED).values(leads_since=_job.c.created_at).returning(_job.c.id)
    )


_CHOOSE = _choose()
_these = bindparam("jobs", type_=Uuid(), expanding=True)
_LEAD = _leading(_oldest_of(_other.c.owner_id, _other).where(_other.c.id.in_(_these)))
_EVERY = _waiting_accounts()
_LEAD_EVERY = _leading(_oldest_of(_EVERY.c.id, _EVERY).where(_EVERY.c.id.is_not(None)))


async def choose(db: AsyncSession, *, number: int, worker_id: UUID) -> list[UUID]:
    """At most `number` jobs that a worker may claim, who is next first, locked until the transaction ends."""
    most = number + SPARE
    params = {"number": number, "most": most, "last": most - 1, "worker": worker_id}
    return [row[0] for row in (await db.exec(_CHOOSE, params=params)).all()]  # type: ignore[call-overload]


async def lead(db: AsyncSession, *, after: Sequence[UUID]) -> None:
    """Let the oldest job of each account lead it, after these jobs of theirs were claimed."""
    await db.exec(_LEAD, params={"jobs": padded(after)})


async def lead_every(db: AsyncSession) -> int:
    """`lead` every account that waits and is led by none: what led it was cancelled or deleted. Their number."""
    return len((await db.exec(_LEAD_EVERY)).all())
