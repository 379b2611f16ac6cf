"""The model servers that Parley knows by name, and the quirks of each: as data, so that no code asks for a name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self, get_args
from urllib.parse import urlsplit

Role = Literal["chat", "stt", "tts"]
TranscriptFormat = Literal["json", "verbose_json"]
ROLES: frozenset[Role] = frozenset(get_args(Role))
DOES: Mapping[Role, str] = {"chat": "write replies", "stt": "hear voice notes", "tts": "speak"}


class ModelRef(NamedTuple):
    """A model and who serves it, written `provider/model`; the model's own name may hold slashes, but no comma."""

    provider: str
    model: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Split at the first slash; raises ValueError when a side is missing, or something in it can't be seen."""
        provider, _, model = text.strip().partition("/")
        if not provider or not model or not text.isprintable():
            msg = f"{text!r} is not of the form provider/model"
            raise ValueError(msg)
        return cls(provider.lower(), model)

    @classmethod
    def parse_list(cls, text: str) -> tuple[Self, ...]:
        """Read models that are separated by commas, the first choice first; raises ValueError."""
        return tuple(dict.fromkeys(cls.parse(one) for one in text.split(",")))

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


OFFLINE = ModelRef("offline", "offline")


@dataclass(frozen=True)
class Hearing:
    """How the transcription models whose names begin with `prefix` are asked.

    `formats` are tried in turn where a server refuses one. `takes_list`: hints go into `languages`, as many as there
    are; else one into `language`.
    """

    prefix: str
    formats: tuple[TranscriptFormat, ...]
    takes_list: bool = False


@dataclass(frozen=True)
class Preset:
    """A kind of model server. The defaults are any server that speaks OpenAI's HTTP API."""

    wire: Literal["openai", "assemblyai", "watsonx", "offline"] = "openai"
    roles: frozenset[Role] = ROLES
    base_url: str | None = None
    needs_key: bool = False
    key_header: str = "Authorization"  # any other one has the bare key
    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    # The first whose prefix fits; `verbose_json` tells the language, and newer models of OpenAI's refuse it.
    hearing: tuple[Hearing, ...] = (
        Hearing("gpt-transcribe", ("json", "verbose_json"), takes_list=True),
        Hearing("gpt-", ("json", "verbose_json")),
        Hearing("", ("verbose_json", "json")),
    )
    speech_format: Literal["mp3", "wav"] = "mp3"
    voice: str = "alloy"
    realtime: str = "gpt-realtime"  # models whose names begin so speak over the Realtime API


PRESETS: Mapping[str, Preset] = {
    "openai": Preset(base_url="https://api.openai.com/v1", needs_key=True, max_tokens="max_completion_tokens"),
    "azure": Preset(needs_key=True, key_header="api-key", max_tokens="max_completion_tokens"),
    "groq": Preset(
        base_url="https://api.groq.com/openai/v1",
        needs_key=True,
        max_tokens="max_completion_tokens",
        speech_format="wav",
        voice="troy",
    ),
    "openrouter": Preset(base_url="https://openrouter.ai/api/v1", needs_key=True),
    "ollama": Preset(base_url="http://localhost:11434/v1"),
    "assemblyai": Preset(
        wire="assemblyai",
        roles=frozenset({"stt"}),
        base_url="https://api.assemblyai.com/v2",
        needs_key=True,
    ),
    "watsonx": Preset(wire="watsonx", roles=frozenset({"chat"}), needs_key=True),
    OFFLINE.provider: Preset(wire="offline"),
}
"""By the name that stands before the slash of `provider/model`."""


def preset_of(name: str, base_url: str | None = None) -> Preset:
    """What is known of a server: OpenAI's own is OpenAI under any name, another one that is called so is not."""
    if base_url is not None and is_openai(base_url):
        return PRESETS["openai"]
    if name == "openai" and base_url is not None:
        return Preset()
    return PRESETS.get(name, Preset())


def is_openai(base_url: str) -> bool:
    """Whether a server is OpenAI's own."""
    host = urlsplit(base_url.strip()).hostname or ""
    return host == "openai.com" or host.endswith(".openai.com")


def checked_url(name: str, url: str) -> str:
    """A base URL without white space around it; raises ValueError, without the URL, for what can't be one."""
    url = url.strip()
    wrong = ""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        wrong = "has a host or port that can't be one"
    else:
        if not url.lower().startswith(("http://", "https://")):
            wrong = "must start with http:// or https://"
        elif "@" in parts.netloc:
            wrong = "must not hold a user name or password: the API key has a variable of its own"
        elif not host:
            wrong = "names no host"
        elif "?" in url or "#" in url or not url.isprintable() or " " in url:
            wrong = "must not hold a ?, a # or a space"
    if wrong:
        msg = f"the base URL of {name!r} {wrong}"
        raise ValueError(msg)
    return url


def checked_key(name: str, key: str | None) -> str:
    """A key without white space around it; raises ValueError, without the key, for what can't be one."""
    key = (key or "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        msg = f"the API key of {name!r} holds characters that no key has"
        raise ValueError(msg)
    return key
