"""A job's life as server-sent events."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.doors.v1.deps import CurrentUser, Deps
from api.doors.v1.schemas.job import JobRead
from api.doors.v1.schemas.problem import PROBLEMS
from api.usecases.follow import follow_job
from shared.redis.job_events import EventId
from shared.services.job.view import JobView

router = APIRouter(prefix="/job", tags=["job"], responses=PROBLEMS)


async def get_own_job_id(job_id: UUID, user_id: CurrentUser, resources: Deps) -> UUID:
    """The id in the path, once it is known to be the asker's: later is too late for a 404."""
    await resources.jobs.state(owner_id=user_id, job_id=job_id)
    return job_id


async def get_last_event(
    last_event_id: Annotated[
        str | None, Header(description="Id of the last event you have: go on behind it.", examples=["1-17"])
    ] = None,
) -> EventId | None:
    """Where to go on; None for what is no id of ours."""
    with suppress(ValueError):
        return EventId.parse(last_event_id or "")
    return None


async def keep_out_of_caches(response: Response) -> None:
    """FastAPI's own `no-cache` lets a shared cache store the stream."""
    response.headers["Cache-Control"] = "no-store"


@router.get("/{job_id}/events", response_class=EventSourceResponse, dependencies=[Depends(keep_out_of_caches)])
async def stream_job_events(
    job_id: Annotated[UUID, Depends(get_own_job_id)],
    user_id: CurrentUser,
    resources: Deps,
    after: Annotated[EventId | None, Depends(get_last_event)],
) -> AsyncIterator[ServerSentEvent]:
    """Follow a job to its end.

    - `status`: the job, at every change; `end`: the finished job, and the last event.
    - `transcript` (`text`, `language`): what the voice note said.
    - `delta` (`offset`, `text`): a piece of the reply, and how many characters of it come before.
    - `audio` (`index`, `text`, `duration_s`): a sentence's sound is made; `GET /job/{id}/audio?stream=1` plays it.
    - `reset`: the reply begins anew: drop what you have of it.

    Reconnect with `Last-Event-ID`. What was lost is told again from what is saved, after a `reset` if need be.
    """
    async for event in follow_job(resources, owner_id=user_id, job_id=job_id, after=after):
        data = JobRead.of(event.data) if isinstance(event.data, JobView) else event.data
        yield ServerSentEvent(event=event.name, id=str(event.id), data=data)
