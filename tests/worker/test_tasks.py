"""One job, when its worker has to go."""

from sqlmodel import select

from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.db import Database
from shared.models import Job, JobStatus
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import live_parley


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
