"""The rules of balances: a job's highest cost is held back at its submit, and what it did cost is paid at its end.

A job never costs its owner more than was held back for it: what a model used beyond that is waived, visibly. User rows
are locked last of all, in the order of their ids and right before the commit, or one at a time: so nobody deadlocks.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, Uuid, bindparam, exists, func, insert, or_, update
from sqlalchemy import select as sql_select
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession
from uuid_utils.compat import uuid7

from shared.errors import PaymentRequired, TooMany
from shared.models import Job, Session, Usage, User, is_unfinished, table
from shared.money import ZERO, Money, plain
from shared.services.cost_estimate import EVERYTHING, Estimate, PriceBook, bounds
from shared.services.page import padded
from shared.services.user import Account
from shared.sql.effects import before_commit

WAIVED = "waived"  # the step, provider and model of what is taken back
BUSY_RETRY_S = 5.0

_user, _job, _session, _usage = table(User), table(Job), table(Session), table(Usage)
_THIS = _user.c.id == bindparam("user", type_=Uuid())
_amount = bindparam("amount", type_=Money())
_HOLD = (
    update(_user)
    .where(_THIS, or_(_user.c.balance.is_(None), _user.c.balance - _user.c.reserved >= _amount))
    .values(reserved=_user.c.reserved + _amount)
)
_PAY = (
    update(_user)
    .where(_THIS)
    .values(balance=_user.c.balance - _amount, reserved=_user.c.reserved - bindparam("held", type_=Money()))
)
_LOCK = select(_user.c.id).where(_THIS).with_for_update(key_share=True)
METERED = (
    _job.c.reserved,
    exists().where(_user.c.id == _job.c.owner_id, _user.c.balance.is_not(None)).correlate(_job).label("has_balance"),
)
"""What `is_metered` reads: two columns, because SQLite 3.40 returns a wrong `reserved IS NOT NULL` from an UPDATE."""
_UNFINISHED = select(func.count()).where(
    _job.c.owner_id == bindparam("user", type_=Uuid()), is_unfinished(_job.c.status)
)
_HELD = (
    sql_select(
        _job.c.id,
        _job.c.owner_id,
        _job.c.session_id,
        _session.c.agent_id,
        _job.c.reserved,
        _job.c.charged,
        func.sum(_usage.c.cost).label("used"),
    )
    .join(_session, _session.c.id == _job.c.session_id, isouter=True)
    .join(_usage, _usage.c.job_id == _job.c.id, isouter=True)
    .where(_job.c.id.in_(bindparam("jobs", type_=Uuid(), expanding=True)))
    .group_by(_job.c.id, _session.c.agent_id)
)
_SETTLE = (
    update(_job)
    .where(_job.c.id == bindparam("settled", type_=Uuid()))
    .values(reserved=None, charged=_job.c.charged + _amount)
)
_ADD_USAGE = insert(_usage)


class Owed(NamedTuple):
    """What a balance is charged in a transaction, and what it does not hold back any more."""

    due: Decimal
    held: Decimal


async def authorize(
    db: AsyncSession, tariff: PriceBook, account: Account, asks: Sequence[Estimate], *, before: int = EVERYTHING
) -> list[Decimal | None]:
    """Hold back what each turn of an account may cost at most; None for each when it has no balance.

    Their sessions are locked, and the jobs are not added yet. SQL is asked nothing for an account without restrictions.
    Raises PaymentRequired, TooMany, and Invalid for a model that the account may not use.
    """
    most, spare = await bounds(db, tariff, account, asks, before=before) if account.is_metered else ([], ZERO)
    if account.jobs_at_a_time is not None:
        await db.exec(_LOCK, params={"user": account.id})
        unfinished = (await db.exec(_UNFINISHED, params={"user": account.id})).one()
        if unfinished + len(asks) > account.jobs_at_a_time:
            detail = f"This account may have {account.jobs_at_a_time} unfinished jobs at a time."
            raise TooMany(detail, retry_after=BUSY_RETRY_S)
    if account.balance is None:
        return [None] * len(asks)
    await _authorize(db, account, sum(most, ZERO), spare)  # last: whatever raises, nothing was written
    return [*most]


def is_metered(job: Row[Any]) -> bool:
    """Whether a job's end is to be settled: something is held back for it, or its owner has a balance by now."""
    return job.reserved is not None or bool(job.has_balance)


async def capture(db: AsyncSession, job_ids: Sequence[UUID]) -> None:
    """Let go of what was held back for jobs that have ended, or are about to be deleted, and charge what they used.

    Of a balance that there was not yet when a job was submitted nothing is held back for it: it costs nothing.
    """
    jobs = (await db.exec(_HELD, params={"jobs": padded(job_ids)})).all()  # type: ignore[call-overload]  # no model
    for job in jobs:
        held = ZERO if job.reserved is None else job.reserved
        due = (job.used or ZERO) - job.charged
        if due > held:
            await _waive(db, job, due - held)
            due = held
        if job.reserved is None:
            continue
        await db.exec(_SETTLE, params={"settled": job.id, "amount": due})
        if "owed" not in db.info:
            db.info["owed"] = {}
            before_commit(db, _pay)
        owed = db.info["owed"].get(job.owner_id, Owed(ZERO, ZERO))
        db.info["owed"][job.owner_id] = Owed(owed.due + due, owed.held + held)


async def _authorize(db: AsyncSession, account: Account, amount: Decimal, spare: Decimal) -> None:
    """Whoever can't pay waits for nobody to be told so."""
    held = {"user": account.id, "amount": amount}
    if amount > spare or (amount and not (await db.exec(_HOLD, params=held)).rowcount):
        detail = f"This may cost up to ${plain(amount)}, and the account's balance has less to spare."
        raise PaymentRequired(detail)


async def _waive(db: AsyncSession, job: Row[Any], amount: Decimal) -> None:
    more = update(_usage).where(_usage.c.job_id == job.id, _usage.c.step == WAIVED)
    if not (await db.exec(more.values(cost=_usage.c.cost - amount))).rowcount:
        row = {"id": uuid7(), "job_id": job.id, "cost": -amount, "step": WAIVED, "provider": WAIVED, "model": WAIVED}
        row |= {"owner_id": job.owner_id, "agent_id": job.agent_id, "session_id": job.session_id}
        await db.exec(_ADD_USAGE, params=row)


async def _pay(db: AsyncSession) -> None:
    for owner_id, owed in sorted(db.info["owed"].items()):
        await db.exec(_PAY, params={"user": owner_id, "amount": owed.due, "held": owed.held})
