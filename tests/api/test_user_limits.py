"""What one user may do in a while, over HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlmodel import col, func, select

from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.models import Blob, Job, User
from tests.conftest import SAMPLES
from tests.live import API, Live, live_parley

NOTE = (SAMPLES / "en_13.flac").read_bytes()
MINUTE_S = 60
ENOUGH_S = 10  # for a test about a minute


@pytest.fixture
async def limited(guarded_settings: Settings, audio_pool: AudioPool, stack: str) -> AsyncIterator[Live]:
    """A Parley without a worker whose users have limits, unless they have others of their own."""
    if stack == "embedded" and (left := MINUTE_S - time.time() % MINUTE_S) < ENOUGH_S:
        await asyncio.sleep(left)  # memory's minutes are the clock's
    changes = {"user_requests_per_minute": 1_000, "user_audio_minutes_per_day": 1, "user_tokens_per_day": 1_000}
    async with live_parley(guarded_settings.model_copy(update=changes), audio_pool, work=False) as live:
        yield live


async def sign_in(live: Live, name: str, **fields: Any) -> UUID:
    """Ask as this new user from now on."""
    live.http.headers.update(await live.sign_in(name, **fields))
    async with live.resources.database.read() as db:
        return (await db.exec(select(User.id).where(User.username == name))).one()


async def count(live: Live, table: type[Blob | Job]) -> int:
    async with live.resources.database.read() as db:
        return (await db.exec(select(func.count(col(table.id))))).one()


def assert_limited(answer: httpx.Response, what: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited"), answer.text
    assert what in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-type"] == "application/problem+json"


async def test_requests_a_minute(limited: Live) -> None:
    live = limited
    await sign_in(live, "ann", requests_per_minute=3)
    answers = [await live.http.get(f"{API}/{path}") for path in ("agent", "nowhere", "job/no-id", "agent", "agent")]
    assert [answer.status_code for answer in answers] == [200, 404, 422, 429, 429]
    assert_limited(answers[-1], "3 requests a minute")
    assert int(answers[-1].headers["retry-after"]) <= 2 * MINUTE_S
    await sign_in(live, "bob", requests_per_minute=3)
    assert (await live.http.get(f"{API}/agent")).status_code == 200


async def test_a_bad_token_is_one_whatever_the_limits_say(limited: Live) -> None:
    await sign_in(limited, "ann", requests_per_minute=1)
    await limited.http.get(f"{API}/agent")
    assert (await limited.http.get(f"{API}/agent")).status_code == 429
    bad = {"Authorization": limited.http.headers["Authorization"] + "x"}
    assert (await limited.http.get(f"{API}/agent", headers=bad)).status_code == 401


async def test_the_limit_comes_before_the_body(limited: Live) -> None:
    await sign_in(limited, "ann", requests_per_minute=1)
    await limited.http.get(f"{API}/agent")
    url = limited.http.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        f"POST {API}/message/voice HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n"
        f"Authorization: {limited.http.headers['Authorization']}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode()
    )
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)  # not one byte of the body was sent
    writer.close()
    assert b" 429 " in answer


async def test_waiting_and_following_are_one_request(limited: Live) -> None:
    live = limited
    await sign_in(live, "ann", requests_per_minute=6)
    job = await live.text((await live.session())["id"])  # the third request
    answer = await live.http.get(job["links"]["self"], headers={"Prefer": "wait=1"})
    assert answer.status_code == 200
    async with live.http.stream("GET", job["links"]["events"]) as stream:
        assert stream.status_code == 200
        assert await anext(stream.aiter_lines()) == "event: status"
    assert (await live.http.get(job["links"]["self"])).status_code == 200
    assert (await live.http.get(job["links"]["self"])).status_code == 429


async def test_sound_a_day_is_counted_when_it_is_known_and_nothing_is_made_of_what_is_too_much(limited: Live) -> None:
    live = limited
    await sign_in(live, "ann")
    session = (await live.session())["id"]
    first = await live.post_voice(session, NOTE)
    assert first.status_code == 202, first.text
    async with live.resources.database.read() as db:
        seconds = (await db.exec(select(Blob.duration_s))).one() or 0.0
    room = int(MINUTE_S // -(-seconds // 1))
    for _ in range(room - 1):
        assert (await live.post_voice(session, NOTE)).status_code == 202
    assert (await live.post_voice(session, b"this is no sound")).status_code == 415  # told, and not counted
    for _ in range(2):
        assert_limited(await live.post_voice(session, NOTE), "1 minutes of voice notes a day")
    assert await count(live, Job) == room
    assert await count(live, Blob) == room
    assert (await live.http.post(f"{API}/message/text", json={"session_id": session, "text": "x"})).status_code == 202


async def test_sound_sent_again_under_its_key_is_not_counted(limited: Live) -> None:
    live = limited
    await sign_in(live, "ann")
    session = (await live.session())["id"]
    key = {"Idempotency-Key": "note-1"}
    first = await live.post_voice(session, NOTE, headers=key)
    answers = [await live.post_voice(session, NOTE, headers=key) for _ in range(30)]
    assert {answer.json()["id"] for answer in answers} == {first.json()["id"]}
    assert (await live.post_voice(session, NOTE[:-1] + b"x", headers=key)).status_code == 422
    number = 1
    while (answer := await live.post_voice(session, NOTE, headers={"Idempotency-Key": f"new-{number}"})).is_success:
        number += 1
    assert number > 2, "what was sent again was counted"
    assert_limited(answer, "minutes")
    again = await live.post_voice(session, NOTE, headers=key)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])  # the limit is no reason to refuse it


async def test_a_note_that_is_not_taken_in_is_given_back(limited: Live) -> None:
    live = limited
    await sign_in(live, "bob")
    others = (await live.session())["id"]
    await sign_in(live, "ann")
    session = (await live.session())["id"]
    for _ in range(30):
        assert (await live.post_voice(others, NOTE)).status_code == 404
    assert (await live.post_voice(session, NOTE)).status_code == 202


async def test_tokens_a_day_are_checked_at_every_submit(limited: Live) -> None:
    live = limited
    ann = await sign_in(live, "ann")
    session = (await live.session())["id"]
    said = {"session_id": session, "text": "When is breakfast?"}
    key = {"Idempotency-Key": "said-1"}
    first = await live.http.post(f"{API}/message/text", json=said, headers=key)
    await live.resources.user_limits.tokens_used(ann, 999)
    assert (await live.http.post(f"{API}/message/text", json=said)).status_code == 202
    await live.resources.user_limits.tokens_used(ann, 500)
    jobs = await count(live, Job)
    for answer in (
        await live.http.post(f"{API}/message/text", json=said),
        await live.http.post(f"{API}/message/text", json=said, headers={"Idempotency-Key": "said-2"}),
        await live.post_voice(session, NOTE),
        await live.post_voice(session, NOTE, headers={"Idempotency-Key": "said-3"}),
        await live.http.post(f"{first.json()['links']['self']}/retry"),
    ):
        assert_limited(answer, "1000 tokens a day")
    assert await count(live, Job) == jobs
    again = await live.http.post(f"{API}/message/text", json=said, headers=key)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert (await live.http.get(f"{API}/job")).status_code == 200
    await sign_in(live, "bob")
    assert (await live.text((await live.session())["id"]))["status"] == "queued"


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
async def test_nobody_is_limited_without_accounts(settings: Settings, audio_pool: AudioPool) -> None:
    low = {"user_requests_per_minute": 1, "user_audio_minutes_per_day": 1, "user_tokens_per_day": 1}
    async with live_parley(settings.model_copy(update=low), audio_pool, work=False) as live:
        session = (await live.session())["id"]
        for _ in range(20):
            assert (await live.post_voice(session, NOTE)).status_code == 202
