"""What a worker puts right when something was lost."""

import asyncio

import pytest
from sqlmodel import col, select, update

from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.models import LOCAL_USER_ID, Blob, BlobPurpose, BlobStatus, Job
from shared.redis.queue import QUEUE, Queue, open_redis
from shared.services import blob as blobs
from shared.sql.functions import db_now
from tests.conftest import SAMPLES
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live, live_parley
from tests.locks import database_locked
from worker.context import open_worker
from worker.main import serve
from worker.reconciler import Sight, sweep


@pytest.mark.parametrize("stack", ["servers"], indirect=True)
async def test_a_wiped_redis_loses_no_message(
    parley_without_worker: Live, settings: Settings, audio_pool: AudioPool
) -> None:
    live = parley_without_worker
    queued = [await live.text((await live.session())["id"]) for _ in range(5)]
    await live.resources.queue.redis.flushall()
    async with live.resources.database.write() as db:  # as if they had been sent a while ago
        await db.exec(update(Job).values(dispatched_at=db_now(-60)))
    stopping = asyncio.Event()
    assert settings.redis_url
    queue = Queue(open_redis(settings.redis_url.get_secret_value()))
    working = asyncio.create_task(serve(settings, queue, stopping=stopping, audio=audio_pool))
    for job in queued:
        assert (await live.done(job))["status"] == "succeeded"
    stopping.set()
    await working
    await queue.close()


async def test_bytes_of_a_deleted_session_are_swept(parley: Live, fake: FakeOpenAI) -> None:
    session = await parley.session()
    await parley.done(await parley.voice(session["id"], SAMPLES / "en_13.flac"))
    await parley.http.delete(f"{API}/session/{session['id']}")
    async with parley.resources.database.write() as db:
        tombstones = (await db.exec(select(Blob))).all()
        assert len(tombstones) >= 3
        await db.exec(update(Blob).values(updated_at=db_now(-blobs.TOMBSTONE_S - 1)))

    async with open_worker(parley.resources.settings, parley.resources.queue, parley.resources.audio) as worker:
        await sweep(worker)
    folder = parley.resources.settings.data_dir / "blobs"
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    async with parley.resources.database.read() as db:
        assert (await db.exec(select(Blob))).all() == []
    assert fake.script.count("chat") == 1


async def test_deleting_a_session_stops_its_running_job(parley: Live, fake: FakeOpenAI) -> None:
    session = await parley.session()
    fake.script.add("chat", Answer(delay_s=1.5))
    job = await parley.text(session["id"])
    await parley.running(job)
    await parley.http.delete(f"{API}/session/{session['id']}")
    other = await parley.session()
    assert (await parley.done(await parley.text(other["id"])))["status"] == "succeeded"
    assert (await parley.http.get(job["links"]["self"])).status_code == 404


def test_leases_are_judged_only_after_an_unbroken_look() -> None:
    """When SQL was away, or the machine asleep, the living come to renew before anybody takes their jobs."""
    sight = Sight(patience_s=5, gap_s=7)
    ticks = [sight.is_clear(now) for now in (100, 101, 104, 105, 106)]
    assert ticks == [False, False, False, True, True]
    sight.lost()
    assert [sight.is_clear(now) for now in (107, 111, 112)] == [False, False, True]
    assert [sight.is_clear(now) for now in (3_600, 3_604, 3_605)] == [False, False, True]  # it slept
    assert [sight.is_clear(now) for now in (50, 54, 55)] == [False, False, True]  # the clock was set back


async def test_a_database_away_for_longer_than_a_lease_costs_no_second_call(
    settings: Settings, audio_pool: AudioPool, fake: FakeOpenAI
) -> None:
    """The worker comes to renew and to save before its own, or any, reconciler takes the job."""
    short = settings.model_copy(update={"lease_s": 2.0, "reconcile_s": 0.2})
    fake.script.add("chat", Answer(delay_s=0.5))
    async with live_parley(short, audio_pool) as live:
        job = await live.text((await live.session())["id"])
        await live.running(job)
        async with database_locked(short.embedded_database_url):
            await asyncio.sleep(6)
        job = await live.done(job)
    assert (job["status"], job["attempt"]) == ("succeeded", 1)
    assert fake.script.count("chat") == 1


async def test_a_blob_that_can_not_be_deleted_keeps_nobody_waiting(parley: Live) -> None:
    async with parley.resources.database.write() as db:
        stuck, *others = [
            await blobs.add(db, owner_id=LOCAL_USER_ID, session_id=None, purpose=BlobPurpose.UPLOAD) for _ in range(3)
        ]
    for blob in others:
        await parley.resources.blobs.put(blob.key, b"sound")
    folder = parley.resources.settings.data_dir / "blobs"
    (folder / stuck.key / "something").mkdir(parents=True)  # no file, so it can't be removed as one
    async with parley.resources.database.write() as db:
        old = {"status": BlobStatus.DELETED, "updated_at": db_now(-blobs.TOMBSTONE_S - 1)}
        await db.exec(update(Blob).values(**old))
        await db.exec(update(Blob).where(col(Blob.id) == stuck.id).values(updated_at=db_now(-blobs.TOMBSTONE_S)))
    async with open_worker(parley.resources.settings, parley.resources.queue, parley.resources.audio) as worker:
        await sweep(worker)
    async with parley.resources.database.read() as db:
        assert (await db.exec(select(Blob.id))).all() == [stuck.id]


async def test_an_entry_that_is_not_ours_ends_no_worker(parley: Live) -> None:
    redis = parley.resources.queue.redis
    await redis.zadd(QUEUE, {"foreign": 1})
    for _ in range(200):
        if not await redis.zcard(QUEUE):
            break
        await asyncio.sleep(0.05)
    assert not await redis.zcard(QUEUE)
    job = await parley.done(await parley.text((await parley.session())["id"]))
    assert job["status"] == "succeeded"


@pytest.mark.parametrize("stack", ["servers"], indirect=True)
async def test_told_to_stop_while_it_starts_it_stops(settings: Settings, audio_pool: AudioPool) -> None:
    """A cancel that arrives while redis-py opens a connection may be taken for that connection's own timeout."""
    for _ in range(10):
        async with asyncio.timeout(20), live_parley(settings, audio_pool):
            pass
