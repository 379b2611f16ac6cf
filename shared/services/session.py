"""The rules of sessions."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Uuid, bindparam
from sqlmodel import col, select, update
from sqlmodel import delete as sql_delete
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.errors import NotFound, Unauthorized
from shared.models import Agent, Blob, Job, Session, is_unfinished, table
from shared.services import balance as balances
from shared.services import blob as blobs
from shared.services import user as users
from shared.services.page import PageRequest, newest_first, padded
from shared.sql.effects import JobChanged, after_commit
from shared.sql.functions import db_now, off_the_loop

MOST = 256  # jobs in one statement

_session = table(Session)
_THIS = _session.c.id == bindparam("session", type_=Uuid())
_LOCK = update(_session).where(_THIS).values(last_activity_at=db_now())
_TRY_LOCK = select(_session.c.id).where(_THIS).with_for_update(skip_locked=True)
_these = _session.c.id.in_(bindparam("sessions", type_=Uuid(), expanding=True))
_owners_of_these = select(_session.c.id, _session.c.owner_id).where(_these)
_TRY_LOCK_THESE = _owners_of_these.with_for_update(skip_locked=True, key_share=True)
_TRY_LOCK_OPEN = _TRY_LOCK_THESE.where(users.is_enabled(_session))
_LOCK_THESE = _owners_of_these.order_by(_session.c.id).with_for_update(key_share=True)
_TOUCH_THESE = update(_session).where(_these).values(last_activity_at=db_now())
_taken = bindparam("numbers", type_=Integer())
_taking = (
    update(_session)
    .values(next_seq=_session.c.next_seq + _taken, last_activity_at=db_now())
    .returning(_session.c.id, _session.c.next_seq - _taken, _session.c.last_activity_at)
)
_TAKE_NUMBERS = _taking.where(
    _THIS, _session.c.owner_id == bindparam("owner", type_=Uuid()), users.is_enabled(_session)
)
_TAKE_NUMBERS_OF_THESE = _taking.where(_these)


async def create(db: AsyncSession, *, session_id: UUID, owner_id: UUID, fields: dict[str, Any]) -> None:
    """Open a session with an agent of the owner's; raises NotFound for any other agent."""
    await _check_agent(db, owner_id=owner_id, agent_id=fields["agent_id"])
    db.add(Session(id=session_id, owner_id=owner_id, **fields))
    await db.flush()


async def get(db: AsyncSession, *, owner_id: UUID, session_id: UUID, lock: bool = False) -> Session:
    """The session, kept from everybody else until the commit with `lock`; or NotFound."""
    statement = select(Session).where(Session.id == session_id, Session.owner_id == owner_id)
    session = (await db.exec(statement.with_for_update() if lock else statement)).first()
    if session is None:
        raise missing()
    return session


def missing() -> NotFound:
    """What every route says of a session that is not there, or is another's."""
    return NotFound("There is no such session.")


async def list_(
    db: AsyncSession, *, owner_id: UUID, agent_id: UUID | None, page: PageRequest
) -> tuple[Sequence[Session], str | None]:
    """One page of the owner's sessions, of one agent if asked."""
    statement = select(Session).where(Session.owner_id == owner_id)
    if agent_id:
        statement = statement.where(Session.agent_id == agent_id)
    return await newest_first(db, statement, Session, page)


async def change(db: AsyncSession, *, owner_id: UUID, session_id: UUID, fields: dict[str, Any]) -> Session:
    """Set the given fields of a session; a new agent must be the owner's too."""
    if fields.get("agent_id"):
        await get(db, owner_id=owner_id, session_id=session_id)
        await _check_agent(db, owner_id=owner_id, agent_id=fields["agent_id"])  # locks go agent, session, job
    session = await get(db, owner_id=owner_id, session_id=session_id, lock=True)
    session.sqlmodel_update(fields)
    await db.flush()
    return session


async def lock(db: AsyncSession, session_id: UUID | None) -> bool:
    """Take the session's row, before any of its jobs' rows: one order everywhere, so nobody deadlocks.

    False when the session is gone; a job without a session has nothing to lock.
    """
    if session_id is None:
        return True
    return (await db.exec(_LOCK, params={"session": session_id})).rowcount == 1


async def try_lock(db: AsyncSession, session_id: UUID | None) -> bool:
    """`lock`, for those who can come again: False at once when somebody has the row, and be it a frozen process."""
    if session_id is None:
        return True
    return (await db.exec(_TRY_LOCK, params={"session": session_id})).first() is not None


async def try_lock_all(db: AsyncSession, session_ids: Sequence[UUID]) -> set[UUID]:
    """`lock` those that are there and nobody has just now; a single one is waited for, which keeps nobody waiting."""
    if len(session_ids) < 2:  # noqa: PLR2004
        return {one for one in session_ids if await lock(db, one)}
    rows = await db.exec(_TRY_LOCK_THESE, params={"sessions": padded(session_ids)})
    locked = [session_id for session_id, _ in rows]
    if locked:
        await db.exec(_TOUCH_THESE, params={"sessions": padded(locked)})
    return set(locked)


async def lock_all(db: AsyncSession, session_ids: Collection[UUID]) -> None:
    """`lock` those that are there, in the order of their ids."""
    if session_ids:
        await db.exec(_LOCK_THESE, params={"sessions": padded(list(session_ids))})


class Numbers(NamedTuple):
    """Numbers of a session that were taken, from `first`, and when."""

    first: int
    at: datetime


async def take_numbers(db: AsyncSession, *, owner_id: UUID, session_id: UUID) -> Numbers:
    """Lock the session and take two numbers, a message's and its reply's.

    NotFound for another's session, Unauthorized when its owner was disabled since they were asked who they are.
    """
    taken = (await db.exec(_TAKE_NUMBERS, params={"session": session_id, "owner": owner_id, "numbers": 2})).first()
    if taken is None:
        await get(db, owner_id=owner_id, session_id=session_id)
        detail = "The account is disabled."
        raise Unauthorized(detail)
    _, first, at = taken
    return Numbers(first, at)


async def try_lock_owned(db: AsyncSession, which: Collection[tuple[UUID, UUID]]) -> dict[UUID, UUID]:
    """Lock those of the sessions, each by its id and its owner, that nobody has just now; their owners by id.

    Those of a disabled owner are left out.
    """
    locked = await db.exec(_TRY_LOCK_OPEN, params={"sessions": padded([session_id for session_id, _ in which])})
    return {session_id: owner_id for session_id, owner_id in locked.all() if (session_id, owner_id) in which}


async def take_numbers_of(db: AsyncSession, turns: Mapping[UUID, int]) -> dict[UUID, Numbers]:
    """`take_numbers` for so many turns of each session; they are locked."""
    wanted: defaultdict[int, list[UUID]] = defaultdict(list)
    for session_id, number in turns.items():
        wanted[number].append(session_id)
    taken: dict[UUID, Numbers] = {}
    for number, session_ids in wanted.items():
        params = {"sessions": padded(session_ids), "numbers": 2 * number}
        rows = (await db.exec(_TAKE_NUMBERS_OF_THESE, params=params)).all()
        taken |= {session_id: Numbers(first, at) for session_id, first, at in rows}
    return taken


async def delete(db: AsyncSession, *, owner_id: UUID, session_id: UUID) -> None:
    """Delete a session with its messages, jobs and blobs; what runs is fenced out."""
    await get(db, owner_id=owner_id, session_id=session_id, lock=True)
    await clear(db, col(Session.id) == session_id)


async def clear(db: AsyncSession, which: ColumnElement[bool]) -> None:
    """Delete some sessions and whatever they hold; their blobs become tombstones, their usage stays."""
    await off_the_loop(db)
    ids = select(Session.id).where(which)
    await db.exec(update(Session).where(which).values(last_activity_at=db_now()))  # locked before their jobs
    unfinished = select(col(Job.id), *balances.METERED).where(
        col(Job.session_id).in_(ids), is_unfinished(col(Job.status))
    )
    ended: Sequence[Any] = (await db.exec(unfinished)).all()
    for job in ended:
        after_commit(db, JobChanged(job.id, ended=True))
    metered = [job.id for job in ended if balances.is_metered(job)]
    for start in range(0, len(metered), MOST):
        await balances.capture(db, metered[start : start + MOST])
    await blobs.mark_deleted(db, col(Blob.session_id).in_(ids))
    await db.exec(sql_delete(Session).where(which))


async def _check_agent(db: AsyncSession, *, owner_id: UUID, agent_id: UUID) -> None:
    statement = select(Agent.id).where(Agent.id == agent_id, Agent.owner_id == owner_id)
    if (await db.exec(statement.with_for_update(read=True))).first() is None:
        detail = "There is no such agent."
        raise NotFound(detail)
