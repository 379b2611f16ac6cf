"""What keeps the promise when something breaks: every worker looks, once a second, at what SQL says is left to do."""

import asyncio
import random
import time
from contextlib import suppress

import structlog

from shared.errors import AppError, Unavailable
from shared.services import blob as blobs
from shared.services import fairness
from shared.services import idempotency as keys
from shared.services import login as logins
from shared.services import worker as workers
from shared.services.job import reaper
from shared.sql.functions import off_the_loop
from worker import health
from worker.context import WorkerContext

BEAT_S = 5.0
SWEEP_S = 10.0
SWEEP_LIMIT = 100

log = structlog.get_logger(__name__)


async def reconcile_forever(worker: WorkerContext) -> None:
    """Reconcile each `RECONCILE_S`, with jitter, and when a retry is due, until cancelled; nothing else ends it."""
    beat_at = 0.0
    renewal_s = worker.settings.lease_s / 3
    sight = Sight(patience_s=renewal_s, gap_s=renewal_s + 2 * worker.settings.reconcile_s)
    while not worker.closing.is_set():
        worker.due.clear()
        now = time.monotonic()
        try:
            is_due = now >= beat_at
            if is_due:
                async with worker.database.write() as db:
                    await workers.beat(db, worker_id=worker.id, host=worker.host, pid=worker.pid)
                beat_at = now + BEAT_S
            await reconcile(worker, reclaim=sight.is_clear(time.time()))
            if is_due:
                _note_health()
        except AppError as error:
            sight.lost()
            log.debug("reconciler.store_away", code=error.code)
        except Exception:  # the loop must not die
            log.exception("reconciler.broke")
        with suppress(TimeoutError):
            async with asyncio.timeout(worker.settings.reconcile_s * random.uniform(0.8, 1.2)):  # noqa: S311 - not for secrets
                await worker.due.wait()


def _note_health() -> None:
    try:
        health.beat()
    except OSError as error:
        log.warning("health.not_noted", error=error.strerror)


class Sight:
    """Whether this process has watched SQL long enough, without a gap, to call a lease lost.

    When the database was away, or this machine asleep, the leases of the living ran out too: each gets
    `patience_s`, in which every worker renews once, before anybody takes its jobs and pays for them again.
    """

    def __init__(self, *, patience_s: float, gap_s: float) -> None:
        self._patience_s = patience_s
        self._gap_s = gap_s
        self._since: float | None = None
        self._last = 0.0

    def lost(self) -> None:
        """SQL could not be asked."""
        self._since = None

    def is_clear(self, now: float) -> bool:
        """Note that SQL is asked at `now`, in seconds of a clock that does not stop while the machine sleeps."""
        if self._since is None or not 0 <= now - self._last <= self._gap_s:
            self._since = now
        self._last = now
        return now - self._since >= self._patience_s


async def reconcile(worker: WorkerContext, *, reclaim: bool = True) -> None:
    """Take back lost leases if `reclaim`, end what is overdue, dispatch what is due. Any number may run at once."""
    rules = [reaper.expire_overdue, reaper.dispatch_due, blobs.give_up]
    if worker.settings.auth == "on":
        rules.append(fairness.lead_every)
    for rule in (reaper.reclaim_lost, *rules) if reclaim else rules:
        async with worker.database.write() as db:
            await off_the_loop(db)
            count = await rule(db)
        if count:
            log.info("reconciler.acted", rule=rule.__name__, rows=count)


async def sweep_forever(worker: WorkerContext) -> None:
    """Sweep each `SWEEP_S` until cancelled: beside the reconciler, which never waits for the blob store."""
    while not worker.closing.is_set():
        try:
            while await sweep(worker):
                pass
        except AppError as error:
            log.debug("sweep.store_away", code=error.code)
        except Exception:  # the loop must not die
            log.exception("sweep.broke")
        with suppress(TimeoutError):
            async with asyncio.timeout(SWEEP_S * random.uniform(0.8, 1.2)):  # noqa: S311 - not for secrets
                await worker.closing.wait()


async def sweep(worker: WorkerContext) -> bool:
    """Remove the bytes of tombstones, then their rows, old idempotency keys and logins; whether there may be more.

    The store is never listed. What it does not let go of is tried again at the next sweep.
    """
    async with worker.database.write() as db:
        await off_the_loop(db)
        await keys.forget_old(db)
        await logins.forget_expired(db)
    async with worker.database.read() as db:
        await off_the_loop(db)
        found = await blobs.sweepable(db, limit=SWEEP_LIMIT)
    gone = []
    for blob_id, key in found:
        try:
            await worker.blobs.delete(key)
            gone.append(blob_id)
        except Unavailable as error:
            log.warning("sweep.not_deleted", blob=str(blob_id), code=error.code)
            if len(gone) == 0:
                break  # the store is away
    if gone:
        async with worker.database.write() as db:
            await off_the_loop(db)
            await blobs.purge(db, gone)
    return len(gone) == SWEEP_LIMIT
