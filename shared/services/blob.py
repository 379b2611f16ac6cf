"""The rules of blobs: a row before the bytes, and a tombstone after them."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement
from sqlmodel import col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from uuid_utils.compat import uuid7

from shared.errors import Conflict
from shared.models import Blob, BlobPurpose, BlobStatus
from shared.sql.functions import db_now

PENDING_S = 3_600.0  # an upload or a reply that took longer than this was abandoned
SAMPLE = 3
TOMBSTONE_S = 60.0  # longer than any write that was under way when its blob was deleted


def new(*, owner_id: UUID, session_id: UUID | None, purpose: BlobPurpose) -> Blob:
    """A row for bytes that are about to be written, under a key that nobody ever used."""
    blob_id = uuid7()
    key = f"{purpose}/{blob_id.hex[:10]}/{blob_id}"
    return Blob(id=blob_id, owner_id=owner_id, session_id=session_id, purpose=purpose, key=key)


async def add(db: AsyncSession, *, owner_id: UUID, session_id: UUID | None, purpose: BlobPurpose) -> Blob:
    """Announce bytes that are about to be written."""
    blob = new(owner_id=owner_id, session_id=session_id, purpose=purpose)
    db.add(blob)
    await db.flush()
    return blob


class BlobContent(NamedTuple):
    """What was written: MIME type and codec by our own look at it, seconds, bytes, SHA-256 in hex."""

    mime: str
    codec: str
    duration_s: float
    size: int
    sha256: str


async def ready(db: AsyncSession, *, blob_id: UUID, session_id: UUID, content: BlobContent) -> None:
    """Say that the bytes are whole, in the transaction that makes them visible; Conflict when they were given up."""
    values = {"status": BlobStatus.READY, "session_id": session_id, **content._asdict()}
    pending = (col(Blob.id) == blob_id, col(Blob.status) == BlobStatus.PENDING)
    if not (await db.exec(update(Blob).where(*pending).values(**values))).rowcount:
        raise Conflict("The bytes took too long to arrive, and were given up.", code="given_up")


async def ready_among(db: AsyncSession, blob_ids: Sequence[UUID]) -> set[UUID]:
    """Those that a row points at; a row that is gone took its bytes with it."""
    pointed_at = (col(Blob.id).in_(blob_ids), col(Blob.status) == BlobStatus.READY)
    return set((await db.exec(select(Blob.id).where(*pointed_at))).all())


async def sample(db: AsyncSession) -> Sequence[str]:
    """The keys of the newest and of the oldest blobs whose bytes are in the store."""
    found = select(Blob.key).where(col(Blob.status) == BlobStatus.READY).limit(SAMPLE)
    newest = (await db.exec(found.order_by(col(Blob.id).desc()))).all()
    return [*newest, *(await db.exec(found.order_by(col(Blob.id)))).all()] if newest else []


async def mark_deleted(db: AsyncSession, *which: ColumnElement[bool]) -> int:
    """Turn blobs into tombstones; a reconciler sweeps their bytes. Their number."""
    alive = col(Blob.status) != BlobStatus.DELETED
    statement = update(Blob).where(alive, *which).values(status=BlobStatus.DELETED)
    return (await db.exec(statement, execution_options={"synchronize_session": False})).rowcount


async def mark_pending_deleted(db: AsyncSession, *which: ColumnElement[bool]) -> int:
    """Turn blobs that nothing points at into tombstones; their number."""
    return await mark_deleted(db, col(Blob.status) == BlobStatus.PENDING, *which)


async def give_up(db: AsyncSession) -> int:
    """Bury the uploads and replies that were never finished; their number."""
    return await mark_pending_deleted(db, col(Blob.updated_at) < db_now(-PENDING_S))


async def sweepable(db: AsyncSession, *, limit: int = 100) -> Sequence[tuple[UUID, str]]:
    """Ids and keys of tombstones old enough for their bytes to be removed."""
    old = (col(Blob.status) == BlobStatus.DELETED, col(Blob.updated_at) < db_now(-TOMBSTONE_S))
    return (await db.exec(select(Blob.id, Blob.key).where(*old).limit(limit))).all()


async def purge(db: AsyncSession, blob_ids: Sequence[UUID]) -> None:
    """Drop the rows of blobs whose bytes are gone."""
    await db.exec(delete(Blob).where(col(Blob.id).in_(blob_ids)))
