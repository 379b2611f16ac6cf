"""A job's life as server-sent events."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.deps import CurrentUser, DbRead, Deps
from api.schemas.job import JobRead
from api.schemas.problem import PROBLEMS
from api.waiting import watch_job
from shared.errors import NotFound
from shared.services import job as jobs
from shared.services.job_view import JobView

router = APIRouter(prefix="/job", tags=["job"], responses=PROBLEMS)


async def get_own_job_id(job_id: UUID, user_id: CurrentUser, db: DbRead) -> UUID:
    """The id in the path, once it is known to be the asker's: later is too late for a 404."""
    await jobs.get(db, owner_id=user_id, job_id=job_id)
    return job_id


async def _until_deleted(views: AsyncGenerator[JobView]) -> AsyncIterator[JobView]:
    with suppress(NotFound):
        async for view in views:
            yield view


@router.get("/{job_id}/events", response_class=EventSourceResponse)
async def stream_job_events(
    job_id: Annotated[UUID, Depends(get_own_job_id)], user_id: CurrentUser, stores: Deps
) -> AsyncIterator[ServerSentEvent]:
    """Follow a job: `status` (the job) at every change, `transcript` when it is known, `end` (the job) at last."""
    heard = False
    number = 0
    async for view in _until_deleted(watch_job(stores, owner_id=user_id, job_id=job_id)):
        body = JobRead.of(view)
        found: list[tuple[str, object]] = [("end" if view.ended else "status", body)]
        if body.result and body.result.transcript is not None and not heard:
            heard = True
            found.insert(0, ("transcript", {"text": body.result.transcript, "language": body.result.language}))
        for name, data in found:
            number += 1
            yield ServerSentEvent(event=name, id=f"{view.job.attempt}-{number}", data=data)
