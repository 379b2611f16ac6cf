"""Idempotency-Key: one key creates one thing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlmodel import col, func, select, update

from shared.models import Agent, Blob, BlobStatus, IdempotencyKey, Job, Message, Session
from shared.sql.functions import db_now
from tests.conftest import SAMPLES
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live
from worker.context import open_worker
from worker.reconciler import sweep

NOTE = (SAMPLES / "en_13.flac").read_bytes()
OTHER_NOTE = (SAMPLES / "en_11_cbr_id3.mp3").read_bytes()
KEY = {"Idempotency-Key": "order-17"}
REPLAYED = "idempotent-replayed"

Send = Callable[..., Awaitable[httpx.Response]]


async def count(live: Live, table: Any) -> int:
    async with live.resources.database.read() as db:
        return (await db.exec(select(func.count()).select_from(table))).one()


async def sender(live: Live, noun: str) -> tuple[Send, Any]:
    """How to send a request of this kind, with its body altered if asked; and the table it adds a row to."""
    agent = await live.agent()
    session = await live.session(agent_id=agent["id"])

    async def send(*, other: bool = False, **headers: str) -> httpx.Response:
        word = "another" if other else "one"
        if noun == "voice":
            data = OTHER_NOTE if other else NOTE
            return await live.post_voice(session["id"], data, headers={**KEY, **headers})
        path, body = {
            "agent": ("agent", {"name": word}),
            "session": ("session", {"agent_id": agent["id"], "name": word}),
            "text": ("message/text", {"session_id": session["id"], "text": word}),
        }[noun]
        return await live.http.post(f"{API}/{path}", json=body, headers={**KEY, **headers})

    return send, {"agent": Agent, "session": Session}.get(noun, Job)


NOUNS = ("agent", "session", "text", "voice")


@pytest.mark.parametrize("noun", NOUNS)
async def test_sent_again_it_creates_nothing_and_shows_what_there_is(parley_without_worker: Live, noun: str) -> None:
    live = parley_without_worker
    send, table = await sender(live, noun)
    before = await count(live, table)
    first = await send()
    again = await send()
    assert first.status_code == again.status_code, again.text
    assert first.is_success
    assert first.json() == again.json()
    assert first.headers["location"] == again.headers["location"]
    assert (REPLAYED in first.headers, again.headers.get(REPLAYED)) == (False, "true")
    assert await count(live, table) == before + 1


@pytest.mark.parametrize("noun", NOUNS)
async def test_with_another_body_it_is_refused_and_changes_nothing(parley_without_worker: Live, noun: str) -> None:
    live = parley_without_worker
    send, table = await sender(live, noun)
    await send()
    before = await count(live, table)
    answer = await send(other=True)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert await count(live, table) == before


@pytest.mark.parametrize("noun", NOUNS)
async def test_a_hundred_at_once_create_one(parley_without_worker: Live, noun: str) -> None:
    live = parley_without_worker
    send, table = await sender(live, noun)
    before = await count(live, table)
    answers = await asyncio.gather(*(send() for _ in range(100)))
    assert {answer.status_code for answer in answers} == {202 if noun in {"text", "voice"} else 201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum(REPLAYED in answer.headers for answer in answers) == 99
    assert await count(live, table) == before + 1


async def test_a_replayed_upload_leaves_no_bytes(parley_without_worker: Live) -> None:
    live = parley_without_worker
    send, _ = await sender(live, "voice")
    await asyncio.gather(*(send() for _ in range(5)), send(other=True))
    async with live.resources.database.read() as db:
        assert [blob.status for blob in (await db.exec(select(Blob))).all()] == [BlobStatus.READY]
    assert len([path for path in (live.resources.settings.data_dir / "blobs").rglob("*") if path.is_file()]) == 1
    assert await count(live, Message) == 1


async def test_a_key_belongs_to_one_route(parley_without_worker: Live) -> None:
    live = parley_without_worker
    assert (await live.http.post(f"{API}/agent", json={"name": "one"}, headers=KEY)).status_code == 201
    agent = await live.agent()
    body = {"agent_id": agent["id"], "name": "one"}
    answer = await live.http.post(f"{API}/session", json=body, headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_refused_request_leaves_its_key_free(parley_without_worker: Live) -> None:
    live = parley_without_worker
    missing = {"agent_id": "01936b2e-0000-7000-8000-000000000000"}
    assert (await live.http.post(f"{API}/session", json=missing, headers=KEY)).status_code == 404
    real = {"agent_id": (await live.agent())["id"]}
    answer = await live.http.post(f"{API}/session", json=real, headers=KEY)
    assert answer.status_code == 201
    assert REPLAYED not in answer.headers


async def test_a_replay_is_under_its_own_prefer_and_shows_the_job_as_it_is_now(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(text="At seven."))
    send, _ = await sender(parley, "text")
    first = await send()
    assert first.status_code == 202
    waited = await send(Prefer="wait=20")
    assert (waited.status_code, waited.headers["preference-applied"], waited.headers[REPLAYED]) == (
        200,
        "wait=20",
        "true",
    )
    assert waited.json()["result"]["text"] == "At seven."
    assert (await send()).json()["status"] == "succeeded"
    assert fake.script.count("chat") == 1


async def test_a_replay_of_a_spoken_answer_is_the_sound(parley: Live) -> None:
    send, _ = await sender(parley, "voice")
    wanted = {"Prefer": "wait=30", "Accept": "audio/mpeg"}
    first, again = await send(**wanted), await send(**wanted)
    assert first.headers["content-type"] == again.headers["content-type"] == "audio/mpeg"
    assert first.content == again.content
    assert (REPLAYED in first.headers, again.headers[REPLAYED]) == (False, "true")


async def test_what_was_deleted_is_not_made_again(parley_without_worker: Live) -> None:
    live = parley_without_worker
    send, _ = await sender(live, "agent")
    await live.http.delete((await send()).headers["location"])
    assert (await send()).status_code == 404


async def test_a_key_is_forgotten_after_a_day(parley_without_worker: Live) -> None:
    live = parley_without_worker
    send, _ = await sender(live, "agent")
    first = await send()
    async with live.resources.database.write() as db:
        await db.exec(update(IdempotencyKey).values(created_at=db_now(-86_401)))
    again = await send(other=True)
    assert again.status_code == 201
    assert again.json()["id"] != first.json()["id"]
    assert (await send(other=True)).json()["id"] == again.json()["id"]  # and the day begins anew

    async with live.resources.database.write() as db:
        await db.exec(update(IdempotencyKey).values(created_at=db_now(-86_401)))
    young = await live.http.post(f"{API}/agent", json={"name": "one"}, headers={"Idempotency-Key": "young"})
    assert young.status_code == 201
    async with open_worker(live.resources.settings, live.resources.queue, live.resources.audio) as worker:
        await sweep(worker)
    async with live.resources.database.read() as db:
        assert (await db.exec(select(col(IdempotencyKey.key)))).all() == ["young"]


@pytest.mark.parametrize("key", ["", "with space", "é".encode().decode("latin-1"), "k" * 256])
async def test_a_key_is_one_printable_word(parley_without_worker: Live, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode("latin-1")}
    answer = await parley_without_worker.http.post(f"{API}/agent", json={"name": "one"}, headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"].lower() == "idempotency-key"
    assert await count(parley_without_worker, Agent) == 0


async def test_the_schema_names_the_key_on_every_post_that_creates(parley_without_worker: Live) -> None:
    schema = (await parley_without_worker.http.get(f"{API}/openapi.json")).json()
    creating = {
        path
        for path, operations in schema["paths"].items()
        for name in [p["name"] for p in operations.get("post", {}).get("parameters", [])]
        if name.lower() == "idempotency-key"
    }
    assert creating == {f"{API}/{path}" for path in ("agent", "session", "message/text", "message/voice")}
