"""A voice note on its way in, sent piece by piece."""

import asyncio
import time
from typing import Any, NamedTuple, Self
from uuid import UUID

from tests.faults.client import API
from tests.faults.deployment import Deployment
from tests.faults.waiting import until

BOUNDARY = "a-boundary-of-ours"


class Told(NamedTuple):
    """The answer to an upload, and how long it took from the last byte."""

    status: int
    headers: str
    took_s: float


class Upload:
    """One request over a connection of its own; `sound` is what the file holds."""

    def __init__(self, parley: Deployment, session_id: str, sound: bytes, *, file_first: bool = False) -> None:
        self.session_id = session_id
        self.sound = sound
        self._parley = parley
        field = _part('name="session_id"', session_id.encode())
        opening, closing = _part('name="file"; filename="note.wav"', b""), b""
        if file_first:
            closing = b"\r\n" + field
        else:
            opening = field + b"\r\n" + opening
        self._opening = opening
        self._closing = closing + f"\r\n--{BOUNDARY}--\r\n".encode()
        self._sent = 0

    async def begin(self) -> Self:
        """Send all that comes before the sound."""
        host, port = self._parley.url.removeprefix("http://").split(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port))
        length = len(self._opening) + len(self.sound) + len(self._closing)
        head = (
            f"POST {API}/message/voice HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nConnection: close\r\n\r\n"
        )
        await self._send(head.encode() + self._opening)
        return self

    async def send(self, number: int) -> None:
        """Send so many more bytes of the sound."""
        await self._send(self.sound[self._sent : self._sent + number])
        self._sent += number

    async def finish(self) -> None:
        """Send the rest, to the last byte of the request."""
        await self._send(self.sound[self._sent :] + self._closing)

    async def told(self) -> Told:
        """Finish, and read the answer."""
        began = time.monotonic()
        await self.finish()
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        took_s = time.monotonic() - began
        self.close()
        return Told(int(head.split()[1]), head.lower(), took_s)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def announced(self) -> dict[str, Any]:
        """Its blob row, as soon as that is there."""
        return await until(self._row, f"the upload to {self.session_id} has a row")

    async def stored(self, *, staged: bool = False) -> None:
        """Wait until its bytes are in the store: all of them, or some of them if `staged`."""
        path = self._parley.blobs / (str((await self.announced())["key"]) + ("#1" if staged else ""))
        await until(lambda: path.exists() and path.stat().st_size, f"{path} has bytes")

    async def _row(self) -> dict[str, Any]:
        rows = await self._parley.sql.rows("SELECT key, session_id FROM blob WHERE purpose = 'upload'")
        return next((row for row in rows if str(UUID(str(row["session_id"]))) == self.session_id), {})

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


def _part(disposition: str, data: bytes) -> bytes:
    return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + data
