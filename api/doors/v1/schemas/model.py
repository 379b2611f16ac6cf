"""Bodies of models."""

from datetime import date

from pydantic import BaseModel, ConfigDict

from shared.money import Amount
from shared.provider_presets import Role


class ModelPrices(BaseModel):
    """In dollars; null for what does not apply, or is not known."""

    model_config = ConfigDict(from_attributes=True)

    per_million_input_tokens: Amount | None
    per_million_output_tokens: Amount | None
    per_audio_minute: Amount | None
    per_million_characters: Amount | None


class ModelRead(BaseModel):
    """A model that you may name in an agent.

    `is_default` says that agents which name none have it first; `voices` are those that it is known to speak with.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "openai/gpt-6-luna",
                    "provider": "openai",
                    "kind": "chat",
                    "context_window": 1_050_000,
                    "prices": {
                        "per_million_input_tokens": "0.1",
                        "per_million_output_tokens": "0.5",
                        "per_audio_minute": None,
                        "per_million_characters": None,
                    },
                    "retires_on": None,
                    "voices": [],
                    "is_default": True,
                }
            ]
        }
    )

    id: str
    provider: str
    kind: Role
    context_window: int | None
    prices: ModelPrices
    retires_on: date | None
    voices: tuple[str, ...]
    is_default: bool
