"""What a model provider is to Parley: three small protocols and the shapes that cross them."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True)
class ChatMessage:
    """One turn of the context, as the model sees it."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass
class ChatUsage:
    """Filled while a reply streams; tokens stay None when the server does not count them."""

    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True)
class Audio:
    """A voice note ready to be sent: encoded bytes, with the file extension that names their format."""

    data: bytes
    extension: str
    duration_s: float


@dataclass(frozen=True)
class Transcript:
    """What was heard. An empty text means no speech; `language` is ISO 639-1 where the provider told it.

    `note` is set when the provider could not do its job and says so (the offline engine on Arabic, say).
    """

    text: str
    language: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Speech:
    """A spoken sentence: mono signed 16-bit PCM, or mp3 frames, as `format` says."""

    data: bytes
    format: Literal["mp3", "pcm"]
    sample_rate: int = 24_000


@dataclass(frozen=True)
class Limits:
    """What one transcription call takes: file extensions as they come, seconds and bytes."""

    extensions: frozenset[str] = field(
        default_factory=lambda: frozenset({"flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm"})
    )
    max_s: float = 1_400.0
    max_bytes: int = 25_000_000


class ChatProvider(Protocol):
    """Writes replies."""

    def stream_chat(
        self, messages: Sequence[ChatMessage], *, model: str, usage: ChatUsage, max_tokens: int | None = None
    ) -> AsyncGenerator[str]:
        """Yield the reply, of `max_tokens` at most, piece by piece, and fill `usage`; close it to hang up early.

        Raises `Upstream`.
        """
        ...


class SpeechToText(Protocol):
    """Hears voice notes."""

    limits: Limits

    async def transcribe(self, audio: Audio, *, model: str, language: str | None) -> Transcript:
        """Return what was said; `language` (ISO 639-1) is a hint. Raises `Upstream`."""
        ...


class TextToSpeech(Protocol):
    """Speaks sentences."""

    async def speak(self, text: str, *, model: str, language: str, voice: str | None) -> Speech:
        """Return the sound of `text` (at most 4,096 characters); raises `Upstream`."""
        ...


class Provider(ChatProvider, SpeechToText, TextToSpeech, Protocol):
    """One server, or engine, that serves all three roles."""

    name: str

    async def close(self) -> None:
        """Let go of connections."""
        ...
