"""What a client's Idempotency-Key stands for."""

from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field

from shared.models.row import Row

KEY_LENGTH = 255


class IdempotencyKey(Row, table=True):
    """The id of what was created under a key, and the SHA-256 of the request that did; no answer is kept."""

    __tablename__ = "idempotency_key"

    owner_id: UUID = Field(foreign_key="user.id", ondelete="CASCADE")
    key: str = Field(max_length=KEY_LENGTH)
    fingerprint: str = Field(max_length=64)
    resource_id: UUID

    __table_args__ = (
        Index("uq_idempotency_key", "owner_id", "key", unique=True),
        Index("ix_idempotency_created", "created_at"),
    )
