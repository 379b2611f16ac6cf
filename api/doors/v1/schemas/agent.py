"""Bodies of agents."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.config import JsonDict

from api.doors.v1.schemas.patch import not_null
from shared.models import AgentBase
from shared.models.row import Name

EXAMPLE: JsonDict = {
    "name": "Concierge",
    "prompt": "You answer the guests of a small hotel in Amman.",
    "personality": "Warm and brief.",
}

AgentName = Annotated[Name, Field(max_length=200)]


class AgentWrite(AgentBase):
    """A whole agent."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})  # type: ignore[assignment]  # SQLModel's is a subclass


class AgentPatch(AgentBase):
    """The fields to change."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"personality": "Formal."}]})  # type: ignore[assignment]  # SQLModel's is a subclass

    name: Annotated[AgentName | None, AfterValidator(not_null)] = None  # type: ignore[assignment]  # unset, never null


class AgentRead(AgentBase):
    """An agent as stored. What is written today is held to more than what was written before."""

    name: str
    ai_chat: str | None
    ai_stt: str | None
    ai_tts: str | None
    voice: str | None
    voices: dict[str, str]
    languages: list[str]
    language: str | None
    id: UUID
    created_at: datetime
    updated_at: datetime
