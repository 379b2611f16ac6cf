"""A session: one conversation with one agent."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index
from sqlalchemy import Text as SqlText
from sqlmodel import Field, SQLModel

from shared.iso_639 import LanguageCode
from shared.models.row import OneLine, Row, Text
from shared.sql.functions import UtcDateTime, db_now


class SessionBase(SQLModel):
    """What a client says of a session."""

    agent_id: UUID
    name: OneLine = Field(default="", max_length=200, schema_extra={"examples": ["Room 12"]})
    prompt: Text = Field(
        default="", max_length=32_000, sa_type=SqlText, description="Added to the agent's prompt, here only."
    )
    summary: Text = Field(
        default="", max_length=32_000, sa_type=SqlText, description="What came before; the model reads it too."
    )
    language: LanguageCode | None = Field(
        default=None, max_length=2, description="ISO 639-1 language of the conversation; follows what is said."
    )


class Session(SessionBase, Row, table=True):
    """A conversation; `next_seq` counts its messages, two numbers a turn."""

    owner_id: UUID = Field(foreign_key="user.id", ondelete="CASCADE")
    agent_id: UUID = Field(foreign_key="agent.id", ondelete="CASCADE", index=True)
    next_seq: int = 1
    last_activity_at: datetime = Field(
        default=None, nullable=False, sa_type=UtcDateTime, sa_column_kwargs={"default": db_now()}
    )

    __table_args__ = (Index("ix_session_owner_page", "owner_id", "created_at", "id"),)
