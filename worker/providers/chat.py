"""A streamed chat completion: its chunks, read without trusting their shape, and the times that they may take."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from openai import AsyncStream

from worker.providers.base import ChatUsage
from worker.providers.client import Timeouts
from worker.providers.failures import BROKEN_OFF, EMPTY_REPLY, FAULTS, StreamError, failure, told_as_upstream
from worker.providers.received import allow

USAGE_WAIT_S = 2.0
MAX_EVENT_BYTES = 2_000_000
MAX_REPLY_CHARS = 1_000_000
MAX_TOKENS = 10_000_000  # beyond any window: what a server says beyond that is no count


async def streamed(
    begin: Callable[[], Awaitable[AsyncStream[object]]],
    *,
    provider: str,
    model: str,
    usage: ChatUsage,
    timeouts: Timeouts,
) -> AsyncGenerator[str]:
    """Yield a reply piece by piece and fill `usage`; one without an end or without words is a failure (`Upstream`)."""
    reply = Reply(usage)
    clock = asyncio.get_running_loop().time
    end = clock() + timeouts.total_s
    due = min(clock() + timeouts.until_first_byte(), end)
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
    if not reply.finished:
        raise failure(BROKEN_OFF, provider=provider, model=model)
    if not reply.has_words:
        raise failure(EMPTY_REPLY, provider=provider, model=model)


async def _next_chunk(stream: AsyncStream[object], reply: "Reply", due: float) -> object:
    """None when the stream is over. Once the reply is complete, what fails after it does not matter."""
    allow(stream.response, MAX_EVENT_BYTES)
    try:
        async with asyncio.timeout_at(due):
            return await anext(stream, None)
    except FAULTS:
        if reply.finished:
            return None
        raise


class Reply:
    """What a stream has said so far: whether it is complete, and whether it holds any words."""

    def __init__(self, usage: ChatUsage) -> None:
        self.finished = False
        self.has_words = False
        self._usage = usage
        self._chars = 0

    def read(self, chunk: object) -> str:
        """Take in one chunk, and return the text that it adds; raises ValueError when it is an error."""
        if isinstance(chunk, dict) and chunk.get("errors") and not self.finished:
            raise StreamError(chunk)
        self._count(_field(chunk, "usage"))
        choices = _field(chunk, "choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        reason = _field(choice, "finish_reason")
        if reason == "error":  # OpenRouter's way to say that the model behind it broke
            msg = "the stream ended with an error"
            raise ValueError(msg)
        self.finished = self.finished or bool(reason)
        text = _field(_field(choice, "delta"), "content")
        return self._add(text) if isinstance(text, str) else ""

    def _add(self, text: str) -> str:
        self._chars += len(text)
        if self._chars > MAX_REPLY_CHARS:
            msg = "the reply has no end"
            raise ValueError(msg)
        self.has_words = self.has_words or bool(text.strip())
        return text

    def _count(self, usage: object) -> None:
        for field, told in (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens")):
            count = _field(usage, told)
            if type(count) is int and 0 <= count <= MAX_TOKENS:
                setattr(self._usage, field, count)


def _field(part: object, name: str) -> object:
    return part.get(name) if isinstance(part, dict) else None
