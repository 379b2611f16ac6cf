"""A worker's life: open what it needs, serve the queue, reconcile, and go in good order."""

import asyncio

import structlog
from arq.worker import func

from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.errors import Unavailable
from shared.process.cancellation import end
from shared.redis.queue import QUEUE, TASK, Queue
from shared.redis.rate_limits import RateLimits
from shared.services import worker as workers
from shared.sql.database import Database
from worker.context import WorkerContext, open_worker
from worker.queue_loop import QueueLoop
from worker.reconciler import reconcile_forever, sweep_forever
from worker.run_job import run_job
from worker.warm import warm

NEVER = 10**9
ROUND_S = 2.0  # for what reconciles to end its round: cut off while it opens, a connection is never closed

log = structlog.get_logger(__name__)


def make_loop(worker: WorkerContext) -> QueueLoop:
    """The queue's side of a worker. Retries, timeouts and results are SQL's business, never arq's."""
    return QueueLoop(
        worker.queue.outage,
        functions=[func(run_job, name=TASK, keep_result=0, timeout=NEVER, max_tries=NEVER)],
        redis_pool=worker.queue.redis,
        queue_name=QUEUE,
        job_serializer=worker.queue.redis.job_serializer,
        job_deserializer=worker.queue.redis.job_deserializer,
        max_jobs=worker.settings.worker_concurrency,
        health_check_interval=NEVER,
        ctx={"worker": worker},
    )


async def serve(
    settings: Settings,
    queue: Queue,
    *,
    stopping: asyncio.Event,
    audio: AudioPool | None = None,
    database: Database | None = None,
    limits: RateLimits | None = None,
) -> None:
    """Work until `stopping` is set; then finish, or hand back, what runs. Standalone shares what the API has.

    Raises StartupError when something that every job needs can't be loaded.
    """
    async with open_worker(settings, queue, audio, database, limits) as worker:
        if not await _is_warm(worker, stopping):
            return
        loop = make_loop(worker)
        parts = [asyncio.create_task(part) for part in (loop.main(), reconcile_forever(worker), sweep_forever(worker))]
        stop = asyncio.create_task(stopping.wait())
        log.info("worker.started", worker=str(worker.id), concurrency=settings.worker_concurrency)
        try:
            await asyncio.wait([stop, *parts], return_when=asyncio.FIRST_COMPLETED)
            await loop.drain(settings.shutdown_grace)
        finally:
            worker.closing.set()
            worker.due.set()
            await asyncio.wait(parts[1:], timeout=ROUND_S)
            await end(stop, *parts)
            ended = await asyncio.gather(*parts, return_exceptions=True)
            await _leave(worker)
        for error in ended:
            if isinstance(error, Exception):
                raise error
        log.info("worker.stopped", worker=str(worker.id))


async def _is_warm(worker: WorkerContext, stopping: asyncio.Event) -> bool:
    """Load what jobs need; False when the worker was told to stop meanwhile."""
    stop, warming = asyncio.create_task(stopping.wait()), asyncio.create_task(warm(worker.audio, worker.models))
    try:
        await asyncio.wait([stop, warming], return_when=asyncio.FIRST_COMPLETED)
        if warming.done():
            await warming
    finally:
        await end(stop, warming)
    return not stopping.is_set()


async def _leave(worker: WorkerContext) -> None:
    try:
        async with worker.database.write() as db:
            await workers.leave(db, worker_id=worker.id)
    except Unavailable:
        log.warning("worker.not_signed_off")  # its heartbeat goes stale by itself
