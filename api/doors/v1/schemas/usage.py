"""Bodies of usage."""

from datetime import date
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from api.doors.v1.schemas.page import PageOf
from shared.money import Dollars


class UsageSums(BaseModel):
    """Jobs, tokens, seconds of sound heard or spoken, characters spoken, and what it cost in dollars."""

    model_config = ConfigDict(from_attributes=True)

    jobs: int
    input_tokens: int
    output_tokens: int
    audio_s: float
    characters: int
    cost: Dollars


class UsageRead(UsageSums):
    """The usage of one day, model, agent or session: the one that was asked for is set."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "day": "2026-11-21",
                    "model": None,
                    "agent_id": None,
                    "session_id": None,
                    "jobs": 3,
                    "input_tokens": 912,
                    "output_tokens": 140,
                    "audio_s": 21.4,
                    "characters": 318,
                    "cost": "0.0071722",
                }
            ]
        }
    )

    day: date | None = None
    model: str | None = None
    agent_id: UUID | None = None
    session_id: UUID | None = None


class UsagePage(PageOf[UsageRead]):
    """A page of it, and the total of all pages."""

    total: UsageSums
