"""Bodies of messages."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from shared.models import Blob, BlobStatus, MessageKind, MessageRole
from shared.models.row import Spoken
from shared.services.message import MessageView

MAX_TEXT = 32_000
PREFIX = "/api/v1"
FINISH_REASON = (
    "Why the model ended its reply: `stop`; `length`, at its limit; `content_filter`, withheld from there on; null when"
    " it did not say, and for a user's message."
)


class TextSubmit(BaseModel):
    """A text message."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "session_id": "01936b2e-0000-7000-8000-000000000000",
                    "text": "When is breakfast?",
                    "reply_audio": True,
                }
            ]
        },
    )

    session_id: UUID
    text: Annotated[Spoken, Field(min_length=1, max_length=MAX_TEXT)]
    reply_audio: StrictBool = Field(default=False, description="Speak the reply too.")


class AudioRead(BaseModel):
    """Sound that can be fetched: `duration_s` in seconds, `size` in bytes."""

    url: str
    mime: str
    duration_s: float
    size: int

    @classmethod
    def of(cls, blob: Blob | None, url: str) -> "AudioRead | None":
        """The sound of a blob whose bytes are whole."""
        if blob is None or blob.status != BlobStatus.READY or blob.mime is None:
            return None
        return cls(url=url, mime=blob.mime, duration_s=round(blob.duration_s or 0.0, 3), size=blob.size or 0)


class MessageRead(BaseModel):
    """A message. `text` is null until a voice note is transcribed, empty when it held no speech."""

    id: UUID
    session_id: UUID
    seq: int
    role: MessageRole
    kind: MessageKind
    text: str | None
    language: str | None
    finish_reason: str | None = Field(description=FINISH_REASON)
    audio: AudioRead | None
    job_id: UUID
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, view: MessageView) -> "MessageRead":
        """The message as clients see it."""
        message = view.message
        audio = AudioRead.of(view.blob, f"{PREFIX}/message/{message.id}/audio")
        return cls(**message.model_dump(include=set(cls.model_fields) - {"audio"}), audio=audio)
