"""OpenAI, and every server that speaks its HTTP API: chat, transcription and speech through the `openai` SDK."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

import openai
from openai import Omit, omit

from shared.provider_presets import Hearing, Preset, TranscriptFormat, checked_key
from worker.providers.base import Audio, ChatMessage, ChatUsage, InputLimits, Speech, Transcript
from worker.providers.chat import streamed
from worker.providers.chat_stream import ChatStream
from worker.providers.client import NO_KEY, Timeouts, collect, open_client
from worker.providers.failures import GARBLED, TRANSCRIPT_TOO_LONG, failure, told_as_upstream
from worker.providers.languages import iso_language
from worker.providers.openings import Thinkers
from worker.providers.parameters import REFUSED, Parameters, refused_parameter
from worker.providers.received import sound_limit, transcript_limit
from worker.providers.sound import speech_of


class OpenAIProvider:
    """One server and its key. It retries nothing, the job does, and raises nothing but `Upstream`."""

    def __init__(
        self, name: str, base_url: str, api_key: str | None, timeouts: Timeouts, preset: Preset | None = None
    ) -> None:
        """Open no connection yet; raises ValueError for a URL or a key that can't be one."""
        self.name = name
        self.limits = InputLimits()
        self._timeouts = timeouts
        self._preset = preset = preset or Preset()
        self._client = open_client(name, base_url, api_key, timeouts)
        self._headers: dict[str, str | Omit] = {}
        if preset.key_header != "Authorization":
            self._headers = {preset.key_header: checked_key(name, api_key) or NO_KEY, "Authorization": omit}
        self._format_of: dict[str, TranscriptFormat | None] = {}  # by model, once one was answered
        self._parameters = Parameters(name)
        self._thinkers = Thinkers()
        # Touched here: the SDK imports each part at its first use, and that must not be while a user waits.
        self._transcriptions = self._client.audio.transcriptions
        self._speech = self._client.audio.speech

    def stream_chat(
        self, messages: Sequence[ChatMessage], *, model: str, usage: ChatUsage, max_tokens: int | None = None
    ) -> AsyncGenerator[str]:
        """Yield the reply piece by piece and fill `usage`; a reply without an end or without words is a failure."""
        wanted: dict[str, object] = {"stream": True, "stream_options": {"include_usage": True}}
        if max_tokens:
            wanted[self._preset.max_tokens] = max_tokens
        return streamed(
            lambda: self._parameters.ask(model, wanted, partial(self._open_chat, messages, model)),
            provider=self.name,
            model=model,
            usage=usage,
            timeouts=self._timeouts,
            thinkers=self._thinkers,
        )

    async def _open_chat(self, messages: Sequence[ChatMessage], model: str, parameters: dict[str, Any]) -> ChatStream:
        """Ask through the SDK's own `post`: its typed method takes 10 ms of CPU to look at a conversation of 20."""
        body: dict[str, object] = {
            "model": model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            **parameters,
        }
        return await self._client.post(
            "/chat/completions",
            cast_to=object,
            body=body,
            options={"headers": self._headers},
            stream=True,
            stream_cls=ChatStream,
        )

    async def transcribe(self, audio: Audio, *, model: str, languages: Sequence[str]) -> Transcript:
        """Return what the server heard and, where it tells it, in which languages."""
        hearing = next(one for one in self._preset.hearing if model.startswith(one.prefix))
        known = self._format_of.get(model, hearing.formats[0])
        formats = sorted((*hearing.formats, None), key=lambda one: (one != known, one is None))
        with told_as_upstream(self.name, model):
            async with asyncio.timeout(self._timeouts.total_s):
                for format_ in formats:
                    try:
                        hear = partial(self._hear, audio, model, format_)
                        body = await self._parameters.ask(model, _hints(hearing, languages), hear)
                    except openai.APIStatusError as error:
                        if format_ == formats[-1] or not _may_ask_for(formats[formats.index(format_) + 1], error):
                            raise
                    else:
                        self._format_of[model] = format_
                        break
            return _transcript(body)

    async def _hear(self, audio: Audio, model: str, format_: TranscriptFormat | None, hints: dict[str, Any]) -> bytes:
        async with (
            asyncio.timeout(self._timeouts.until_first_byte(len(audio.data))) as patience,
            self._transcriptions.with_streaming_response.create(
                file=(f"audio.{audio.extension}", audio.data),
                model=model,
                response_format=format_ or omit,
                language=hints.get("language", omit),
                languages=hints.get("languages", omit),
                extra_headers=self._headers,
            ) as response,
        ):
            return await collect(
                response.iter_bytes(),
                patience,
                self._timeouts.idle_s,
                most=transcript_limit(audio.duration_s),
                beyond=TRANSCRIPT_TOO_LONG,
            )

    async def speak(self, text: str, *, model: str, language: str, voice: str | None) -> Speech:  # noqa: ARG002 - the text tells the server its language
        """Return `text` spoken, in whatever format the server sends it."""
        wanted = {
            "response_format": self._preset.speech_format,
            **({} if voice else {"voice": self._preset.voice}),
        }
        with told_as_upstream(self.name, model):
            async with asyncio.timeout(self._timeouts.total_s):
                speech = await self._parameters.ask(model, wanted, partial(self._say, text, model, voice))
        if speech is None:
            raise failure(GARBLED, provider=self.name, model=model)
        return speech

    async def _say(self, text: str, model: str, voice: str | None, parameters: dict[str, Any]) -> Speech | None:
        async with (
            asyncio.timeout(self._timeouts.until_first_byte()) as patience,
            self._speech.with_streaming_response.create(
                input=text,
                model=model,
                voice=voice or parameters.get("voice", omit),
                response_format=parameters.get("response_format", omit),
                extra_headers=self._headers,
            ) as response,
        ):
            sound = await collect(response.iter_bytes(), patience, self._timeouts.idle_s, most=sound_limit(text))
            return speech_of(sound, response.headers.get("content-type", ""))

    async def close(self) -> None:
        """Close the connections that were kept open."""
        await self._client.close()


def _may_ask_for(format_: TranscriptFormat | None, refusal: openai.APIStatusError) -> bool:
    """Whether another format may be known, or none at all where the server says that it is about the format."""
    if format_ is None:
        return refused_parameter(refusal, {"response_format": format_}) is not None
    return refusal.status_code in REFUSED


def _hints(hearing: Hearing, languages: Sequence[str]) -> dict[str, Any]:
    """A server that takes one language takes it for a fact: of several it gets none."""
    if hearing.takes_list:
        return {"languages": list(languages)} if languages else {}
    return {"language": languages[0]} if len(languages) == 1 else {}


def _transcript(body: bytes) -> Transcript:
    answer = json.loads(body)
    if not isinstance(answer, dict) or not isinstance(answer.get("text"), str):
        msg = "no transcript in the answer"
        raise ValueError(msg)  # noqa: TRY004 - what a server sent is a value
    heard = answer.get("languages")
    named = [entry.get("code") for entry in heard if isinstance(entry, dict)] if isinstance(heard, list) else []
    codes = [code for told in (answer.get("language"), *named) if (code := iso_language(told))]
    return Transcript(answer["text"].strip(), tuple(dict.fromkeys(codes)))
