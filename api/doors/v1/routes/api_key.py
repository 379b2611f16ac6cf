"""API keys."""

from uuid import UUID

from fastapi import APIRouter, Response

from api.doors.v1.deps import CurrentAccount, CurrentLogin, CurrentUser, Db, DbRead, Page
from api.doors.v1.schemas.api_key import KeyMade, KeyRead, KeyWrite
from api.doors.v1.schemas.headers import CREATED
from api.doors.v1.schemas.page import PageOf
from api.doors.v1.schemas.problem import PROBLEM_403, PROBLEMS
from shared.models import ApiKey
from shared.services import api_key as keys

router = APIRouter(prefix="/auth/key", tags=["auth"], responses=PROBLEMS | PROBLEM_403)


@router.post("", status_code=201, responses={201: {"headers": CREATED}})
async def create_key(body: KeyWrite, account: CurrentAccount, _: CurrentLogin, db: Db, response: Response) -> KeyMade:
    """Make a key for a program of yours: sent like an access token, or as `X-API-Key`. It is shown this once.

    `read` is for GET, `write` for everything else; paths under `/admin` need `admin` beside it. It can have no
    scope that you have not. A key makes no keys: 403 `login_required`.
    """
    made = await keys.create(db, maker=account, **dict(body))
    response.headers["Location"] = f"/api/v1/auth/key/{made.row.id}"
    return KeyMade(key=made.key, **made.row.model_dump())


@router.get("", response_model=PageOf[KeyRead])
async def list_keys(user_id: CurrentUser, db: DbRead, page: Page) -> PageOf[ApiKey]:
    """List your keys, newest first, those that are revoked too."""
    items, next_cursor = await keys.list_(db, owner_id=user_id, page=page)
    return PageOf(items=items, next_cursor=next_cursor)


@router.delete("/{key_id}", status_code=204)
async def revoke_key(key_id: UUID, user_id: CurrentUser, _: CurrentLogin, db: Db) -> None:
    """Revoke a key: it is good for nothing from now on, and stays in the list. A key revokes none."""
    await keys.revoke(db, owner_id=user_id, key_id=key_id)
