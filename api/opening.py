"""Opening and closing what an API process stands on. Nothing is started before its closing is registered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from api.auth.first_admin import make_first_admin
from api.usecases.admission import Admission
from api.usecases.batching import JobReader, Submits, Uploads
from api.usecases.model_retirement import Retirements
from api.usecases.readiness import ReadinessCheck
from api.usecases.resources import Resources
from api.usecases.wait import look_again_forever
from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.errors import Unavailable
from shared.passwords import Passwords
from shared.process.cancellation import end
from shared.process.loop_lag import LoopLag
from shared.redis.queue import Queue, open_redis
from shared.redis.rate_limits import RateLimits
from shared.redis.wakes import JobWakes
from shared.services.cost_estimate import PriceBook
from shared.services.job.transitions import Budget
from shared.sql.database import Database
from shared.storage import Storage
from shared.user_limits import UserLimits

START_S = 5.0  # how long the start waits for SQL to have the first administrator

log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_resources(
    settings: Settings, queue: Queue | None = None, audio: AudioPool | None = None
) -> AsyncIterator[Resources]:
    """Open what the settings name, but for what the caller shares with others and closes itself."""
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url else None
    async with AsyncExitStack() as stack:
        if queue is None:
            queue = Queue(open_redis(redis_url))
            stack.push_async_callback(queue.close)
        database = Database(settings.embedded_database_url, queue.after_commit)
        stack.push_async_callback(database.close)
        limits = RateLimits(redis_url)
        stack.push_async_callback(limits.close)
        resources = _compose(
            settings, database, queue, limits, await _open_audio(stack, audio), await _open_watchers(stack, queue)
        )
        stack.push_async_callback(_see_through, resources.discarding)
        stack.push_async_callback(resources.readiness.close)
        await _start(stack, resources)
        yield resources


async def _open_audio(stack: AsyncExitStack, audio: AudioPool | None) -> AudioPool:
    if audio is None:
        audio = AudioPool()
        stack.push_async_callback(audio.close)
    stack.push_async_callback(end, asyncio.create_task(_warm(audio)))
    return audio


async def _open_watchers(stack: AsyncExitStack, queue: Queue) -> tuple[LoopLag, JobWakes]:
    lag, events = LoopLag(), JobWakes(queue.redis, queue.outage)
    for watcher in (lag, events):
        stack.push_async_callback(watcher.close)
        watcher.start()
    return lag, events


def _compose(
    settings: Settings,
    database: Database,
    queue: Queue,
    limits: RateLimits,
    audio: AudioPool,
    watchers: tuple[LoopLag, JobWakes],
) -> Resources:
    lag, events = watchers
    admission = Admission(settings.max_unfinished_jobs)
    budget = Budget(settings.max_attempts, settings.job_deadline, PriceBook.of(settings))
    retirements = Retirements(budget.tariff, database)
    blobs = Storage(settings.embedded_blob_url)
    return Resources(
        settings=settings,
        database=database,
        jobs=JobReader(database),
        submits=Submits(database, admission, budget),
        uploads=Uploads(database),
        queue=queue,
        events=events,
        blobs=blobs,
        audio=audio,
        admission=admission,
        lag=lag,
        budget=budget,
        retirements=retirements,
        readiness=ReadinessCheck(database, queue, blobs, retirements),
        passwords=Passwords(),
        limits=limits,
        user_limits=UserLimits(limits),
        discarding=set(),
    )


async def _start(stack: AsyncExitStack, resources: Resources) -> None:
    """Begin what runs beside the requests; with SQL there, the first administrator is made before the first one."""
    looking = asyncio.create_task(look_again_forever(resources))
    stack.push_async_callback(end, looking)
    warning = asyncio.gather(resources.retirements.warnings(), return_exceptions=True)  # logged, if SQL is there
    stack.push_async_callback(end, warning)
    making = asyncio.create_task(make_first_admin(resources))
    stack.push_async_callback(end, making)
    marking = asyncio.create_task(resources.readiness.stores["blobs"].answer())  # a new blob store gets its mark
    stack.push_async_callback(end, marking)
    await asyncio.wait({making, marking}, timeout=START_S)


async def _see_through(discarding: set["asyncio.Task[None]"]) -> None:
    await asyncio.gather(*discarding, return_exceptions=True)


async def _warm(audio: AudioPool) -> None:
    try:
        await audio.warm()
    except Unavailable as error:  # texts are taken all the same, and uploads told to come back
        log.warning("audio.not_started", why=str(error.__cause__ or error))
