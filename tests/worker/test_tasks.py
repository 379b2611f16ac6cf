"""One job, when its worker has to go, or can't read it."""

import asyncio

from sqlmodel import select

from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.models import Job, JobStatus
from shared.process.cancellation import end
from shared.sql.database import Database
from tests.factories import make_job
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import live_parley
from tests.locks import database_locked
from worker.context import WorkerContext
from worker.run_job import run_job


async def stop_in_the_middle(settings: Settings, audio_pool: AudioPool, fake: FakeOpenAI, *, cancel: bool) -> Job:
    """Stop a worker without any grace while it waits for the model; its job afterwards."""
    fake.script.add("chat", Answer(delay_s=5))
    async with live_parley(settings.model_copy(update={"shutdown_grace": 0.0}), audio_pool) as live:
        job = await live.text((await live.session())["id"])
        await live.running(job)
        if cancel:
            assert (await live.http.post(job["links"]["cancel"])).json()["status"] == "cancelling"
    database = Database(settings.embedded_database_url)
    async with database.read() as db:
        stored = (await db.exec(select(Job))).one()
    await database.close()
    return stored


async def test_a_stopped_worker_hands_its_job_back_unused(
    settings: Settings, audio_pool: AudioPool, fake: FakeOpenAI
) -> None:
    job = await stop_in_the_middle(settings, audio_pool, fake, cancel=False)
    assert (job.status, job.attempts_left, job.lease_token) == (JobStatus.QUEUED, settings.max_attempts, None)


async def test_a_cancel_is_not_forgotten_when_the_worker_stops(
    settings: Settings, audio_pool: AudioPool, fake: FakeOpenAI
) -> None:
    job = await stop_in_the_middle(settings, audio_pool, fake, cancel=True)
    assert job.status == JobStatus.CANCELLED


async def stored(worker: WorkerContext) -> Job:
    async with worker.database.read() as db:
        return (await db.exec(select(Job))).one()


async def test_a_worker_that_is_stopped_while_it_claims_hands_the_job_back_unused(
    worker: WorkerContext, settings: Settings
) -> None:
    async with worker.database.write() as db:
        job = await make_job(db)
    async with database_locked(str(settings.embedded_database_url)):
        running = asyncio.create_task(run_job({"worker": worker}, str(job.id)))
        await asyncio.sleep(0.3)
        stopping = asyncio.create_task(end(running))  # which cancels it again and again
        await asyncio.sleep(0.5)
    await stopping
    job = await stored(worker)
    assert (job.status, job.attempts_left, job.lost_leases) == (JobStatus.QUEUED, settings.max_attempts, 0)
    assert (job.attempt, job.lease_token) == (1, None)


async def test_a_turn_that_cannot_be_read_fails_and_does_not_come_back(worker: WorkerContext) -> None:
    async with worker.database.write() as db:
        job = await make_job(db)
        connection = await db.connection()
        await connection.exec_driver_sql("UPDATE message SET kind = 'nonsense'")
    await run_job({"worker": worker}, str(job.id))
    job = await stored(worker)
    assert job.status == JobStatus.FAILED
    assert (job.error or {})["code"] == "internal"
