"""A load generator light enough to share two cores with what it measures: HTTP/1.1 over asyncio's streams."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

API = "/api/v1"


@dataclass(frozen=True)
class Answer:
    """What came back; `first_s` and `took_s` are seconds from the request to the body's first byte, and to its last."""

    status: int
    head: bytes
    body: bytes
    first_s: float
    took_s: float

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)

    def header(self, name: str) -> str:
        """One of its headers, or an empty string."""
        _, _, rest = self.head.lower().partition(b"\r\n" + name.lower().encode() + b":")
        return self.head[len(self.head) - len(rest) :].partition(b"\r\n")[0].strip().decode() if rest else ""


class Connection:
    """One kept-alive connection, opened by `async with`; one request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def send(self, request: bytes) -> Answer:
        """Send one prepared request and read its answer."""
        began = time.perf_counter()
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, lower = int(head[9:12]), head.lower()
        if b"transfer-encoding: chunked" in lower:
            body, first_s = await self._chunks(began)
        else:
            _, _, length = lower.partition(b"content-length:")
            size = int(length.partition(b"\r\n")[0]) if length else 0
            body = await self._reader.readexactly(size) if size else b""
            first_s = time.perf_counter() - began
        return Answer(status, head, body, first_s, time.perf_counter() - began)

    async def get(self, path: str, **headers: str) -> Answer:
        """Ask, and insist on 200."""
        return _insist(await self.send(request("GET", path, **headers)), 200)

    async def post(self, path: str, body: object, **headers: str) -> Answer:
        """Post JSON, and insist on a 2xx."""
        return _insist(await self.send(request("POST", path, body, **headers)), 200, 201, 202)

    async def _chunks(self, began: float) -> tuple[bytes, float]:
        body, first_s = bytearray(), 0.0
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
            first_s = first_s or time.perf_counter() - began
        await self._reader.readexactly(2)
        return bytes(body), first_s


def request(method: str, path: str, body: object = None, **headers: str) -> bytes:
    """A whole request; `body` is JSON, or bytes as they are. Headers are named with underscores."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"host": "localhost", "content_type": "application/json", **headers}
    if data or method == "POST":
        named["content_length"] = str(len(data))
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + data


def text_of(session_id: str, **fields: object) -> dict[str, object]:
    """The body of a submit."""
    return {"session_id": session_id, "text": "When is breakfast?", **fields}


def voice_of(session_id: str, sound: bytes, name: str = "note.ogg") -> tuple[bytes, str]:
    """The body of a voice note's submit, and its content type."""
    mark = "e3b0c44298fc1c149afbf4c8996fb924"
    part = f'--{mark}\r\nContent-Disposition: form-data; name="{{}}"'
    head = f'{part.format("session_id")}\r\n\r\n{session_id}\r\n{part.format("file")}; filename="{name}"\r\n\r\n'
    return head.encode() + sound + f"\r\n--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"


async def sessions(port: int, number: int) -> list[str]:
    """Ids of new sessions of one new agent."""
    async with Connection(port) as client:
        agent = (await client.post(f"{API}/agent", {"name": "Guide", "language": "en"})).json["id"]
        return [(await client.post(f"{API}/session", {"agent_id": agent})).json["id"] for _ in range(number)]


async def all_of(port: int, requests: Iterable[bytes], clients: int) -> list[Answer]:
    """Send them all, `clients` at a time, each client its next one as soon as it has the answer to the last."""
    left, answers = iter(requests), list[Answer]()

    async def client(connection: Connection) -> None:
        for one in left:
            answers.append(await connection.send(one))

    await _together(port, clients, client)
    return answers


async def rate(port: int, requests: Iterator[bytes], clients: int, seconds: float, status: int) -> float:
    """Answers per second of `clients` in a closed loop."""
    number, until = 0, time.perf_counter() + seconds

    async def client(connection: Connection) -> None:
        nonlocal number
        while time.perf_counter() < until:
            _insist(await connection.send(next(requests)), status)
            number += 1

    began = time.perf_counter()
    await _together(port, clients, client)
    return number / (time.perf_counter() - began)


async def _together(port: int, clients: int, one: Callable[[Connection], Awaitable[None]]) -> None:
    connections = [await Connection(port).__aenter__() for _ in range(clients)]
    try:
        await asyncio.gather(*[one(connection) for connection in connections])
    finally:
        for connection in connections:
            await connection.__aexit__()


def _insist(answer: Answer, *statuses: int) -> Answer:
    assert answer.status in statuses, f"{answer.head.decode()}{answer.body.decode(errors='replace')}"
    return answer
