"""A streamed chat completion: its chunks, and the times that they may take."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

from openai import AsyncStream

from shared.blank_text import is_blank
from worker.providers.base import ChatUsage
from worker.providers.chat_chunk import BROKEN, ChunkText, finish_reason_of, said_in, tokens_in
from worker.providers.chat_stream import ChatStream
from worker.providers.client import Timeouts
from worker.providers.failures import (
    BROKEN_OFF,
    EMPTY_REPLY,
    FAULTS,
    NO_ANSWER,
    OUTPUT_LIMIT,
    WITHHELD,
    StreamError,
    failure,
    told_as_upstream,
)
from worker.providers.openings import Thinkers
from worker.providers.reasoning import ThoughtCutter
from worker.providers.received import allow

USAGE_WAIT_S = 2.0
MAX_EVENT_BYTES = 2_000_000
MAX_REPLY_CHARS = 1_000_000
LONGEST_GUESS_S = 3.0  # for how long a reply is held back only because it begins as a thought does


async def streamed(
    begin: Callable[[], Awaitable[ChatStream]],
    *,
    provider: str,
    model: str,
    usage: ChatUsage,
    timeouts: Timeouts,
    thinkers: Thinkers,
) -> AsyncGenerator[str]:
    """Yield a reply piece by piece and fill `usage`; one without an end or without words is a failure (`Upstream`)."""
    reply = ChatReply(usage, model, thinkers)
    clock = asyncio.get_running_loop().time
    end = clock() + timeouts.total_s
    due = min(clock() + timeouts.until_first_byte(), end)
    try:
        with told_as_upstream(provider, model):
            async with asyncio.timeout_at(due):
                stream = await begin()
            async with stream:
                while (chunk := await _next_chunk(stream, reply, due)) is not None:
                    if piece := reply.read(chunk):
                        yield piece
                    if reply.finished:
                        end = min(end, clock() + USAGE_WAIT_S)
                    due = min(clock() + timeouts.idle_s, end)
    finally:
        usage.reasoning = reply.reasoning
    reply.finished = reply.finished or stream.is_done
    if not reply.finished:
        raise failure(BROKEN_OFF, provider=provider, model=model)
    piece = reply.finish()
    usage.reasoning = reply.reasoning
    if piece:
        yield piece
    if not reply.has_words:
        empty = NO_ANSWER if usage.reasoning else EMPTY_REPLY
        kind = {"length": OUTPUT_LIMIT, "content_filter": WITHHELD}.get(usage.finish_reason or "", empty)
        raise failure(kind, provider=provider, model=model)


async def _next_chunk(stream: AsyncStream[object], reply: "ChatReply", due: float) -> object:
    """None when the stream is over. Once the reply is complete, what fails after it does not matter."""
    allow(stream.response, MAX_EVENT_BYTES)
    try:
        async with asyncio.timeout_at(due):
            return await anext(stream, None)
    except FAULTS:
        if reply.finished:
            return None
        raise


class ChatReply:
    """Reads a stream's chunks: the answer so far, the thoughts, why it ended, and the tokens."""

    def __init__(self, usage: ChatUsage, model: str, thinkers: Thinkers) -> None:
        self.finished = False
        self.has_words = False
        self._usage = usage
        self._model = model
        self._thinkers = thinkers
        self._cutter = ThoughtCutter(self._restart, presumed=thinkers.holds(model))
        self._guessing_since: float | None = None
        self._chars = 0
        self._content: list[str] = []
        self._content_chars = 0

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return self._cutter.reasoning

    def read(self, chunk: object) -> str:
        """Read one chunk and return its addition to the answer; raises ValueError for an error."""
        if isinstance(chunk, dict) and chunk.get("errors") and not self.finished:
            raise StreamError(chunk)
        if usage := _field(chunk, "usage"):
            self._count(usage)
        choices = _field(chunk, "choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        reason = _field(choice, "finish_reason")
        if isinstance(reason, str) and reason.lower() in BROKEN:
            msg = "the stream ended with an error"
            raise ValueError(msg)
        if reason:
            self.finished = True
            self._usage.finish_reason = finish_reason_of(reason)
        said = self._said(choice)
        if said.thought:
            self._grow(said.thought)
            self._cutter.note(said.thought)
        return self._add(said.answer) if said.answer else ""

    def finish(self) -> str:
        """End the reply and return what was still held back of the answer."""
        is_cut_off = self._usage.finish_reason == "length"
        piece = self._tell(self._cutter.finish(cut_off=is_cut_off))
        if not is_cut_off:
            self._thinkers.learn(self._model, began_untagged=self._cutter.began_untagged)
        return piece

    def _said(self, choice: object) -> ChunkText:
        """Read a choice; one without a `delta` has a `message`, which may repeat the whole reply."""
        if delta := _field(choice, "delta"):
            return said_in(delta)
        said = said_in(_field(choice, "message"))
        is_repeated = len(said.answer) == self._content_chars and said.answer == "".join(self._content)
        return ChunkText("", said.thought) if is_repeated else said

    def _add(self, content: str) -> str:
        self._grow(content)
        self._content.append(content)
        self._content_chars += len(content)
        piece = self._cutter.add(content)
        if self._cutter.is_guessing:
            now = time.monotonic()
            self._guessing_since = self._guessing_since or now
            if now - self._guessing_since > LONGEST_GUESS_S:
                piece += self._cutter.release()
        return self._tell(piece)

    def _grow(self, text: str) -> None:
        self._chars += len(text)
        if self._chars > MAX_REPLY_CHARS:
            msg = "the reply has no end"
            raise ValueError(msg)

    def _tell(self, piece: str) -> str:
        self.has_words = self.has_words or not is_blank(piece)
        return piece

    def _restart(self) -> None:
        self.has_words = False
        self._thinkers.learn(self._model, began_untagged=True)
        self._usage.on_restart()

    def _count(self, usage: object) -> None:
        counted = tokens_in(usage)
        for field, count in (("input_tokens", counted.input_tokens), ("output_tokens", counted.output_tokens)):
            if count is not None:
                setattr(self._usage, field, count)


def _field(part: object, name: str) -> object:
    return part.get(name) if isinstance(part, dict) else None
