"""What a model provider is to Parley: three small protocols and the shapes that cross them."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable


@dataclass(frozen=True)
class ChatMessage:
    """One turn of the context, as the model sees it."""

    role: Literal["system", "user", "assistant"]
    content: str


FinishReason = Literal["stop", "length", "content_filter"]


def _nothing() -> None:
    """Whoever only wants the whole reply has nothing to take back."""


@dataclass
class ChatUsage:
    """Filled while a reply streams; tokens stay None when the server does not count them.

    `finish_reason` is None when the server does not tell it. `reasoning` is what the model thought; it is no part of
    the reply. `on_restart` is called when all pieces so far turn out to be no answer: the reply begins anew.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    finish_reason: FinishReason | None = None
    reasoning: str = ""
    on_restart: Callable[[], None] = _nothing


@dataclass(frozen=True)
class Audio:
    """A voice note ready to be sent: encoded bytes, with the file extension that names their format."""

    data: bytes
    extension: str
    duration_s: float


@dataclass(frozen=True)
class Transcript:
    """What was heard. An empty text means no speech; `languages` (ISO 639-1) are those that the provider told.

    `note` is set when the provider could not do its job and says so (the offline engine on Arabic, say).
    """

    text: str
    languages: tuple[str, ...] = ()
    note: str | None = None


@dataclass(frozen=True)
class Speech:
    """A spoken sentence: mono signed 16-bit samples if its `format` is pcm, else a file. `sample_rate` is pcm's."""

    data: bytes
    format: str
    sample_rate: int = 24_000


@dataclass(frozen=True)
class InputLimits:
    """What one transcription call takes: file extensions as they come, seconds and bytes."""

    extensions: frozenset[str] = field(
        default_factory=lambda: frozenset({"flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm"})
    )
    max_s: float = 1_400.0
    max_bytes: int = 25_000_000


class Provider(Protocol):
    """One server, or engine, in the roles that it plays."""

    name: str

    async def close(self) -> None:
        """Let go of connections."""
        ...


@runtime_checkable
class ChatProvider(Provider, Protocol):
    """Writes replies."""

    def stream_chat(
        self, messages: Sequence[ChatMessage], *, model: str, usage: ChatUsage, max_tokens: int | None = None
    ) -> AsyncGenerator[str]:
        """Yield the reply, of `max_tokens` at most, piece by piece, and fill `usage`; close it to hang up early.

        Raises `Upstream`.
        """
        ...


@runtime_checkable
class SpeechToText(Provider, Protocol):
    """Hears voice notes."""

    limits: InputLimits

    async def transcribe(self, audio: Audio, *, model: str, languages: Sequence[str]) -> Transcript:
        """Return what was said; `languages` (ISO 639-1) are hints, the likeliest first. Raises `Upstream`."""
        ...


@runtime_checkable
class TextToSpeech(Provider, Protocol):
    """Speaks sentences."""

    async def speak(self, text: str, *, model: str, language: str, voice: str | None) -> Speech:
        """Return the sound of `text` (at most 4,096 characters); None is the default voice. Raises `Upstream`."""
        ...
