"""An agent: who answers, and how."""

from typing import Annotated
from uuid import UUID

from pydantic import StringConstraints
from sqlalchemy import Index
from sqlalchemy import Text as SqlText
from sqlmodel import Field, SQLModel

from shared.models.row import Name, Row, Text

ModelName = Annotated[Text, StringConstraints(pattern=r"^[^/\s]+/\S+$", max_length=200)]
LanguageCode = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]


class AgentBase(SQLModel):
    """What a client says of an agent."""

    name: Name = Field(max_length=200, schema_extra={"examples": ["Concierge"]})
    prompt: Text = Field(
        default="",
        max_length=32_000,
        sa_type=SqlText,
        description="What the agent is and does: the first thing the model reads.",
        schema_extra={"examples": ["You answer the guests of a small hotel in Amman."]},
    )
    personality: Text = Field(
        default="",
        max_length=8_000,
        sa_type=SqlText,
        description="How it sounds.",
        schema_extra={"examples": ["Warm, brief, never salesy."]},
    )
    ai_chat: ModelName | None = Field(
        default=None, max_length=200, description="`provider/model` that writes its replies; null: the server's."
    )
    ai_stt: ModelName | None = Field(
        default=None, max_length=200, description="`provider/model` that hears voice notes; null: the server's."
    )
    ai_tts: ModelName | None = Field(
        default=None, max_length=200, description="`provider/model` that speaks its replies; null: the server's."
    )
    voice: Name | None = Field(
        default=None, max_length=100, description="A voice of the speech model; null: its default for the language."
    )
    language: LanguageCode | None = Field(
        default=None, max_length=2, description="ISO 639-1 language to assume until one was heard; null: English."
    )


class Agent(AgentBase, Row, table=True):
    """An agent of one owner."""

    owner_id: UUID = Field(foreign_key="user.id", ondelete="CASCADE")

    __table_args__ = (Index("ix_agent_owner_page", "owner_id", "created_at", "id"),)
