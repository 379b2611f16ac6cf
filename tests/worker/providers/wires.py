"""Every wire on which Parley asks a model, as an operator configures it, against scripted servers on real sockets."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.config import Settings
from shared.provider_presets import ModelRef, Role
from tests.fakes.assemblyai import FakeAssemblyAI
from tests.fakes.openai_script import Answer, Endpoint, Script
from tests.fakes.openai_server import FakeOpenAI, FakeServer
from tests.fakes.watsonx import FakeWatsonx
from tests.worker.providers.faults import CUTS, STATUSES
from worker.providers.registry import Model, Models

PROJECT = "project-1"
ENDLESS = "an endless drip"
PATIENT = {"CONNECT_TIMEOUT_S": "5", "FIRST_BYTE_TIMEOUT_S": "5", "IDLE_TIMEOUT_S": "5", "TOTAL_TIMEOUT_S": "20"}
HASTY = {
    "CONNECT_TIMEOUT_S": "0.6", "FIRST_BYTE_TIMEOUT_S": "0.6", "IDLE_TIMEOUT_S": "0.6", "TOTAL_TIMEOUT_S": "1.2"
}  # fmt: skip
_CREATED = {"type": "response.created", "response": {"id": "RESPONSE"}}
_DONE = {"type": "response.done", "response": {"id": "RESPONSE", "status": "completed"}}


@dataclass(frozen=True)
class Wire:
    """A model in one role, how its server knows a good request, and where that server is made to fail."""

    role: Role
    model: str
    endpoint: Endpoint  # that is made to fail
    billed: Endpoint  # a call of which costs
    path: str = ""
    key_header: str = "authorization"
    form: Mapping[str, object] = field(default_factory=dict)  # what else of a request depends on its server
    tells: Answer | None = None  # how an Arabic note's language is told
    answers: Mapping[str, Answer] = field(default_factory=dict)  # faults that look otherwise here
    lacks: Mapping[str, str] = field(default_factory=dict)  # faults that it can't have, and why
    is_fresh: bool = False  # what a call leaves behind, a token or a connection, would change the next one

    def __str__(self) -> str:
        at = "" if self.endpoint == self.billed else f" at {self.endpoint}"
        return f"{self.role} {self.model}{at}"

    @property
    def provider(self) -> str:
        return ModelRef.parse(self.model).provider

    @property
    def wire(self) -> str:
        """Which server speaks it."""
        return self.provider if self.provider in {"assemblyai", "watsonx"} else "openai"

    @property
    def is_offline(self) -> bool:
        return self.provider == "offline"

    def of(self, models: Models) -> Model[Any]:
        """The model as the worker gets it."""
        line: Sequence[Model[Any]] = getattr(models, self.role)(self.model)
        return line[0]


@dataclass(frozen=True)
class Servers:
    """The three scripted servers."""

    openai: FakeOpenAI
    assemblyai: FakeAssemblyAI
    watsonx: FakeWatsonx

    def reset(self) -> None:
        for server in (self.openai, self.assemblyai, self.watsonx):
            server.script.reset()

    def script(self, wire: Wire) -> Script:
        server: FakeServer = getattr(self, wire.wire)
        return server.script

    def environment(self, url: str | None = None) -> dict[str, str]:
        """The variables by which Parley finds them, or all of them, but for IAM, at another URL."""
        openai = url or self.openai.url.removesuffix("/v1")
        bases = {
            "AZURE": f"{openai}/openai/v1/",
            "GROQ": f"{openai}/openai/v1",
            "OPENROUTER": f"{openai}/api/v1",
            "OLLAMA": f"{openai}/v1",
            "MINE": f"{openai}/v1/",
            "ASSEMBLYAI": url or self.assemblyai.url,
        }
        return {
            # Only OpenAI's own host is asked as OpenAI is: a proxy leads there, and the servers are one.
            "OPENAI_BASE_URL": "http://api.openai.com/v1",
            "http_proxy": openai,
            "no_proxy": "127.0.0.1",
            "OPENAI_API_KEY": key_of("openai"),
            **{f"PROVIDERS__{name}__BASE_URL": base for name, base in bases.items()},
            **{f"PROVIDERS__{name}__API_KEY": key_of(name.lower()) for name in bases if name != "OLLAMA"},
            "WX_URL": url or self.watsonx.url,
            "WX_IAM_URL": self.watsonx.iam_url,
            "WX_API_KEY": key_of("watsonx"),
            "WX_PROJECT_ID": PROJECT,
        }


@contextmanager
def serving() -> Iterator[Servers]:
    with FakeOpenAI() as openai, FakeAssemblyAI() as assemblyai, FakeWatsonx() as watsonx:
        yield Servers(openai, assemblyai, watsonx)


@asynccontextmanager
async def configured(*environments: Mapping[str, str]) -> AsyncIterator[Models]:
    """What a worker makes of an environment, which stands until the end."""
    with pytest.MonkeyPatch.context() as patch:
        for environment in environments:
            for name, value in environment.items():
                patch.setenv(name, value)
        models = Models(Settings(_env_file=None))
        try:
            yield models
        finally:
            await models.close()


def key_of(provider: str) -> str:
    return f"{provider}-verysecret0123456789-ghij"


def secret_of(wire: Wire) -> str:
    """The header's value that lets a call in."""
    if wire.provider == "ollama":
        return "Bearer no-key"
    return f"{'Bearer ' if wire.path != '/v2/transcript' and wire.key_header == 'authorization' else ''}{key_of(wire.provider)}"


def _chat(model: str, path: str, limit: str, key_header: str = "authorization") -> Wire:
    form = {"stream": True, "stream_options": {"include_usage": True}, limit: 50}
    return Wire("chat", model, "chat", "chat", path, key_header, form)


def _stt(
    model: str, path: str, form: Mapping[str, object], tells: Answer | None, header: str = "authorization"
) -> Wire:
    refused = {"400": "it asks for another format: test_openai.py"}
    return Wire("stt", model, "transcriptions", "transcriptions", path, header, form, tells, lacks=refused)


def _assemblyai(endpoint: Endpoint) -> Wire:
    form = {"wishes": {"language_code": "ar"}}
    tells = Answer(language="ar")
    return Wire("stt", "assemblyai/universal-2", endpoint, "transcripts", "/v2/transcript", form=form, tells=tells)


def _tts(model: str, path: str, form: Mapping[str, object], key_header: str = "authorization") -> Wire:
    return Wire("tts", model, "speech", "speech", path, key_header, form)


def _realtime(provider: str, endpoint: Endpoint, path: str, key_header: str = "authorization") -> Wire:
    """A refusal is a refused handshake's: later there are only events."""
    lacks = dict.fromkeys(STATUSES, "its handshake has the status: the wire at realtime_connect")
    lacks |= dict.fromkeys(["a reset", "a cut before its first byte"], "it is asked anew, once: test_realtime.py")
    if endpoint == "realtime_connect":
        lacks = dict.fromkeys(CUTS, "it is asked anew, once: test_realtime.py")
        lacks |= {"nothing": "a handshake has no body", ENDLESS: "a handshake has no body"}
    answers = {"nothing": Answer(raw=[json.dumps(_CREATED), json.dumps(_DONE)])}
    if endpoint == "realtime":
        answers["nothing after the beginning"] = Answer(stall_after=2)  # the first event is no sound yet
    model = f"{provider}/gpt-realtime-2.1-mini"
    return Wire(
        "tts", model, endpoint, "realtime", path, key_header, {"voice": "alloy"}, answers=answers,
        lacks=lacks, is_fresh=endpoint == "realtime_connect",
    )  # fmt: skip


_LISTED = Answer(languages=["ar"])
_NAMED = Answer(language="arabic")
_HINTED = {"language": None, "languages": ["ar"], "response_format": "json"}
_TOLD = {"language": "ar", "languages": [], "response_format": "verbose_json"}
WIRES = [
    _chat("openai/gpt-6-luna", "/v1/chat/completions", "max_completion_tokens"),
    _chat("azure/my-deployment", "/openai/v1/chat/completions", "max_completion_tokens", "api-key"),
    _chat("groq/openai/gpt-oss-120b", "/openai/v1/chat/completions", "max_completion_tokens"),
    _chat("ollama/llama3.2", "/v1/chat/completions", "max_tokens"),
    _chat("openrouter/meta-llama/llama-4:free", "/api/v1/chat/completions", "max_tokens"),
    _chat("mine/tiny", "/v1/chat/completions", "max_tokens"),
    Wire(
        "chat", "watsonx/ibm/granite-4-h-small", "chat", "chat", "/ml/v1/text/chat_stream", is_fresh=True,
        form={"project_id": PROJECT, "version": "2025-02-11"},
    ),
    _stt("openai/gpt-transcribe", "/v1/audio/transcriptions", _HINTED, _LISTED),
    _stt("openai/whisper-1", "/v1/audio/transcriptions", _TOLD, _NAMED),
    _stt("groq/whisper-large-v3-turbo", "/openai/v1/audio/transcriptions", _TOLD, Answer(language="Arabic")),
    _stt("azure/gpt-4o-transcribe", "/openai/v1/audio/transcriptions", {**_TOLD, "response_format": "json"}, None, "api-key"),
    _stt("mine/whisper", "/v1/audio/transcriptions", _TOLD, Answer(language="ar")),
    _assemblyai("upload"),
    _assemblyai("transcripts"),
    _tts("openai/gpt-4o-mini-tts", "/v1/audio/speech", {"response_format": "mp3", "voice": "alloy"}),
    _tts("azure/tts", "/openai/v1/audio/speech", {"response_format": "mp3", "voice": "alloy"}, "api-key"),
    _tts("groq/canopylabs/orpheus-v1-english", "/openai/v1/audio/speech", {"response_format": "wav", "voice": "troy"}),
    _tts("mine/kokoro", "/v1/audio/speech", {"response_format": "mp3", "voice": "alloy"}),
    _realtime("openai", "realtime_connect", "/v1/realtime"),
    _realtime("openai", "realtime", "/v1/realtime"),
    _realtime("azure", "realtime_connect", "/openai/v1/realtime", "api-key"),
    _realtime("azure", "realtime", "/openai/v1/realtime", "api-key"),
]  # fmt: skip
OFFLINE = [Wire(role, "offline/offline", "models", "models") for role in ("chat", "stt", "tts")]
"""It has no network: nothing of what servers do wrong can happen to it."""
