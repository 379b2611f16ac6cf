"""What routes ask for, as `Annotated` aliases."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal, cast
from uuid import UUID

from fastapi import Depends, Query, Request
from sqlmodel.ext.asyncio.session import AsyncSession

from api.auth.open_requests import OpenRequests
from api.doors.v1.schemas.strict import Whole
from api.usecases.resources import Resources
from shared.errors import Forbidden
from shared.services.page import PageRequest
from shared.services.user import Account


async def get_resources(request: Request) -> Resources:
    """The process's stores."""
    return cast("Resources", request.app.state.resources)


async def get_account(request: Request) -> Account:
    """Who asks, as the middleware found."""
    return cast("Account", request.state.account)


async def get_user_id(request: Request) -> UUID:
    """The id of who asks: all that most routes need."""
    return cast("Account", request.state.account).id


async def get_login_id(request: Request) -> UUID:
    """The login of who asks; raises Forbidden for whoever came without one."""
    account = cast("Account", request.state.account)
    if account.login_id is None:
        detail = "Sign in with your password for this: an API key is not enough."
        raise Forbidden(detail, code="login_required")
    return account.login_id


async def get_db(resources: Annotated[Resources, Depends(get_resources)]) -> AsyncIterator[AsyncSession]:
    """A transaction that commits before the answer starts, so that a failed commit is still an error."""
    async with resources.database.write() as db:
        yield db


async def get_db_read(resources: Annotated[Resources, Depends(get_resources)]) -> AsyncIterator[AsyncSession]:
    """A session for queries; it is closed before the answer starts."""
    async with resources.database.read() as db:
        yield db


async def get_page(
    cursor: Annotated[
        str | None, Query(max_length=600, description="`next_cursor` of the page before.", examples=[None])
    ] = None,
    limit: Annotated[Whole, Query(ge=1, le=100, description="How many items at most.")] = 50,
) -> PageRequest:
    """The list parameters."""
    return PageRequest(cursor, limit)


async def see_through(request: Request) -> None:
    """Answer this request even if it ends the credential that it came with."""
    cast("OpenRequests", request.app.state.open_requests).see_through()


Deps = Annotated[Resources, Depends(get_resources)]
CurrentAccount = Annotated[Account, Depends(get_account)]
CurrentLogin = Annotated[UUID, Depends(get_login_id)]
CurrentUser = Annotated[UUID, Depends(get_user_id)]
Db = Annotated[AsyncSession, Depends(get_db, scope="function")]
DbRead = Annotated[AsyncSession, Depends(get_db_read, scope="function")]
Page = Annotated[PageRequest, Depends(get_page)]
IncludeSteps = Annotated[
    Literal["steps"] | None, Query(description="`steps`: show each job's steps and their number, too.")
]
