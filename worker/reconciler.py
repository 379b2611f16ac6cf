"""What keeps the promise when something breaks: every worker looks, once a second, at what SQL says is left to do."""

import asyncio
import random
import time

import structlog

from shared.errors import AppError
from shared.services import blob as blobs
from shared.services import job as jobs
from shared.services import worker as workers
from worker.state import Worker

BEAT_S = 5.0
SWEEP_S = 10.0

log = structlog.get_logger(__name__)


async def reconcile_forever(worker: Worker) -> None:
    """Reconcile each `RECONCILE_S`, with jitter, until cancelled; nothing that goes wrong ends it."""
    beat_at = sweep_at = 0.0
    while True:
        now = time.monotonic()
        try:
            if now >= beat_at:
                async with worker.database.write() as db:
                    await workers.beat(db, worker_id=worker.id, host=worker.host, pid=worker.pid)
                beat_at = now + BEAT_S
            await reconcile(worker)
            if now >= sweep_at:
                await sweep_blobs(worker)
                sweep_at = now + SWEEP_S
        except AppError as error:
            log.warning("reconciler.store_away", code=error.code)
        except Exception:  # the loop must not die
            log.exception("reconciler.broke")
        await asyncio.sleep(worker.settings.reconcile_s * random.uniform(0.8, 1.2))  # noqa: S311 - not for secrets


async def reconcile(worker: Worker) -> None:
    """Take back lost leases, end what is overdue, dispatch what is due. Any number may run at once."""
    for rule in (jobs.reclaim_lost, jobs.expire_overdue, jobs.dispatch_due, blobs.give_up):
        async with worker.database.write() as db:
            count = await rule(db)
        if count:
            log.info("reconciler.acted", rule=rule.__name__, rows=count)


async def sweep_blobs(worker: Worker) -> None:
    """Remove the bytes of tombstones, then their rows. The store is never listed."""
    async with worker.database.read() as db:
        found = await blobs.sweepable(db)
    for _, key in found:
        await worker.blobs.delete(key)
    if found:
        async with worker.database.write() as db:
            await blobs.forget(db, [blob_id for blob_id, _ in found])
