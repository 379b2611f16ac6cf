"""Waiting for a job (RFC 7240 `Prefer: wait`): no database connection is held meanwhile, and nothing is cancelled."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import suppress
from math import inf
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Response

from api.state import Stores
from shared.services.job_view import JobView

MAX_WAIT_S = 60
LOOK_AGAIN_S = 10.0  # Redis only wakes: what a worker could not tell is found in SQL
AWAY_S = 2.0  # how often SQL is asked while nobody can be told anything
POLL_S = 1


async def get_wait(
    prefer: Annotated[
        str | None, Header(description="`wait=N`: hold the answer up to N ≤ 60 seconds.", examples=["wait=30"])
    ] = None,
) -> int:
    """Seconds to wait, from `Prefer`; 0 when it asks for none."""
    found = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})", prefer or "", re.IGNORECASE | re.ASCII)
    return min(int(found[1]), MAX_WAIT_S) if found else 0


Wait = Annotated[int, Depends(get_wait)]


async def wait_for_job(stores: Stores, *, owner_id: UUID, job_id: UUID, seconds: float) -> JobView:
    """The job when it has ended, or as it is after `seconds`; raises NotFound, also when it is deleted meanwhile."""
    if not seconds:
        return await stores.jobs.get(owner_id=owner_id, job_id=job_id)
    views = watch_job(stores, owner_id=owner_id, job_id=job_id, seconds=seconds, for_end=True)
    return [view async for view in views][-1]


async def watch_job(
    stores: Stores, *, owner_id: UUID, job_id: UUID, seconds: float = inf, for_end: bool = False
) -> AsyncGenerator[JobView]:
    """Yield the job as it is, and again when it has changed, until it ends, `seconds` pass or we shut down.

    With `for_end` the changes before its end may be left out.
    """
    clock = asyncio.get_running_loop()
    until = clock.time() + seconds
    seen = None
    async with stores.events.watch(job_id, for_end=for_end) as changed:
        while True:
            changed.clear()
            view = await stores.jobs.get(owner_id=owner_id, job_id=job_id)
            if view.etag != seen:
                seen = view.etag
                yield view
            left = until - clock.time()
            if view.ended or left <= 0 or stores.events.closing:
                return
            await pause(changed, min(left, LOOK_AGAIN_S if stores.events.listening else AWAY_S))


async def pause(waiter: asyncio.Event, seconds: float) -> bool:
    """Wait for it to be set, or for the time to pass; whether it was set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await waiter.wait()
    return False


def describe(response: Response, view: JobView, wait: int) -> None:
    """Set the headers that every answer with a job carries."""
    response.headers["ETag"] = view.etag
    response.headers["Cache-Control"] = "private, no-cache"
    if not view.ended:
        response.headers["Retry-After"] = str(POLL_S)
    if wait:
        response.headers["Preference-Applied"] = f"wait={wait}"
