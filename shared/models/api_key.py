"""An API key: a user's way in for programs."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import JSON, Index
from sqlmodel import Field

from shared.models.row import Row
from shared.sql.functions import UtcDateTime


class Scope(StrEnum):
    """What a key is good for: `read` looks, `write` changes, `admin` is for an administrator's own paths."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class ApiKey(Row, table=True):
    """A key as it is stored: its first characters, and the SHA-256, in hex, of the whole, which is not kept."""

    __tablename__ = "api_key"

    owner_id: UUID = Field(foreign_key="user.id", ondelete="CASCADE")
    name: str = Field(max_length=100)
    prefix: str = Field(max_length=20, unique=True)
    hash: str = Field(max_length=64)
    scopes: list[Scope] = Field(sa_type=JSON)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)

    __table_args__ = (Index("ix_api_key_owner_page", "owner_id", "created_at", "id"),)
