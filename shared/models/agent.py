"""An agent: who answers, and how."""

import re
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, StringConstraints
from sqlalchemy import JSON, Index
from sqlalchemy import Text as SqlText
from sqlmodel import Field, SQLModel

from shared.iso_639 import LanguageCode
from shared.models.row import Name, OneLine, Row, Text

ModelName = Annotated[OneLine, StringConstraints(pattern=r"^[^/\s,]+/[^\s,]+$", max_length=200)]
_MODEL_NAMES = re.compile(r"[^/\s,]+/[^\s,]+( *, *[^/\s,]+/[^\s,]+)*")


def _names_models(text: str) -> str:
    if not _MODEL_NAMES.fullmatch(text) or not text.isprintable():
        msg = "must name models as provider/model, separated by commas"
        raise ValueError(msg)
    return text


ModelNames = Annotated[OneLine, StringConstraints(max_length=200), AfterValidator(_names_models)]
VoiceName = Annotated[Name, StringConstraints(max_length=100)]
MOST_LANGUAGES = 50
ALONG = "or several, separated by commas: the first that answers; null: the server's."


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
    ai_chat: ModelNames | None = Field(
        default=None,
        max_length=200,
        description=f"`provider/model` that writes its replies, {ALONG}",
    )
    ai_stt: ModelNames | None = Field(
        default=None,
        max_length=200,
        description=f"`provider/model` that hears voice notes, {ALONG}",
    )
    ai_tts: ModelNames | None = Field(
        default=None,
        max_length=200,
        description=f"`provider/model` that speaks its replies, {ALONG}",
    )
    voice: Name | None = Field(
        default=None, max_length=100, description="A voice of the speech model; null: its default for the language."
    )
    voices: dict[LanguageCode, VoiceName] = Field(
        default_factory=dict,
        max_length=MOST_LANGUAGES,
        sa_type=JSON,
        description="Voices by language, where they are not `voice`.",
        schema_extra={"examples": [{"ar": "shimmer"}]},
    )
    languages: list[LanguageCode] = Field(
        default_factory=list,
        max_length=MOST_LANGUAGES,
        sa_type=JSON,
        description="The ISO 639-1 languages that it hears and speaks; empty: any.",
        schema_extra={"examples": [["en", "ar"]]},
    )
    language: LanguageCode | None = Field(
        default=None,
        max_length=2,
        description="The language to assume until one was heard; null: the first of `languages`, else English.",
    )

    show_reasoning: bool = Field(
        default=False, description="Whether its jobs show what the model thought before it answered."
    )

    def voice_in(self, language: str) -> str | None:
        """The voice for a language; None is the speech model's own."""
        return self.voices.get(language, self.voice)


class Agent(AgentBase, Row, table=True):
    """An agent of one owner."""

    owner_id: UUID = Field(foreign_key="user.id", ondelete="CASCADE")

    __table_args__ = (Index("ix_agent_owner_page", "owner_id", "created_at", "id"),)
