"""A blob: bytes in the store, and what is known of them."""

from enum import StrEnum
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field

from shared.models.row import Row, stored


class BlobStatus(StrEnum):
    """`pending` until a row points at it, `deleted` (a tombstone) until the bytes are swept."""

    PENDING = "pending"
    READY = "ready"
    DELETED = "deleted"


class BlobPurpose(StrEnum):
    """What the bytes are."""

    UPLOAD = "upload"
    SENTENCE = "sentence"
    REPLY = "reply"


class Blob(Row, table=True):
    """One object of the store; its key is new and written once. Size in bytes, duration in seconds.

    `session_id` has no foreign key: a tombstone outlives its session.
    """

    owner_id: UUID = Field(index=True)
    session_id: UUID | None = Field(default=None, index=True)
    purpose: BlobPurpose = Field(sa_type=stored(BlobPurpose))
    status: BlobStatus = Field(default=BlobStatus.PENDING, sa_type=stored(BlobStatus))
    key: str = Field(max_length=200, unique=True)
    mime: str | None = Field(default=None, max_length=100)
    codec: str | None = Field(default=None, max_length=50)
    duration_s: float | None = None
    size: int | None = None
    sha256: str | None = Field(default=None, max_length=64)

    __table_args__ = (Index("ix_blob_status", "status", "updated_at"),)
