"""Everybody's jobs, for administrators: by the same rules as for their owners."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from api.doors.v1.deps import DbRead, Deps, IncludeSteps, Page
from api.doors.v1.prefer import headers_of
from api.doors.v1.schemas import headers
from api.doors.v1.schemas.job import AdminJobRead
from api.doors.v1.schemas.page import PageOf
from api.doors.v1.schemas.problem import PROBLEM_403, PROBLEM_409, PROBLEMS
from api.usecases import jobs
from shared.models import JobStatus
from shared.services import user as users
from shared.services.job import transitions
from shared.services.job import view as job_view

router = APIRouter(prefix="/admin/job", tags=["admin"], responses=PROBLEMS | PROBLEM_403)


async def get_owner_id(job_id: UUID, resources: Deps) -> UUID:
    """Whose job it is; raises NotFound."""
    async with resources.database.read() as db:
        return await transitions.owner_of(db, job_id=job_id)


OwnerId = Annotated[UUID, Depends(get_owner_id)]


@router.get("")
async def list_all_jobs(
    db: DbRead,
    page: Page,
    status: Annotated[JobStatus | None, Query(description="Only jobs in this state.")] = None,
    user_id: Annotated[UUID | None, Query(description="Only jobs of this user.")] = None,
    include: IncludeSteps = None,
) -> PageOf[AdminJobRead]:
    """List everybody's jobs, newest first; without their steps, unless `include=steps`."""
    views, next_cursor = await job_view.list_all(
        db, owner_id=user_id, status=status, page=page, steps=include == "steps"
    )
    return PageOf(items=[AdminJobRead.of(view) for view in views], next_cursor=next_cursor)


@router.get("/{job_id}")
async def get_any_job(job_id: UUID, owner_id: OwnerId, resources: Deps) -> AdminJobRead:
    """Get anybody's job."""
    return AdminJobRead.of(await resources.jobs.get(owner_id=owner_id, job_id=job_id))


@router.post("/{job_id}/cancel", responses={200: {"headers": headers.JOB}, **PROBLEM_409})
async def cancel_any_job(job_id: UUID, owner_id: OwnerId, resources: Deps, response: Response) -> AdminJobRead:
    """Stop anybody's job, as its owner would."""
    view = await jobs.cancel(resources, owner_id=owner_id, job_id=job_id)
    response.headers.update(headers_of(view.state))
    return AdminJobRead.of(view)


@router.post("/{job_id}/retry", status_code=202, responses={202: {"headers": headers.JOB}, **PROBLEM_409})
async def retry_any_job(job_id: UUID, owner_id: OwnerId, resources: Deps, response: Response) -> AdminJobRead:
    """Run anybody's failed job again, as its owner would: by their balance and limits."""
    async with resources.database.read() as db:
        owner = await users.account(db, user_id=owner_id, settings=resources.settings)
    view = await jobs.retry(resources, account=owner, job_id=job_id)
    response.headers.update(headers_of(view.state))
    return AdminJobRead.of(view)
