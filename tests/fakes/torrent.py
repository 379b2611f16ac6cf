"""A server that sends bytes without end, or a little that unpacks to a lot, wherever a body may hold it.

`with Torrent() as torrent: torrent.url("endless error")`; `torrent.sent` counts what it could write to its last client.
"""

import asyncio
import base64
import gzip
import hashlib
import json
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain, repeat
from typing import Self

from tests.fakes.mp3 import mp3_of

PIECE = 65_536
UNPACKED = 300_000_000
MB_50 = 50_000_000
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: "
_CLOSE = b"\r\nConnection: close\r\n\r\n"
_SSE = _OK + b"text/event-stream" + _CLOSE
_JSON = _OK + b"application/json" + _CLOSE
_ERROR = b"HTTP/1.1 500 Oops\r\nContent-Type: application/json" + _CLOSE
_ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CHUNK = b'data: {"choices": [{"delta": {"content": "Hi."}, "finish_reason": %s}]}\n\n'


def _fill(text: bytes) -> bytes:
    return text * (PIECE // len(text))


@cache
def _unpacking(pattern: bytes, before: bytes = b"", *, times: int = 1) -> bytes:
    """A body of `UNPACKED` bytes, packed."""
    packer = zlib.compressobj(9, wbits=31)
    packed = packer.compress(before) + b"".join(packer.compress(_fill(pattern)) for _ in range(UNPACKED // PIECE))
    packed += packer.flush()
    for _ in range(times - 1):
        packed = gzip.compress(packed)
    return packed


def _packed(head: bytes, coding: bytes, body: bytes) -> list[bytes]:
    return [head.replace(_CLOSE, b"\r\nContent-Encoding: " + coding + _CLOSE), body]


def _answer(kind: str) -> Iterator[bytes]:
    if kind in _ENDLESS:
        return chain(*_ENDLESS[kind])
    return iter(_ENDING[kind]())


_ENDLESS: dict[str, tuple[list[bytes], Iterator[bytes]]] = {
    "an error": ([_ERROR], repeat(_fill(b"x"))),
    "a refusal": ([_ERROR.replace(b"500 Oops", b"401 No")], repeat(_fill(b"x"))),
    "an error that is a stream": ([_ERROR.replace(b"application/json", b"text/event-stream")], repeat(_fill(b"data: x\n"))),
    "a redirect": ([_ERROR.replace(b"500 Oops", b"307 There\r\nLocation: /v1/x")], repeat(_fill(b"x"))),
    "lines of one event": ([_SSE], repeat(_fill(b"data: x\n"))),
    "empty lines of one event": ([_SSE], repeat(_fill(b"data:\r\n"))),
    "one line": ([_SSE, b"data: "], repeat(_fill(b"x"))),
    "a field's name": ([_SSE], repeat(_fill(b"x"))),
    "comments": ([_SSE], repeat(_fill(b": ping\n\n"))),
    "ids": ([_SSE], repeat(_fill(b"id: 1\n"))),
    "events without a word": ([_SSE], repeat(_fill(b'data: {"choices": []}\n\n'))),
    "events called JSON": ([_JSON], repeat(_fill(b"data: x\n"))),
    "bytes behind the end": ([_SSE, _CHUNK % b'"stop"', b"data: [DONE]\n\n"], repeat(_fill(b"x"))),
    "white space": ([_JSON], repeat(_fill(b" "))),
    "a text": ([_JSON, b'{"text": "'], repeat(_fill(b"a"))),
    "sound": ([_OK + b"audio/mpeg" + _CLOSE, mp3_of(1.0)], repeat(mp3_of(8.0))),
    "headers": ([b"HTTP/1.1 200 OK\r\n"], repeat(_fill(b"X-A: b\r\n"))),
    "one header": ([b"HTTP/1.1 200 OK\r\nX-A: "], repeat(_fill(b"b"))),
    "a reason": ([b"HTTP/1.1 200 "], repeat(_fill(b"OK"))),
    "hints": ([], repeat(_fill(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"))),
    "a chunk's extension": ([_SSE.replace(b"Connection: close", b"Transfer-Encoding: chunked"), b"1;"], repeat(_fill(b"x"))),
    "trailers": ([_SSE.replace(b"Connection: close", b"Transfer-Encoding: chunked"), b"0\r\n"], repeat(_fill(b"X-A: b\r\n"))),
}  # fmt: skip
_ENDING: dict[str, Callable[[], Iterable[bytes]]] = {
    "an error of 50 MB": lambda: [_ERROR, b'{"error": {"message": "', *repeat(_fill(b"a"), MB_50 // PIECE), b'"}}'],
    "a text of 50 MB": lambda: [_JSON, b'{"text": "', *repeat(_fill(b"a"), MB_50 // PIECE), b'"}'],
    "lists in lists": lambda: [_JSON, b'{"text": [', *repeat(_fill(b"[],"), MB_50 // PIECE), b"[]]}"],
    "a packed text": lambda: _packed(_JSON, b"gzip", _unpacking(b"a", b'{"text": "')),
    "a text packed twice": lambda: _packed(_JSON, b"gzip, gzip", _unpacking(b"a", b'{"text": "', times=2)),
    "a packed error": lambda: _packed(_ERROR, b"gzip", _unpacking(b"a")),
    "packed lines of one event": lambda: _packed(_SSE, b"gzip", _unpacking(b"data: x\n")),
    "one packed line": lambda: _packed(_SSE, b"gzip", _unpacking(b"x", b"data: ")),
    "packed sound": lambda: _packed(_OK + b"audio/mpeg" + _CLOSE, b"gzip", _unpacking(mp3_of(1.0))),
    "deflated zeros": lambda: _packed(_JSON, b"deflate", zlib.compress(bytes(UNPACKED), 9)),
    "nothing, packed for ever": lambda: chain(
        _packed(_JSON, b"deflate", b"\x78\x9c"), repeat(_fill(b"\x00\x00\x00\xff\xff"))
    ),
}
KINDS = (*_ENDLESS, *_ENDING)
# Frames of a WebSocket, each after the handshake.
_PING = json.dumps({"type": "rate_limits.updated", "rate_limits": ["x" * 60_000]}).encode()
FRAMES = {
    "events before it is asked": (b"\x81\x7e" + len(_PING).to_bytes(2, "big") + _PING, False),
    "one message that is huge": (b"\x81\x7f" + (1 << 40).to_bytes(8, "big") + b"x" * PIECE, False),
    "pings": (b"\x89\x00" * 10_000, False),
    "one message in fragments": (b"\x00\x7e\xff\xff" + b"x" * 65_535, True),
}


class Torrent:
    """The server, in a thread with its own event loop."""

    def __init__(self) -> None:
        self.sent = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._ready = threading.Event()
        self._serving: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def url(self, kind: str) -> str:
        """The base URL at which every request gets this."""
        return f"http://127.0.0.1:{self._port}/{kind.replace(' ', '_')}"

    async def _run(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(self._accept, "127.0.0.1", 0) as server:
            self._port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._over.wait()
            for task in self._serving:
                task.cancel()
            server.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sent = 0
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            reading = asyncio.create_task(_drain(reader))
            kind = head.split()[1].decode().split("/")[1].replace("_", " ")
            for piece in _frames(kind, head) if kind in FRAMES else _answer(kind):
                writer.write(piece)
                await writer.drain()
                self.sent += len(piece)
            writer.write_eof()
            await reading
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _drain(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(PIECE):
            pass
    except OSError:
        pass


def _frames(kind: str, head: bytes) -> Iterator[bytes]:
    key = next(line.split()[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key + _ACCEPT).digest())  # noqa: S324 - the protocol's own
    yield (
        b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    frame, is_fragment = FRAMES[kind]
    if is_fragment:
        yield b"\x01\x01{"
    yield from repeat(frame)
