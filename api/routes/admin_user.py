"""Everybody's accounts, for administrators."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.deps import CurrentUser, Db, DbRead, Page
from api.schemas.page import PageOf
from api.schemas.problem import PROBLEM_403, PROBLEM_409, PROBLEMS
from api.schemas.user import UserPatch, UserRead
from shared.models import User, Username
from shared.services import user as users

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


@router.get("/{user_id}", response_model=UserRead)
async def get_user(user_id: UUID, db: DbRead) -> User:
    """Get one user."""
    return await users.get(db, user_id=user_id)


@router.patch("/{user_id}", response_model=UserRead, responses=PROBLEM_409)
async def change_user(user_id: UUID, body: UserPatch, admin_id: CurrentUser, db: Db) -> User:
    """Change what a user may do and spend. Whom you disable is signed out everywhere.

    409 `reserved` for a balance below what jobs under way have reserved of it; 409 `last_admin` for what would leave
    nobody to administer.
    """
    return await users.change(db, user_id=user_id, fields=body.model_dump(exclude_unset=True), by=admin_id)
