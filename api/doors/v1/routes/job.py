"""Jobs: polling, waiting, cancelling, and fetching what came out."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response

from api.doors.v1 import streamed_sound
from api.doors.v1.deps import CurrentAccount, CurrentUser, DbRead, Deps, IncludeSteps, Page
from api.doors.v1.prefer import Wait, headers_of
from api.doors.v1.schemas import headers
from api.doors.v1.schemas.job import JobRead
from api.doors.v1.schemas.page import PageOf
from api.doors.v1.schemas.problem import PROBLEM_409, PROBLEM_416, PROBLEMS, Responses
from api.doors.v1.schemas.sound import AUDIO
from api.doors.v1.schemas.strict import Flag
from api.http.ranges import Conditional, matches, serve
from api.usecases import jobs
from api.usecases.listen import listen
from api.usecases.wait import POLL_S, wait_for_job
from shared.errors import Conflict
from shared.models import JobStatus
from shared.services.job import view as job_view

router = APIRouter(prefix="/job", tags=["job"], responses=PROBLEMS)


POLLED: Responses = {
    200: {"headers": headers.JOB},
    304: {"description": "Nothing has changed.", "headers": headers.JOB},
}


@router.get("")
async def list_jobs(
    user_id: CurrentUser,
    db: DbRead,
    page: Page,
    status: Annotated[JobStatus | None, Query(description="Only jobs in this state.")] = None,
    session_id: Annotated[UUID | None, Query(description="Only jobs of this session.")] = None,
    include: IncludeSteps = None,
) -> PageOf[JobRead]:
    """List your jobs, newest first; without their steps, unless `include=steps`."""
    views, next_cursor = await job_view.list_(
        db, owner_id=user_id, status=status, session_id=session_id, page=page, steps=include == "steps"
    )
    return PageOf(items=[JobRead.of(view) for view in views], next_cursor=next_cursor)


@router.get("/{job_id}", response_model=JobRead, responses=POLLED)
async def get_job(
    job_id: UUID,
    user_id: CurrentUser,
    resources: Deps,
    wait: Wait,
    response: Response,
    if_none_match: Annotated[str | None, Header(description="ETag of the last poll.")] = None,
) -> JobRead | Response:
    """Poll a job; with `Prefer: wait=N` the answer is held until it has ended. A failed job is a 200 too."""
    if if_none_match and not wait:
        state = await resources.jobs.state(owner_id=user_id, job_id=job_id)
        if matches(if_none_match, state.etag):
            return Response(status_code=304, headers=headers_of(state))
    view = await wait_for_job(resources, owner_id=user_id, job_id=job_id, seconds=wait)
    if matches(if_none_match, view.state.etag):
        return Response(status_code=304, headers=headers_of(view.state, wait))
    response.headers.update(headers_of(view.state, wait))
    return JobRead.of(view)


@router.post("/{job_id}/cancel", responses={200: {"headers": headers.JOB}, **PROBLEM_409})
async def cancel_job(job_id: UUID, user_id: CurrentUser, resources: Deps, response: Response) -> JobRead:
    """Stop a job: a queued one is `cancelled` at once, a running one is `cancelling` until its worker lets go."""
    view = await jobs.cancel(resources, owner_id=user_id, job_id=job_id)
    response.headers.update(headers_of(view.state))
    return JobRead.of(view)


@router.post("/{job_id}/retry", status_code=202, responses={202: {"headers": headers.JOB}, **PROBLEM_409})
async def retry_job(job_id: UUID, account: CurrentAccount, resources: Deps, response: Response) -> JobRead:
    """Run a failed job again from the step that failed; what was done is not done again."""
    view = await jobs.retry(resources, account=account, job_id=job_id)
    response.headers.update(headers_of(view.state))
    return JobRead.of(view)


@router.get(
    "/{job_id}/audio",
    response_class=Response,
    responses={**AUDIO, 200: {**AUDIO[200], "headers": headers.MADE}, **PROBLEM_409, **PROBLEM_416},
)
async def get_job_audio(
    job_id: UUID,
    user_id: CurrentUser,
    resources: Deps,
    conditions: Conditional,
    stream: Annotated[Flag, Query(description="Send the mp3 as it is made, from its first sentence on.")] = False,  # noqa: FBT002 - a query parameter
) -> Response:
    """Fetch the spoken reply as mp3; takes a Range. While the job runs: 409 `not_ready` with Retry-After.

    With `stream=1` it is sent while it is made, to its end, without a length or ranges. When the attempt that makes it
    fails, the connection breaks off: what came so far is not the whole reply. A reply with nothing to say, such as a
    lone emoji, has no sound: 404 `no_audio`.
    """
    if stream:
        return await streamed_sound.stream(listen(resources, owner_id=user_id, job_id=job_id))
    view = await resources.jobs.get(owner_id=user_id, job_id=job_id)
    if not view.ended:
        detail = f"The reply is not ready: the job is {view.status}."
        raise Conflict(detail, code="not_ready", retry_after=POLL_S)
    return await serve(resources.blobs, view.audio, conditions)
