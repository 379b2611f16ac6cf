"""Saving what was paid for, however long the database is away."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import structlog
from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.errors import Unavailable
from shared.models import Blob
from shared.services import blob as blobs
from shared.services.job.lease import CancelRequestedError, LeaseLostError
from worker.context import WorkerContext

T = TypeVar("T")

PAUSE_S = (0.25, 2.0)
PUTS = 4

log = structlog.get_logger(__name__)


async def save(worker: WorkerContext, rule: Callable[[AsyncSession], Awaitable[T]]) -> T:
    """Commit `rule`, a fenced write; when SQL is away, again and again: only the fence says whether it is too late.

    Raises Unavailable when an earlier try was committed after all: the next attempt finds its rows.
    """
    pause_s = PAUSE_S[0]
    away = False
    while True:
        try:
            async with worker.database.write() as db:
                return await rule(db)
        except Unavailable as error:
            away = True
            log.warning("save.store_away", code=error.code)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_S[1])
        except IntegrityError as error:
            if not away:
                raise
            raise Unavailable("The database was away while this was saved.") from error


async def put(worker: WorkerContext, key: str, sound: bytes) -> None:
    """Store sound that was paid for, trying again for some seconds; raises Unavailable after that."""
    for pause_s in (*(PAUSE_S[0] * 2**n for n in range(PUTS - 1)), None):
        try:
            await worker.blobs.put(key, sound)
        except Unavailable as error:
            if pause_s is None:
                raise
            log.warning("save.blobs_away", code=error.code)
            await asyncio.sleep(pause_s)
        else:
            return


async def keep(worker: WorkerContext, blob: Blob, rule: Callable[[AsyncSession], Awaitable[T]]) -> T:
    """`save` what makes stored sound visible; when the job is not ours any more, its bytes go.

    A worker that stalled for long may have stored them when their row, and its tombstone, were gone.
    """
    try:
        return await save(worker, rule)
    except (LeaseLostError, CancelRequestedError):
        with suppress(Unavailable):
            async with worker.database.read() as db:
                visible = bool(await blobs.ready_among(db, [blob.id]))  # an earlier try was committed after all
            if not visible:
                await worker.blobs.delete(blob.key)
        raise
