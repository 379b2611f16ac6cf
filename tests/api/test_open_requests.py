"""A credential that ends ends the requests that are under way with it, whatever they wait for."""

import asyncio
import io
import json
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr
from sqlmodel import select

from api.auth import jwt
from api.auth.open_requests import CHECK_S
from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.models import Blob, BlobPurpose, Job, Login, UserRole
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

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.reader = reader

    async def head(self) -> tuple[int, Headers]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        return int(head[0].split()[1]), fields

    async def ended(self) -> Ended:
        """Read on to the end, which must come soon."""
        async with asyncio.timeout(SOON_S):
            status, fields = await self.head()
            body = await self.reader.readexactly(int(fields["content-length"]))
        return Ended(status, json.loads(body).get("code", ""))


@asynccontextmanager
async def begun(live: Live, method: str, path: str, headers: Headers, sent: bytes = b"") -> AsyncIterator[Request]:
    """A request with a head, and as much of its body."""
    reader, writer = await asyncio.open_connection(live.http.base_url.host, live.http.base_url.port, limit=2**20)
    lines = [f"{method} {path} HTTP/1.1", "Host: parley", *[f"{name}: {value}" for name, value in headers.items()]]
    writer.write("\r\n".join([*lines, "", ""]).encode() + sent)
    await writer.drain()
    try:
        yield Request(reader)
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
            got = 0
            with suppress(ConnectionResetError):
                while chunk := await request.reader.read(2**16):
                    got += len(chunk)
                    await asyncio.sleep(0.03)  # so all of it would take ten seconds
            return Ended(None, whole=got == int(fields["content-length"]))

        yield ended


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
    try:
        async with asyncio.timeout(SOON_S):
            rest = [chunk async for chunk in chunks]
    except httpx.RemoteProtocolError:
        return Ended(None, whole=False)
    raise AssertionError(f"{len(rest)} more chunks came, and then an end")


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


async def kept_uploads(live: Live) -> list[Blob]:
    rows, _ = await everything_stored(live)
    return [row for row in rows if row.purpose == BlobPurpose.UPLOAD]


@pytest.mark.parametrize("opened", EVERYTHING)
async def test_whatever_is_open_ends_with_its_login_and_nothing_of_another_login(
    guarded: Live, fake: FakeOpenAI, opened: Opened
) -> None:
    stage = await staged(guarded, fake, bearer(await user_of(guarded)))
    elsewhere = replace(stage, who=bearer(await login(guarded, "ann")))
    async with opened(stage) as ended, a_wait(elsewhere) as other:
        assert (await guarded.http.post(f"{AUTH}/logout", headers=stage.who)).status_code == 204
        how = await ended()
        assert how.whole is (opened not in BROKEN_OFF)
        if how.whole:
            assert (how.status, how.code) == (401, "unauthorized")
        assert (
            await guarded.http.post(f"{stage.job['links']['self']}/cancel", headers=elsewhere.who)
        ).status_code == 200
        assert (await other()).status == 200
    assert (await guarded.http.delete(f"{API}/session/{stage.session}", headers=elsewhere.who)).status_code == 204
    if opened is a_slow_voice_note:
        await until(lambda: kept_uploads(guarded), [])


async def until(look: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    async with asyncio.timeout(SOON_S):
        while await look() != wanted:  # noqa: ASYNC110 - as a client does
            await asyncio.sleep(0.05)


class Way(NamedTuple):
    """A way in, and how it ends."""

    headers: Headers
    end: Callable[[], Awaitable[httpx.Response | None]]


async def by_logout(live: Live, _root: Headers, _user: Any, pair: Any) -> Way:
    return Way(bearer(pair), lambda: live.http.post(f"{AUTH}/logout", headers=bearer(pair)))


async def by_another_password(live: Live, _root: Headers, _user: Any, pair: Any) -> Way:
    body = {"current_password": PASSWORD, "new_password": "another horse battery"}
    other = bearer(await login(live, "ann"))
    return Way(bearer(pair), lambda: live.http.post(f"{AUTH}/password", headers=other, json=body))


async def by_a_reset_of_the_password(live: Live, root: Headers, user: Any, pair: Any) -> Way:
    body = {"password": "another horse battery"}
    return Way(bearer(pair), lambda: live.http.patch(f"{API}/admin/user/{user['id']}", headers=root, json=body))


async def by_an_administrator(live: Live, root: Headers, user: Any, pair: Any) -> Way:
    body = {"disabled": True, "jobs": "finish"}
    return Way(bearer(pair), lambda: live.http.patch(f"{API}/admin/user/{user['id']}", headers=root, json=body))


async def by_a_refresh_token_sent_twice(live: Live, _root: Headers, _user: Any, pair: Any) -> Way:
    body = {"refresh_token": pair["refresh_token"]}
    renewed = await live.http.post(f"{AUTH}/refresh", json=body)

    async def again() -> None:
        assert (await live.http.post(f"{AUTH}/refresh", json=body)).status_code == 401

    return Way(bearer(renewed.json()), again)


async def by_one_login_too_many(live: Live, _root: Headers, user: Any, pair: Any) -> Way:
    async def end() -> None:
        async with live.resources.database.write() as db:
            for _ in range(logins.MOST):
                await logins.begin(db, owner_id=UUID(user["id"]), seconds=10**7)

    return Way(bearer(pair), end)


async def by_the_end_of_its_time(live: Live, _root: Headers, user: Any, _pair: Any) -> Way:
    async with live.resources.database.write() as db:
        begun = await logins.begin(db, owner_id=UUID(user["id"]), seconds=3)
    return Way({"Authorization": f"Bearer {jwt.access_token(live.resources.settings, begun)}"}, nothing)


async def by_a_revoked_key(live: Live, _root: Headers, _user: Any, pair: Any) -> Way:
    key = (await live.http.post(f"{AUTH}/key", headers=bearer(pair), json={"name": "Desk"})).json()
    return Way({"X-API-Key": key["key"]}, lambda: live.http.delete(f"{AUTH}/key/{key['id']}", headers=bearer(pair)))


async def by_a_key_of_the_disabled(live: Live, root: Headers, user: Any, pair: Any) -> Way:
    key = (await live.http.post(f"{AUTH}/key", headers=bearer(pair), json={"name": "Desk"})).json()
    return (await by_an_administrator(live, root, user, pair))._replace(headers={"X-API-Key": key["key"]})


async def by_the_end_of_a_key(live: Live, _root: Headers, _user: Any, pair: Any) -> Way:
    soon = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
    key = await live.http.post(f"{AUTH}/key", headers=bearer(pair), json={"name": "Desk", "expires_at": soon})
    return Way({"X-API-Key": key.json()["key"]}, nothing)


async def nothing() -> None:
    """It ends by itself."""


ENDS = [
    by_logout, by_another_password, by_a_reset_of_the_password, by_an_administrator, by_a_refresh_token_sent_twice,
    by_one_login_too_many, by_the_end_of_its_time, by_a_revoked_key, by_a_key_of_the_disabled, by_the_end_of_a_key,
]  # fmt: skip


async def assert_ends(live: Live, end: Callable[..., Awaitable[Way]]) -> None:
    root = await live.sign_in("root", role=UserRole.ADMIN)
    user = await register(live, "ann")
    pair = await login(live, "ann")
    live.http.headers.update(bearer(pair))
    session = (await live.session())["id"]
    job = await live.text(session)
    del live.http.headers["Authorization"]
    way = await end(live, root, user, pair)
    stage = Stage(live, way.headers, session, job)
    async with a_wait(stage) as waits, an_event_stream(stage) as streams:
        answer = await way.end()
        assert answer is None or answer.is_success, answer.text
        for how in (await waits(), await streams()):
            assert (how.status, how.code) == (401, "unauthorized")
    async with live.resources.database.read() as db:
        assert (await db.exec(select(Job.status))).all() == ["queued"], "a job is its user's, whatever submitted it"


@pytest.mark.parametrize("end", ENDS)
async def test_a_credential_ends_what_is_open(door: Live, end: Callable[..., Awaitable[Way]]) -> None:
    await assert_ends(door, end)


@pytest.mark.parametrize("stack", ["servers"], indirect=True)
@pytest.mark.parametrize("end", [by_logout, by_a_revoked_key, by_an_administrator])
async def test_it_does_so_while_redis_is_away(
    guarded_settings: Settings, audio_pool: AudioPool, end: Callable[..., Awaitable[Way]]
) -> None:
    with private(RedisServer) as redis:
        alone = guarded_settings.model_copy(update={"redis_url": SecretStr(redis.url)})
        async with live_parley(alone, audio_pool, work=False) as live:
            redis.stop()
            await assert_ends(live, end)


async def test_a_token_that_expires_lets_what_it_began_go_on(door: Live) -> None:
    pair = await user_of(door)
    door.http.headers.update(bearer(pair))
    job = await door.text((await door.session())["id"])
    async with door.resources.database.read() as db:
        (its_login,) = (await db.exec(select(Login))).all()
    short = {"Authorization": f"Bearer {jwt.access_token(door.resources.settings, its_login, seconds=1)}"}
    async with a_wait(Stage(door, short, "", job)) as waits:
        await until(lambda: status_of(door, short), 401)
        await asyncio.sleep(2 * CHECK_S)
        assert (await door.http.post(f"{job['links']['self']}/cancel")).status_code == 200
        assert await waits() == Ended(200)


async def status_of(live: Live, who: Headers) -> int:
    return (await live.http.get(f"{AUTH}/me", headers=who)).status_code


async def test_who_is_no_administrator_any_more_ends_nothing_that_is_one(door: Live) -> None:
    root, other = [await door.sign_in(name, role=UserRole.ADMIN) for name in ("root", "other")]
    user = await register(door, "ann")
    other_id = (await door.http.get(f"{AUTH}/me", headers=other)).json()["id"]
    door.http.headers.update(other)
    job = await door.text((await door.session())["id"])
    body = b'{"balance": "1000"}'
    headers = {**other, "Content-Type": "application/json", "Content-Length": str(len(body))}
    path = f"{API}/admin/user/{user['id']}"
    async with begun(door, "PATCH", path, headers, body[:-1]) as change, a_wait(Stage(door, other, "", job)) as waits:
        demoted = await door.http.patch(f"{API}/admin/user/{other_id}", headers=root, json={"role": "user"})
        assert demoted.status_code == 200
        how = await change.ended()
        assert (how.status, how.code) == (403, "insufficient_scope")
        assert (await door.http.post(f"{job['links']['self']}/cancel")).status_code == 200
        assert await waits() == Ended(200)
    assert (await door.http.get(path, headers=root)).json()["balance"] is None
