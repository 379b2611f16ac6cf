"""How a call to a model server fails in tests."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from shared.errors import Upstream

KEY = "verysecret0123456789abcdefghij"


async def failure(attempt: Awaitable[object]) -> Upstream:
    """The only thing that may come out of a failed call, with nothing secret in it or behind it."""
    with pytest.raises(Upstream) as caught:
        await attempt
    shown = f"{caught.value!r} {caught.value.detail} {caught.value.errors} {caught.value.__cause__!r}"
    assert "verysecret" not in shown
    assert "ghij" not in shown
    assert "Bearer" not in shown
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert caught.value.detail.endswith(".")
    return caught.value


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what happens in another thread."""
    while not holds():  # noqa: ASYNC110 - it has no event of this loop
        await asyncio.sleep(0.01)


@contextmanager
def nobody() -> Iterator[str]:
    """The URL of a server that is not there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@asynccontextmanager
async def babbler() -> AsyncIterator[str]:
    """The URL of a server that does not speak HTTP."""

    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
