"""The rules of workers: who lives, and how far behind they are."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func
from sqlmodel import col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.models import Job, Worker, is_waiting
from shared.sql.functions import db_now

ALIVE_S = 15.0
FORGOTTEN_S = 86_400.0


class Fleet(NamedTuple):
    """Live workers, and the age of the oldest job that is queued, in seconds."""

    workers: int
    oldest_queued_s: float | None


async def beat(db: AsyncSession, *, worker_id: UUID, host: str, pid: int) -> None:
    """Say that a worker lives; the first time adds its row."""
    seen = update(Worker).where(col(Worker.id) == worker_id).values(seen_at=db_now())
    if not (await db.exec(seen)).rowcount:
        db.add(Worker(id=worker_id, host=host, pid=pid))
        await db.exec(delete(Worker).where(col(Worker.seen_at) < db_now(-FORGOTTEN_S)))
        await db.flush()


async def leave(db: AsyncSession, *, worker_id: UUID) -> None:
    """A worker shuts down in good order."""
    await db.exec(delete(Worker).where(col(Worker.id) == worker_id))


async def fleet(db: AsyncSession) -> Fleet:
    """How the workers are doing."""
    alive = select(func.count()).where(col(Worker.seen_at) > db_now(-ALIVE_S))
    oldest = select(Job.created_at, db_now()).where(is_waiting(col(Job.status), col(Job.run_at)))
    waiting = (await db.exec(oldest.order_by(col(Job.created_at)).limit(1))).first()
    age_s = (waiting[1] - waiting[0]).total_seconds() if waiting else None
    return Fleet((await db.exec(alive)).one(), age_s)
