"""OpenAI, and every server that speaks its HTTP API: chat, transcription and speech through the `openai` SDK."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2
import openai
from openai import AsyncStream, omit

from worker.providers.base import Audio, ChatMessage, ChatUsage, Limits, Speech, Transcript
from worker.providers.failures import BROKEN_OFF, EMPTY_REPLY, FAULTS, GARBLED, failure, told_as_upstream
from worker.providers.languages import iso_language
from worker.providers.reply import Reply

OPENAI_URL = "https://api.openai.com/v1"
DEFAULT_VOICE = "alloy"
NO_KEY = "no-key"
USAGE_WAIT_S = 2.0
MAX_BODY_BYTES = 64_000_000
MP3_START = re.compile(rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")  # a tag, or the header of a layer III frame
# Longer than the SDK's 5 s: people pause between messages, and each new TLS handshake makes them wait.
CONNECTIONS = httpx2.Limits(max_connections=1_000, max_keepalive_connections=100, keepalive_expiry=30.0)


@dataclass(frozen=True)
class Timeouts:
    """Seconds: to connect, then to the first byte, between two chunks, and for one whole call."""

    connect_s: float = 5.0
    first_byte_s: float = 60.0
    idle_s: float = 30.0
    total_s: float = 300.0


class OpenAIProvider:
    """One server and its key. It retries nothing, the job does, and raises nothing but `Upstream`."""

    def __init__(self, name: str, base_url: str | None, api_key: str | None, timeouts: Timeouts) -> None:
        """Open no connection yet; raises ValueError for a URL or a key that can't be one."""
        self.name = name
        self.limits = Limits()
        self._timeouts = timeouts
        self._max_tokens = max_tokens_field(base_url or OPENAI_URL)
        self._client = openai.AsyncOpenAI(
            api_key=_checked_key(name, api_key) or NO_KEY,
            base_url=_checked_url(name, base_url or OPENAI_URL),
            max_retries=0,
            timeout=httpx2.Timeout(
                max(timeouts.first_byte_s, timeouts.idle_s), connect=timeouts.connect_s, pool=timeouts.connect_s
            ),
            http_client=openai.DefaultAioHttpClient(limits=CONNECTIONS),
        )
        if base_url:
            # The SDK takes these from the environment, and they are OpenAI's business only.
            self._client.organization = self._client.project = None
        # Touched here: the SDK imports each part at its first use, and that must not be while a user waits.
        self._transcriptions = self._client.audio.transcriptions
        self._speech = self._client.audio.speech

    async def stream_chat(
        self, messages: Sequence[ChatMessage], *, model: str, usage: ChatUsage, max_tokens: int | None = None
    ) -> AsyncGenerator[str]:
        """Yield the reply piece by piece and fill `usage`; a reply without an end or without words is a failure."""
        reply = Reply(usage)
        limits = self._timeouts
        clock = asyncio.get_running_loop().time
        end = clock() + limits.total_s
        due = min(clock() + limits.connect_s + limits.first_byte_s, end)
        with told_as_upstream(self.name, model):
            async with asyncio.timeout_at(due):
                stream = await self._open_chat(messages, model, max_tokens)
            async with stream:
                while (chunk := await _next_chunk(stream, reply, due)) is not None:
                    if piece := reply.read(chunk):
                        yield piece
                    if reply.finished:
                        end = min(end, clock() + USAGE_WAIT_S)
                    due = min(clock() + limits.idle_s, end)
        if not reply.finished:
            raise failure(BROKEN_OFF, provider=self.name, model=model)
        if not reply.has_words:
            raise failure(EMPTY_REPLY, provider=self.name, model=model)

    async def _open_chat(
        self, messages: Sequence[ChatMessage], model: str, max_tokens: int | None
    ) -> AsyncStream[object]:
        """Ask through the SDK's own `post`: its typed method takes 10 ms of CPU to look at a conversation of 20."""
        body: dict[str, object] = {
            "model": model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if max_tokens:
            body[self._max_tokens] = max_tokens
        return await self._client.post(
            "/chat/completions", cast_to=object, body=body, stream=True, stream_cls=AsyncStream[object]
        )

    async def transcribe(self, audio: Audio, *, model: str, language: str | None) -> Transcript:
        """Return what the server heard and, where it tells it, in which language."""
        # gpt-transcribe takes a list of languages and refuses the older single one.
        takes_list = model.startswith("gpt-transcribe")
        with told_as_upstream(self.name, model):
            async with (
                asyncio.timeout(self._timeouts.total_s),
                self._transcriptions.with_streaming_response.create(
                    file=(f"audio.{audio.extension}", audio.data),
                    model=model,
                    response_format="json",
                    language=language if language and not takes_list else omit,
                    languages=[language] if language and takes_list else omit,
                ) as response,
            ):
                body = await self._collect(response.iter_bytes())
            return _transcript(body)

    async def speak(self, text: str, *, model: str, language: str, voice: str | None) -> Speech:  # noqa: ARG002 - the text tells the server its language
        """Return `text` spoken, as mp3."""
        with told_as_upstream(self.name, model):
            async with (
                asyncio.timeout(self._timeouts.total_s),
                self._speech.with_streaming_response.create(
                    input=text, model=model, voice=voice or DEFAULT_VOICE, response_format="mp3"
                ) as response,
            ):
                sound = await self._collect(response.iter_bytes())
        if not MP3_START.match(sound):
            raise failure(GARBLED, provider=self.name, model=model)
        return Speech(sound, "mp3")

    async def _collect(self, chunks: AsyncIterator[bytes]) -> bytes:
        body = bytearray()
        while True:
            async with asyncio.timeout(self._timeouts.idle_s):
                chunk = await anext(chunks, None)
            if chunk is None:
                return bytes(body)
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                msg = "the body has no end"
                raise ValueError(msg)

    async def close(self) -> None:
        """Close the connections that were kept open."""
        await self._client.close()


def max_tokens_field(base_url: str) -> str:
    """What a server calls the limit of a reply: OpenAI refuses the older name, and most others know no other."""
    host = urlsplit(base_url).hostname or ""
    return "max_completion_tokens" if host == "openai.com" or host.endswith(".openai.com") else "max_tokens"


async def _next_chunk(stream: AsyncStream[object], reply: Reply, due: float) -> object:
    """None when the stream is over. Once the reply is complete, what fails after it does not matter."""
    try:
        async with asyncio.timeout_at(due):
            return await anext(stream, None)
    except FAULTS:
        if reply.finished:
            return None
        raise


def _transcript(body: bytes) -> Transcript:
    answer = json.loads(body)
    if not isinstance(answer, dict) or not isinstance(answer.get("text"), str):
        msg = "no transcript in the answer"
        raise ValueError(msg)  # noqa: TRY004 - what a server sent is a value
    heard = answer.get("languages")
    named = [entry.get("code") for entry in heard if isinstance(entry, dict)] if isinstance(heard, list) else []
    codes = [code for told in (answer.get("language"), *named) if (code := iso_language(told))]
    return Transcript(answer["text"].strip(), language=codes[0] if codes else None)


def _checked_url(name: str, url: str) -> str:
    if not url.strip().startswith(("http://", "https://")):
        msg = f"the base URL of {name!r} must start with http:// or https://"
        raise ValueError(msg)
    if "@" in urlsplit(url.strip()).netloc:
        msg = f"the base URL of {name!r} must not hold a user name or password: the API key has a variable of its own"
        raise ValueError(msg)
    return url.strip()


def _checked_key(name: str, key: str | None) -> str:
    key = (key or "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        msg = f"the API key of {name!r} holds characters that no key has"
        raise ValueError(msg)
    return key
