"""A message: one side's words in a session."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ColumnElement, Index, TypeDecorator, func
from sqlalchemy import Text as SqlText
from sqlmodel import Field

from shared.models.row import Row, stored

MAX_TEXT_CHARS = 1_000_000
"""Of one message, whoever said it."""


class MessageRole(StrEnum):
    """Who said it."""

    USER = "user"
    ASSISTANT = "assistant"


class MessageKind(StrEnum):
    """How it was said; a job has the kind of its user's message."""

    TEXT = "text"
    VOICE = "voice"


class ShownText(TypeDecorator[str]):
    """Text of which no more than `MAX_TEXT_CHARS` are read: what an earlier release stored may be longer."""

    impl = SqlText
    cache_ok = True

    def column_expression(self, column: ColumnElement[str]) -> ColumnElement[str]:
        return func.substr(column, 1, MAX_TEXT_CHARS, type_=self)


class Message(Row, table=True):
    """`text` is null until a voice note is transcribed, empty when it held no speech.

    A reply's `finish_reason` says why it ended, null when nobody knows. `reasoning` is what its model thought, kept if
    its agent wants that: its job shows it, and no message.
    """

    owner_id: UUID
    session_id: UUID = Field(foreign_key="session.id", ondelete="CASCADE")
    job_id: UUID = Field(foreign_key="job.id", ondelete="CASCADE")
    seq: int
    role: MessageRole = Field(sa_type=stored(MessageRole))
    kind: MessageKind = Field(sa_type=stored(MessageKind))
    text: str | None = Field(default=None, sa_type=ShownText)
    language: str | None = Field(default=None, max_length=2)
    finish_reason: str | None = Field(default=None, max_length=20)
    reasoning: str | None = Field(default=None, sa_type=SqlText)
    blob_id: UUID | None = Field(default=None, foreign_key="blob.id", ondelete="SET NULL", index=True)

    __table_args__ = (
        Index("uq_message_session_seq", "session_id", "seq", unique=True),
        Index("uq_message_job_role", "job_id", "role", unique=True),  # a message is never answered twice
    )


@dataclass(frozen=True)
class NewMessage:
    """A user's message as it is inserted, and no model, like `NewJob`."""

    id: UUID
    owner_id: UUID
    session_id: UUID
    job_id: UUID
    seq: int
    kind: MessageKind
    text: str | None
    blob_id: UUID | None
    role: MessageRole = MessageRole.USER
    language: str | None = None
