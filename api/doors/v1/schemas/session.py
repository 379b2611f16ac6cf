"""Bodies of sessions."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, ConfigDict
from pydantic.config import JsonDict

from api.doors.v1.schemas.patch import not_null
from shared.models import SessionBase

EXAMPLE: JsonDict = {"agent_id": "01936b2e-0000-7000-8000-000000000000", "name": "Room 12"}


class SessionWrite(SessionBase):
    """A whole session."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})  # type: ignore[assignment]  # SQLModel's is a subclass


class SessionPatch(SessionBase):
    """The fields to change."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "Room 14"}]})  # type: ignore[assignment]  # SQLModel's is a subclass

    agent_id: Annotated[UUID | None, AfterValidator(not_null)] = None  # type: ignore[assignment]  # unset, never null


class SessionRead(SessionBase):
    """A session as stored. What is written today is held to more than what was written before."""

    name: str
    language: str | None
    id: UUID
    last_activity_at: datetime
    created_at: datetime
    updated_at: datetime
