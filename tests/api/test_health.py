"""What the health routes say."""

import asyncio
import time
from typing import Any

import pytest
from pydantic import SecretStr

from api.doors.v1.routes.health import SLOW_LOOP_MS
from shared.audio.pool import AudioPool
from shared.config import Settings
from tests.live import Live, live_parley


async def test_a_process_that_answers_is_healthy(parley: Live) -> None:
    doors = {"auth": "off", "registration": "open"}
    healthy = {"status": "healthy", "version": "0.1.0", **doors, "max_upload_mb": 25.0, "max_audio_s": 600.0}
    for path in ("/health", "/health/live"):
        answer = await parley.http.get(path)
        assert (answer.status_code, answer.json()) == (200, healthy)


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
async def test_whoever_asks_is_told_how_to_come_in(guarded_settings: Settings, audio_pool: AudioPool) -> None:
    closed = guarded_settings.model_copy(update={"registration": "closed"})
    async with live_parley(closed, audio_pool, work=False) as live:
        body = (await live.http.get("/health")).json()
        assert (body["auth"], body["registration"]) == ("on", "closed")


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
async def test_whoever_asks_is_told_how_large_and_long_a_voice_note_may_be(
    settings: Settings, audio_pool: AudioPool
) -> None:
    small = settings.model_copy(update={"max_upload_mb": 0.5, "max_audio_s": 2.0})
    async with live_parley(small, audio_pool, work=False) as live:
        body = (await live.http.get("/health")).json()
        assert (body["max_upload_mb"], body["max_audio_s"]) == (0.5, 2.0)


async def says(live: Live, *reasons: str) -> dict[str, Any]:
    """Wait until these are all reasons not to be ready: a worker needs a moment, and a busy machine holds up the loop."""
    body: dict[str, Any] = {}
    while body.get("reasons") != list(reasons):
        await asyncio.sleep(0.05)
        answer = await live.http.get("/health/ready")
        assert answer.status_code == 200
        body = answer.json()
    return body


async def test_readiness_counts_the_workers(parley: Live) -> None:
    body = await says(parley)
    assert body["workers"]
    assert body["status"] == "ready"
    assert body["checks"] == {"sql": True, "blobs": True, "redis": True}


async def test_without_a_worker_it_is_degraded_and_still_accepts(parley_without_worker: Live) -> None:
    session = await parley_without_worker.session()
    await parley_without_worker.text(session["id"])
    body = await says(parley_without_worker, "no live worker")
    assert body["status"] == "degraded"
    assert body["oldest_queued_s"] >= 0


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
async def test_with_redis_away_submits_are_accepted_and_it_says_so(settings: Settings, audio_pool: AudioPool) -> None:
    away = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    async with live_parley(away, audio_pool, work=False, clean_queue=False) as live:
        job = await live.text((await live.session())["id"])
        assert job["status"] == "queued"
        answer = await live.http.get("/health/ready")
        assert answer.status_code == 200
        assert "redis is away" in answer.json()["reasons"]


async def test_a_loop_that_is_held_up_shows(parley_without_worker: Live) -> None:
    told = "the event loop is held up"
    before = (await parley_without_worker.http.get("/health/ready")).json()
    assert (told in before["reasons"]) == (before["loop_lag_ms"] > SLOW_LOOP_MS)
    await asyncio.sleep(0)
    held_up_ms = before["loop_lag_ms"] + SLOW_LOOP_MS
    time.sleep(held_up_ms / 1_000 + 0.3)  # noqa: ASYNC251 - blocking is the point
    await asyncio.sleep(0.2)
    body = (await parley_without_worker.http.get("/health/ready")).json()
    assert body["loop_lag_ms"] > held_up_ms
    assert told in body["reasons"]
    assert body["status"] == "degraded"
