"""A credential that ends ends the requests that are under way with it, whatever they wait for."""

import asyncio
import io
import json
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlmodel import select

from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.models import Blob, Job, UserRole
from shared.services import login as logins
from tests.api.test_login import AUTH, PASSWORD, bearer, login, register
from tests.api.test_uploads import BOUNDARY, everything_stored, form
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live, live_parley
from tests.services import RedisServer, private

SOON_S = 20  # and no request here would end by itself within a minute
FIRST = "This is the first sentence of all."
SECOND = "This is the second one."

Headers = dict[str, str]


@dataclass
class Ended:
    """How a request ended: the status if it was answered, and whether what was begun is whole for HTTP."""

    status: int | None
    code: str = ""
    whole: bool = True


class Request:
    """A request over a socket of its own, which can send and read as slowly as it likes."""

    def __init__(self, live: Live, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> tuple[int, Headers]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        return int(head[0].split()[1]), fields

    async def ended(self) -> Ended:
        """Read on to the end, which must come soon."""
        async with asyncio.timeout(SOON_S):
            status, fields = await self.head()
            body = await self.reader.readexactly(int(fields["content-length"]))
        return Ended(status, json.loads(body)["code"])


@asynccontextmanager
async def begun(live: Live, method: str, path: str, headers: Headers, sent: bytes = b"") -> AsyncIterator[Request]:
    """A request with a head, and as much of its body."""
    reader, writer = await asyncio.open_connection(live.http.base_url.host, live.http.base_url.port, limit=2**20)
    lines = [f"{method} {path} HTTP/1.1", "Host: parley", *[f"{name}: {value}" for name, value in headers.items()]]
    writer.write("\r\n".join([*lines, "", ""]).encode() + sent)
    await writer.drain()
    try:
        yield Request(live, reader, writer)
    finally:
        writer.close()


@dataclass
class Stage:
    """Somebody who is signed in, with a job that is being answered slowly, for a minute and more."""

    live: Live
    who: Headers
    session: str
    job: dict[str, Any]


Opened = Callable[[Stage], Any]


@asynccontextmanager
async def a_wait(stage: Stage) -> AsyncIterator[Callable[[], Awaitable[Ended]]]:
    async with begun(stage.live, "GET", stage.job["links"]["self"], {**stage.who, "Prefer": "wait=60"}) as request:
        yield request.ended


@asynccontextmanager
async def a_submit_that_waits(stage: Stage) -> AsyncIterator[Callable[[], Awaitable[Ended]]]:
    body = json.dumps({"session_id": stage.session, "text": "And dinner?"}).encode()
    headers = {**stage.who, "Prefer": "wait=60", "Content-Type": "application/json", "Content-Length": str(len(body))}
    async with begun(stage.live, "POST", f"{API}/message/text", headers, body) as request:
        yield request.ended


@asynccontextmanager
async def an_event_stream(stage: Stage) -> AsyncIterator[Callable[[], Awaitable[Ended]]]:
    async with stage.live.http.stream("GET", stage.job["links"]["events"], headers=stage.who) as stream:
        lines = stream.aiter_lines()
        assert await anext(lines) == "event: status"

        async def ended() -> Ended:
            async with asyncio.timeout(SOON_S):
                assert "event: end" not in [line async for line in lines]
            again = await stage.live.http.get(stage.job["links"]["events"], headers=stage.who)
            return Ended(again.status_code, again.json()["code"])

        yield ended


@asynccontextmanager
async def a_streamed_sound(stage: Stage) -> AsyncIterator[Callable[[], Awaitable[Ended]]]:
    url = f"{stage.job['links']['self']}/audio"
    async with stage.live.http.stream("GET", url, params={"stream": 1}, headers=stage.who) as stream:
        assert stream.status_code == 200
        chunks = stream.aiter_bytes()
        await anext(chunks)
        yield lambda: broken_off(chunks)


@asynccontextmanager
async def a_slow_download(stage: Stage) -> AsyncIterator[Callable[[], Awaitable[Ended]]]:
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((2, 2, 48_000, 0, "NONE", ""))
        file.writeframes(b"\1\2\3\4" * 5_000_000)  # more than the buffers in between hold
    said = await stage.live.post_voice(stage.session, sound.getvalue(), headers=stage.who)
    assert said.status_code == 202, said.text
    url = f"{API}/message/{said.json()['message_id']}/audio"
    async with begun(stage.live, "GET", url, stage.who) as request:
        status, fields = await request.head()
        assert status == 200

        async def ended() -> Ended:
            await asyncio.sleep(0)
            got = 0
            async with asyncio.timeout(SOON_S):
                await until_no_more_is_open(stage.live)
                try:
                    while chunk := await request.reader.read(2**20):
                        got += len(chunk)
                except ConnectionResetError:
                    pass
            return Ended(None, whole=got == int(fields["content-length"]))

        yield ended


async def until_no_more_is_open(live: Live) -> None:
    while len(asyncio.all_tasks()) and live.stores.open_requests.number:
        await asyncio.sleep(0.05)


@asynccontextmanager
async def a_slow_voice_note(stage: Stage) -> AsyncIterator[Callable[[], Awaitable[Ended]]]:
    whole = form(("session_id", None, stage.session.encode()), ("file", "note", b"x" * 400_000))
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    headers = {**stage.who, "Content-Type": kind, "Content-Length": str(len(whole))}
    async with begun(stage.live, "POST", f"{API}/message/voice", headers, whole[:300_000]) as request:
        yield request.ended


@asynccontextmanager
async def a_slow_body(stage: Stage) -> AsyncIterator[Callable[[], Awaitable[Ended]]]:
    headers = {**stage.who, "Content-Type": "application/json", "Content-Length": "100"}
    async with begun(stage.live, "POST", f"{API}/message/text", headers, b'{"session_id": "') as request:
        yield request.ended


async def broken_off(chunks: AsyncIterator[bytes]) -> Ended:
    with pytest.raises(httpx.RemoteProtocolError):
        async with asyncio.timeout(SOON_S):
            async for _ in chunks:
                pass
    return Ended(None, whole=False)


EVERYTHING: list[Opened] = [
    a_wait, a_submit_that_waits, an_event_stream, a_streamed_sound, a_slow_download, a_slow_voice_note, a_slow_body,
]  # fmt: skip
BROKEN_OFF = {a_streamed_sound, a_slow_download}


async def staged(live: Live, fake: FakeOpenAI, who: Headers) -> Stage:
    """With a reply whose first sentence is spoken, and whose second is not for long."""
    fake.script.always("chat", Answer(text=f"{FIRST} {SECOND}"))
    fake.script.always("speech", Answer(delay_s=90, when=SECOND))
    live.http.headers.update(who)
    session = (await live.session())["id"]
    job = await live.text(session, reply_audio=True)
    for name in who:
        del live.http.headers[name]
    return Stage(live, who, session, job)


async def user_of(live: Live, name: str = "ann") -> dict[str, Any]:
    """A new user's tokens."""
    await register(live, name)
    return await login(live, name)


@pytest.mark.parametrize("opened", EVERYTHING)
async def test_whatever_is_open_ends_with_its_login_and_nothing_of_another_login(
    guarded: Live, fake: FakeOpenAI, opened: Opened
) -> None:
    pair = await user_of(guarded)
    stage = await staged(guarded, fake, bearer(pair))
    elsewhere = Stage(guarded, bearer(await login(guarded, "ann")), stage.session, stage.job)
    async with opened(stage) as ended, a_wait(elsewhere) as other:
        rows, files = await everything_stored(guarded)
        assert (await guarded.http.post(f"{AUTH}/logout", headers=stage.who)).status_code == 204
        how = await ended()
        if opened in BROKEN_OFF:
            assert not how.whole
        else:
            assert (how.status, how.code) == (401, "unauthorized")
        waits = asyncio.create_task(other())
        await asyncio.sleep(1)
        assert not waits.done()
        if opened is a_slow_voice_note:
            await nothing_stays_of_it(guarded, rows)
        fake.script.always("speech", None)
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)
    assert (await guarded.http.get(stage.job["links"]["self"], headers=elsewhere.who)).status_code == 200


async def nothing_stays_of_it(live: Live, rows: list[Blob]) -> None:
    for _ in range(100):
        left = {row.id for row in (await everything_stored(live))[0] if row.purpose == "upload"}
        if left <= {row.id for row in rows if row.purpose == "upload"}:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("something of the upload stays")
