"""OpenAI, and every server that speaks its HTTP API: chat, transcription and speech through the `openai` SDK."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import openai
from openai import AsyncStream, Omit, omit

from shared.providers import Hearing, Preset, TranscriptFormat, checked_key
from worker.providers.base import Audio, ChatMessage, ChatUsage, Limits, Speech, Transcript
from worker.providers.chat import streamed
from worker.providers.client import NO_KEY, Timeouts, collect, open_client
from worker.providers.failures import GARBLED, TRANSCRIPT_TOO_LONG, failure, told_as_upstream
from worker.providers.languages import iso_language
from worker.providers.received import sound_limit, transcript_limit
from worker.providers.sound import speech_of

REFUSED_FORMAT = {400, 406, 415, 422, 501}  # with which servers say that they don't know a response format


class OpenAIProvider:
    """One server and its key. It retries nothing, the job does, and raises nothing but `Upstream`."""

    def __init__(
        self, name: str, base_url: str, api_key: str | None, timeouts: Timeouts, preset: Preset | None = None
    ) -> None:
        """Open no connection yet; raises ValueError for a URL or a key that can't be one."""
        self.name = name
        self.limits = Limits()
        self._timeouts = timeouts
        self._preset = preset = preset or Preset()
        self._client = open_client(name, base_url, api_key, timeouts)
        self._headers: dict[str, str | Omit] = {}
        if preset.key_header != "Authorization":
            self._headers = {preset.key_header: checked_key(name, api_key) or NO_KEY, "Authorization": omit}
        self._format_of: dict[str, TranscriptFormat] = {}  # by model, once one was answered
        # Touched here: the SDK imports each part at its first use, and that must not be while a user waits.
        self._transcriptions = self._client.audio.transcriptions
        self._speech = self._client.audio.speech

    def stream_chat(
        self, messages: Sequence[ChatMessage], *, model: str, usage: ChatUsage, max_tokens: int | None = None
    ) -> AsyncGenerator[str]:
        """Yield the reply piece by piece and fill `usage`; a reply without an end or without words is a failure."""
        return streamed(
            lambda: self._open_chat(messages, model, max_tokens),
            provider=self.name,
            model=model,
            usage=usage,
            timeouts=self._timeouts,
        )

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
            body[self._preset.max_tokens] = max_tokens
        return await self._client.post(
            "/chat/completions",
            cast_to=object,
            body=body,
            options={"headers": self._headers},
            stream=True,
            stream_cls=AsyncStream[object],
        )

    async def transcribe(self, audio: Audio, *, model: str, languages: Sequence[str]) -> Transcript:
        """Return what the server heard and, where it tells it, in which languages."""
        hearing = next(one for one in self._preset.hearing if model.startswith(one.prefix))
        known = self._format_of.get(model)
        formats = sorted(hearing.formats, key=lambda one: one != known)
        with told_as_upstream(self.name, model):
            async with asyncio.timeout(self._timeouts.total_s):
                for format_ in formats:
                    try:
                        body = await self._hear(audio, model, format_, _hints(hearing, languages))
                    except openai.APIStatusError as error:
                        if format_ == formats[-1] or error.status_code not in REFUSED_FORMAT:
                            raise
                    else:
                        self._format_of[model] = format_
                        break
            return _transcript(body)

    async def _hear(self, audio: Audio, model: str, format_: TranscriptFormat, hints: dict[str, Any]) -> bytes:
        async with (
            asyncio.timeout(self._timeouts.until_first_byte(len(audio.data))) as patience,
            self._transcriptions.with_streaming_response.create(
                file=(f"audio.{audio.extension}", audio.data),
                model=model,
                response_format=format_,
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
        with told_as_upstream(self.name, model):
            async with (
                asyncio.timeout(self._timeouts.total_s),
                asyncio.timeout(self._timeouts.until_first_byte()) as patience,
                self._speech.with_streaming_response.create(
                    input=text,
                    model=model,
                    voice=voice or self._preset.voice,
                    response_format=self._preset.speech_format,
                    extra_headers=self._headers,
                ) as response,
            ):
                most = sound_limit(text)
                sound = await collect(response.iter_bytes(), patience, self._timeouts.idle_s, most=most)
                content_type = response.headers.get("content-type", "")
        speech = speech_of(sound, content_type)
        if speech is None:
            raise failure(GARBLED, provider=self.name, model=model)
        return speech

    async def close(self) -> None:
        """Close the connections that were kept open."""
        await self._client.close()


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
