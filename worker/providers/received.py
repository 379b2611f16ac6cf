"""How many bytes of an answer are taken: every response of every client that is opened with `limited` in its hooks."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import httpx2

MAX_BODY_BYTES = 64_000_000
MAX_ERROR_BYTES = 64_000
"""Of an answer that is no success its status is what counts: the rest of its body is left out."""
MAX_ANSWER_BYTES = 64_000
"""A small JSON answer: a token, an id, an address."""

_TRANSCRIPT_BYTES, _TRANSCRIPT_BYTES_S = 1_000_000, 1_000  # some servers list each word with its times
_SOUND_BYTES, _SOUND_BYTES_PER_CHARACTER = 4_000_000, 64_000  # a third of a second, uncompressed and stereo


def transcript_limit(duration_s: float) -> int:
    """How many bytes an answer may have that holds the transcript of so many seconds."""
    return min(MAX_BODY_BYTES, _TRANSCRIPT_BYTES + int(duration_s * _TRANSCRIPT_BYTES_S))


def sound_limit(text: str) -> int:
    """How many bytes a text may have when it is spoken."""
    return min(MAX_BODY_BYTES, _SOUND_BYTES + len(text) * _SOUND_BYTES_PER_CHARACTER)


class TooMuchError(httpx2.ReadError):
    """A server sent more than is taken."""


class Body(httpx2.AsyncByteStream):
    """The bytes of a response, counted as they come; with `is_cut` they end where they are too many, or break."""

    def __init__(self, source: httpx2.AsyncByteStream, most: int, *, is_cut: bool) -> None:
        self._source = source
        self._most = self._allowed = most
        self._is_cut = is_cut
        self._count = 0

    def allow(self, size: int) -> None:
        """Take `size` more bytes at most, until this is called again, and never more than the limit of the whole."""
        self._allowed = min(self._most, self._count + size)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._source:
                self._count += len(piece)
                if self._count > self._allowed:
                    raise TooMuchError("the body has no end")
                yield piece
        except httpx2.HTTPError:
            if not self._is_cut:
                raise

    async def aclose(self) -> None:
        """Hang up, unless all was read."""
        await self._source.aclose()


class _Decoded(httpx2.AsyncByteStream):
    """What a compressed body holds, piece by piece; read again, as the SDK does to empty it, it is as it came."""

    def __init__(self, packed: Body, coding: str) -> None:
        self._packed = packed
        self._response: httpx2.Response | None = httpx2.Response(
            200, headers={"content-encoding": coding}, stream=packed
        )

    async def __aiter__(self) -> AsyncIterator[bytes]:
        response, self._response = self._response, None
        if response is None:
            async for piece in self._packed:
                yield piece
            return
        async with aclosing(response.aiter_bytes()) as pieces:
            async for piece in pieces:
                yield piece

    async def aclose(self) -> None:
        await self._packed.aclose()


async def limited(response: httpx2.Response) -> None:
    """A response hook: count what comes over the wire, and what comes out of its compression."""
    if not isinstance(response.stream, httpx2.AsyncByteStream):
        return
    is_cut = not response.is_success
    most = MAX_ERROR_BYTES if is_cut else MAX_BODY_BYTES
    body = Body(response.stream, most, is_cut=is_cut)
    if coding := response.headers.pop("content-encoding", None):
        body = Body(_Decoded(body, coding), most, is_cut=is_cut)
    response.stream = body


def allow(response: httpx2.Response, size: int) -> None:
    """Take `size` more bytes of a response's body at most, until this is called again."""
    if isinstance(response.stream, Body):
        response.stream.allow(size)
