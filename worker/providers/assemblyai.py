"""AssemblyAI's transcription: a file is uploaded, its transcript ordered, and asked for until it is there."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Sequence
from typing import Any
from urllib.parse import quote

import openai
from openai import AsyncStream

from shared.errors import Upstream
from shared.provider_presets import checked_key
from worker.providers.base import Audio, InputLimits, Transcript
from worker.providers.client import Timeouts, ask_object, open_client
from worker.providers.failures import FAILED, NO_QUOTA, REJECTED, TRANSCRIPT_TOO_LONG, failure, told_as_upstream
from worker.providers.languages import iso_language
from worker.providers.received import transcript_limit

FIRST_PAUSE_S, LONGEST_PAUSE_S, GROWTH = 0.2, 2.0, 1.5
MAX_LOST = 3  # answers about one transcript in a row: it is paid, and another order would be paid again
PIECE_BYTES = 65_536
VIDEO = {"m2ts", "m4v", "mov", "mp2", "mts", "mxf", "ts"}
SOUND = {
    "3ga", "8svx", "aac", "ac3", "aif", "aiff", "alac", "amr", "ape", "au", "dss", "flv", "m4b", "m4p", "m4r", "mogg",
    "oga", "opus", "qcp", "tta", "voc", "wma", "wv",
}  # fmt: skip
LIMITS = InputLimits(InputLimits().extensions | SOUND | VIDEO, max_s=36_000.0, max_bytes=2_200_000_000)
# What the reason of a failed transcript says; it has no code.
_SILENT = re.compile(r"no spoken audio|too short", re.IGNORECASE)
_NO_SOUND = re.compile(r"transcod|contain audio|corrupt|not supported|unsupported", re.IGNORECASE)


class AssemblyAIProvider:
    """One server and its key."""

    def __init__(
        self, name: str, base_url: str, api_key: str | None, timeouts: Timeouts, first_pause_s: float = FIRST_PAUSE_S
    ) -> None:
        """Open no connection yet; raises ValueError for a URL or a key that can't be one."""
        self.name = name
        self.limits = LIMITS
        self._timeouts = timeouts
        self._first_pause_s = first_pause_s
        self._client = open_client(name, base_url, None, timeouts, {"Authorization": checked_key(name, api_key)})

    async def transcribe(self, audio: Audio, *, model: str, languages: Sequence[str]) -> Transcript:
        """Return what the server heard, and in which language."""
        with told_as_upstream(self.name, model):
            async with asyncio.timeout(self._timeouts.total_s):
                try:
                    order_id = await self._order(audio, {"speech_models": [model], **_hints(languages)})
                except openai.BadRequestError as error:
                    if "balance" in str(error.body):
                        raise failure(NO_QUOTA, provider=self.name, model=model) from None
                    raise
                told = await self._result(order_id, model, transcript_limit(audio.duration_s))
            if told["status"] == "completed":
                return _transcript(told)
        reason = str(told.get("error"))
        if _SILENT.search(reason):
            return Transcript("")
        raise failure(REJECTED if _NO_SOUND.search(reason) else FAILED, provider=self.name, model=model)

    async def _order(self, audio: Audio, wishes: dict[str, Any]) -> str:
        size = len(audio.data)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        uploaded = await self._ask("/upload", size=size, content=_pieces(audio.data), options={"headers": headers})
        ordered = await self._ask("/transcript", body={"audio_url": _text(uploaded, "upload_url"), **wishes})
        return _text(ordered, "id")

    async def _ask(self, path: str, *, size: int = 0, **request: Any) -> dict[str, Any]:
        def begin() -> Awaitable[AsyncStream[object]]:
            return self._client.post(path, cast_to=object, stream=True, stream_cls=AsyncStream[object], **request)

        return await ask_object(begin, self._timeouts, size=size)

    async def _result(self, order_id: str, model: str, most: int) -> dict[str, Any]:
        """Ask until the transcript is completed or failed; an answer that is lost is asked for again."""
        pause, lost = self._first_pause_s, 0
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * GROWTH, LONGEST_PAUSE_S)
            try:
                with told_as_upstream(self.name, model):
                    told = await self._poll(order_id, most)
            except Upstream as error:
                lost += 1
                if lost > MAX_LOST or not error.transient:
                    raise
                pause = max(pause, error.retry_after or 0.0)
            else:
                lost = 0
                if told["status"] in {"completed", "error"}:
                    return told

    async def _poll(self, order_id: str, most: int) -> dict[str, Any]:
        path = f"/transcript/{quote(order_id, safe='')}"
        try:
            told = await ask_object(
                lambda: self._client.get(path, cast_to=object, stream=True, stream_cls=AsyncStream[object]),
                self._timeouts,
                most=most,
                beyond=TRANSCRIPT_TOO_LONG,
            )
        except openai.NotFoundError:
            msg = "the transcript is not there yet"  # and not the model, of which a 404 speaks elsewhere
            raise ValueError(msg) from None
        _text(told, "status")
        return told

    async def close(self) -> None:
        """Close the connections that were kept open."""
        await self._client.close()


async def _pieces(data: bytes) -> AsyncGenerator[bytes]:
    """In one piece, a large file would hold up the event loop."""
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]


def _hints(languages: Sequence[str]) -> dict[str, Any]:
    """One language is taken for a fact; several are those to choose from."""
    if len(languages) == 1:
        return {"language_code": languages[0]}
    if not languages:
        return {"language_detection": True}
    return {"language_detection": True, "language_detection_options": {"expected_languages": list(languages)}}


def _text(told: dict[str, Any], name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str) or not value:
        msg = f"no {name} in the answer"
        raise ValueError(msg)
    return value


def _transcript(told: dict[str, Any]) -> Transcript:
    text = told.get("text", False)
    if not isinstance(text, str | None):
        msg = "no transcript in the answer"
        raise ValueError(msg)  # noqa: TRY004 - what a server sent is a value
    code = iso_language(told.get("language_code"))
    return Transcript((text or "").strip(), (code,) if code else ())
