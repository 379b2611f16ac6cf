"""The rules of idempotency keys: one key creates one thing, however often and from wherever it is sent."""

import hashlib
from uuid import UUID

from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession
from uuid_utils.compat import uuid7

from shared.errors import Invalid
from shared.models import IdempotencyKey
from shared.sql.functions import db_now, upsert

KEPT_S = 86_400.0


class ReplayError(Exception):
    """The key has already created `resource_id`: nothing may be written, what there is is shown."""

    def __init__(self, resource_id: UUID) -> None:
        super().__init__(str(resource_id))
        self.resource_id = resource_id


def fingerprint(*parts: str) -> str:
    """What makes two requests the same: SHA-256, in hex, of the parts in order."""
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()


async def new_id(db: AsyncSession, *, owner_id: UUID, key: str | None, request: str) -> UUID:
    """The id for what this transaction is about to create, kept under `key` if there is one.

    `request` is its fingerprint. Whoever comes second waits here until the first has committed or failed. Raises
    ReplayError when the key has created something, Invalid when that was another request's.
    """
    resource_id: UUID = uuid7()
    if key is None:
        return resource_id
    values = {"fingerprint": request, "resource_id": resource_id, "created_at": db_now()}
    take = (
        upsert(db, IdempotencyKey)
        .values(id=resource_id, owner_id=owner_id, key=key, **values)
        .on_conflict_do_update(
            index_elements=["owner_id", "key"],
            set_=values,
            where=col(IdempotencyKey.created_at) < db_now(-KEPT_S),
        )
        .returning(col(IdempotencyKey.id))
    )
    if (await db.exec(take)).first():
        return resource_id
    known = select(IdempotencyKey).where(IdempotencyKey.owner_id == owner_id, IdempotencyKey.key == key)
    row = (await db.exec(known)).one()
    if row.fingerprint != request:
        detail = "This Idempotency-Key was used with another request."
        raise Invalid(detail, code="idempotency_key_reused")
    raise ReplayError(row.resource_id)


async def forget_old(db: AsyncSession) -> int:
    """Drop the keys that have had their day; their number."""
    then = select(db_now(-KEPT_S)).scalar_subquery()  # asked once: a clock that runs on enters no index of PostgreSQL
    return (await db.exec(delete(IdempotencyKey).where(col(IdempotencyKey.created_at) < then))).rowcount
