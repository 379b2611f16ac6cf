"""Everybody's accounts, for administrators."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from api.auth import password_check
from api.doors.v1.deps import CurrentUser, DbRead, Deps, Page, see_through
from api.doors.v1.schemas.headers import CREATED
from api.doors.v1.schemas.page import PageOf
from api.doors.v1.schemas.problem import PROBLEM_403, PROBLEM_409, PROBLEMS
from api.doors.v1.schemas.user import UserPatch, UserRead, UserWrite
from api.usecases.resources import Resources
from shared.models import User, Username
from shared.services import user as users
from shared.services.job import transitions as jobs

router = APIRouter(prefix="/admin/user", tags=["admin"], responses=PROBLEMS | PROBLEM_403)


@router.get("", response_model=PageOf[UserRead])
async def list_users(
    db: DbRead,
    page: Page,
    username: Annotated[Username | None, Query(description="Only the user of this name.")] = None,
) -> PageOf[User]:
    """List all users, newest first."""
    items, next_cursor = await users.list_(db, username=username, page=page)
    return PageOf(items=items, next_cursor=next_cursor)


@router.post("", status_code=201, response_model=UserRead, responses={201: {"headers": CREATED}, **PROBLEM_409})
async def create_user(body: UserWrite, resources: Deps, response: Response) -> User:
    """Make an account, whether or not registration is open. 409 `username_taken` when there is one of that name."""
    fields = {"balance": resources.settings.starting_balance} | body.model_dump(
        exclude_unset=True, exclude={"password"}
    )
    password_hash = await password_check.hashed(resources, body.password)
    async with resources.database.write() as db:
        user = await users.create(db, password_hash=password_hash, **fields)
    response.headers["Location"] = f"/api/v1/admin/user/{user.id}"
    return user


@router.get("/{user_id}", response_model=UserRead)
async def get_user(user_id: UUID, db: DbRead) -> User:
    """Get one user."""
    return await users.get(db, user_id=user_id)


@router.patch("/{user_id}", response_model=UserRead, responses=PROBLEM_409, dependencies=[Depends(see_through)])
async def change_user(user_id: UUID, body: UserPatch, admin_id: CurrentUser, resources: Deps) -> User:
    """Change what a user may do and spend. Disabling a user or changing their password signs them out everywhere.

    Disabling a user also cancels their queued and running jobs, unless `"jobs": "finish"` is sent with it. After a 503
    send it again: some may not be cancelled yet.

    409 `reserved` for a balance below what jobs under way have reserved of it; 409 `last_admin` for what would leave
    nobody to administer; 409 `built_in` for a password of the built-in user.
    """
    fields = body.model_dump(exclude_unset=True, exclude={"password", "jobs"})
    if body.password:
        fields["password_hash"] = await password_check.hashed(resources, body.password)
    async with resources.database.write() as db:
        user = await users.change(db, user_id=user_id, fields=fields, by=admin_id)
    if body.disabled and body.jobs == "cancel":
        await _cancel_jobs(resources, user_id)
        async with resources.database.read() as db:
            user = await users.get(db, user_id=user_id)  # less is reserved
    return user


async def _cancel_jobs(resources: Resources, user_id: UUID) -> None:
    async with resources.database.write() as db:
        await users.await_begun(db, user_id=user_id)
    left = True
    while left:
        async with resources.database.write() as db:
            left = bool(await jobs.cancel_some(db, owner_id=user_id))
