"""Bodies of the health routes."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Health(BaseModel):
    """The process answers, and says how to come in, and how large and long a voice note may be.

    `auth` says whether one signs in, `registration` whether anybody may make an account.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "healthy",
                    "version": "0.1.0",
                    "auth": "on",
                    "registration": "open",
                    "max_upload_mb": 25.0,
                    "max_audio_s": 600.0,
                }
            ]
        }
    )

    status: Literal["healthy"] = "healthy"
    version: str
    auth: Literal["on", "off"]
    registration: Literal["open", "closed"]
    max_upload_mb: float = Field(description="The most that a voice note may weigh, in millions of bytes.")
    max_audio_s: float = Field(description="The longest that a voice note may be, in seconds.")


class Readiness(BaseModel):
    """`ready`; `degraded` with reasons while submits are still accepted; `unready` when they can't be.

    `oldest_queued_s` is the age of the oldest queued job; `loop_lag_ms` the longest that this process's event loop
    was held up in the last ten seconds. `warnings` names models in use that their provider is about to end.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "degraded",
                    "reasons": ["no live worker"],
                    "workers": 0,
                    "oldest_queued_s": 42.0,
                    "loop_lag_ms": 1.5,
                    "checks": {"sql": True, "blobs": True, "redis": True},
                    "warnings": ["openai/gpt-4o-mini-tts ends on 2027-01-06: choose another model"],
                }
            ]
        }
    )

    status: Literal["ready", "degraded", "unready"]
    reasons: list[str]
    workers: int | None
    oldest_queued_s: float | None
    loop_lag_ms: float
    checks: dict[str, bool]
    warnings: list[str]
