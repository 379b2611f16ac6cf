"""Waiting for a job: no database connection is held meanwhile, and nothing is cancelled."""

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from uuid import UUID

import structlog

from api.usecases.resources import Resources
from shared.errors import Unavailable
from shared.services.job import view as job_view
from shared.services.job.view import JobView

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 5.0  # Redis only wakes: what a worker could not tell is found in SQL
AWAY_S = 2.0  # how often SQL is asked while nobody can be told anything, or SQL does not answer
POLL_S = 1


async def wait_for_job(resources: Resources, *, owner_id: UUID, job_id: UUID, seconds: float) -> JobView:
    """The job when it has ended, or as it is after `seconds`; raises NotFound, also when it is deleted meanwhile.

    Nothing is kept of it meanwhile: thousands may wait.
    """
    if not seconds:
        return await resources.jobs.get(owner_id=owner_id, job_id=job_id)
    clock = asyncio.get_running_loop()
    until = clock.time() + seconds
    known = False
    async with resources.events.watch(job_id, for_end=True) as changed:
        while True:
            changed.clear()
            over = clock.time() >= until or resources.events.closing
            try:
                view = await resources.jobs.get(owner_id=owner_id, job_id=job_id)
                if view.ended or over:
                    return view
                del view
                known = True
            except Unavailable:
                if over or not known:
                    raise  # else its end can be waited for
                look_soon(resources, job_id)
            alarm = clock.call_at(until, changed.set)
            try:
                await changed.wait()
            finally:
                alarm.cancel()


async def watch_job(resources: Resources, *, owner_id: UUID, job_id: UUID) -> AsyncGenerator[JobView]:
    """Yield the job as it is, and again when it has changed, until it ends or we shut down."""
    seen = None
    async with resources.events.watch(job_id) as changed:
        while True:
            changed.clear()
            try:
                view = await resources.jobs.get(owner_id=owner_id, job_id=job_id)
            except Unavailable:
                if seen is None:
                    raise
                look_soon(resources, job_id)
            else:
                if view.state != seen:
                    seen = view.state
                    yield view
                if view.ended:
                    return
            if resources.events.closing:
                return
            await changed.wait()


def look_soon(resources: Resources, job_id: UUID) -> None:
    """Have those who watch a job look at it again once SQL has had a moment to come back."""
    asyncio.get_running_loop().call_later(AWAY_S, partial(resources.events.wake, job_id, ended=True))


async def look_again_forever(resources: Resources) -> None:
    """Wake those who were told nothing of what they wait for: SQL is asked once for all of them."""
    while True:
        await asyncio.sleep(LOOK_AGAIN_S if resources.events.listening else AWAY_S)
        watched = resources.events.watched
        try:
            async with resources.database.read() as db:
                ended = await job_view.ended(db, watched)
        except Unavailable as error:
            log.debug("waiting.store_away", code=error.code)
        except Exception:  # the loop must not die
            log.exception("waiting.broke")
        else:
            for job_id in watched:
                resources.events.wake(job_id, ended=job_id in ended)
