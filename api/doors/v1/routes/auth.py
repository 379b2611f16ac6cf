"""Signing up, in and out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import SecretStr

from api.auth import jwt, password_check
from api.auth.client_address import get_address
from api.auth.password_check import VerifiedUser
from api.doors.v1.deps import CurrentAccount, CurrentLogin, CurrentUser, DbRead, Deps, see_through
from api.doors.v1.schemas.auth import NewUser, PasswordChange, RefreshRequest, Token, TokenPair
from api.doors.v1.schemas.headers import CREATED
from api.doors.v1.schemas.problem import PROBLEM_403, PROBLEM_409, PROBLEM_429, PROBLEMS
from api.doors.v1.schemas.user import UserRead
from api.doors.v1.sign_in_form import EITHER_BODY, FORM_BODY, FromEither, FromForm
from api.usecases.resources import Resources
from shared.config import Settings
from shared.errors import Forbidden
from shared.models import Login, User
from shared.services import login as logins
from shared.services import user as users

router = APIRouter(prefix="/auth", tags=["auth"], responses=PROBLEMS)
root = APIRouter(tags=["auth"], responses=PROBLEMS)

Address = Annotated[str, Depends(get_address)]


@router.post(
    "/register",
    status_code=201,
    response_model=UserRead,
    responses={201: {"headers": CREATED}, **PROBLEM_403, **PROBLEM_409, **PROBLEM_429},
)
async def register(body: NewUser, resources: Deps, address: Address, response: Response) -> User:
    """Make an account. Where registration is closed an administrator does."""
    if not resources.settings.is_registration_open:
        detail = "Accounts are made by an administrator here."
        raise Forbidden(detail, code="registration_closed")
    await password_check.check_registration(resources, address=address)
    password_hash = await password_check.hashed(resources, body.password)
    balance = resources.settings.starting_balance
    async with resources.database.write() as db:
        user = await users.create(db, username=body.username, password_hash=password_hash, balance=balance)
    response.headers["Location"] = "/api/v1/auth/me"
    return user


@router.post("/login", responses=PROBLEM_429, openapi_extra=EITHER_BODY)
async def login(given: FromEither, resources: Deps, address: Address) -> TokenPair:
    """Sign in with a name and its password, in JSON or as OAuth2's form.

    After 5 wrong passwords in a minute a name has to wait, whether or not there is one; so has an address after 30,
    and after 60 sign-ins of any kind. A user has 100 logins at most: one more ends the one that would end first.
    """
    return _pair(resources.settings, await _sign_in(resources, given, address))


@router.post("/token", responses=PROBLEM_429, openapi_extra=FORM_BODY)
async def login_by_form(given: FromForm, resources: Deps, address: Address) -> TokenPair:
    """Sign in with OAuth2's form: `login` for tools that know OAuth2, such as this page's Authorize button."""
    return _pair(resources.settings, await _sign_in(resources, given, address))


@root.post("/login", responses=PROBLEM_429, openapi_extra=EITHER_BODY)
async def login_for_a_token(given: FromEither, resources: Deps, address: Address) -> Token:
    """Sign in for an access token alone."""
    return Token(token=jwt.access_token(resources.settings, await _sign_in(resources, given, address)))


@router.post("/refresh")
async def refresh(body: RefreshRequest, resources: Deps) -> TokenPair:
    """Get the next tokens. The refresh token is used up by this: sent once more, it ends the login."""
    settings = resources.settings
    user_id, login_id, token_id = jwt.read(settings, body.refresh_token.get_secret_value(), jwt.REFRESH)
    async with resources.database.write() as db:
        renewed = await logins.renew(
            db, owner_id=user_id, login_id=login_id, refresh_id=token_id, seconds=settings.refresh_token_s
        )
    if renewed is None:
        raise jwt.bad_token()
    return _pair(settings, renewed)


@router.post("/logout", status_code=204, responses=PROBLEM_403, dependencies=[Depends(see_through)])
async def logout(user_id: CurrentUser, login_id: CurrentLogin, resources: Deps) -> None:
    """End this login: none of its tokens is good any more, and what was begun with them is broken off."""
    async with resources.database.write() as db:
        await logins.end(db, owner_id=user_id, login_id=login_id)


@router.get("/me", response_model=UserRead)
async def get_me(account: CurrentAccount, db: DbRead) -> User:
    """Who you are."""
    return await users.get(db, user_id=account.id)


@router.post("/password", responses={**PROBLEM_403, **PROBLEM_429}, dependencies=[Depends(see_through)])
async def change_password(
    body: PasswordChange, account: CurrentAccount, _: CurrentLogin, resources: Deps, address: Address
) -> TokenPair:
    """Change your password. It ends all of your logins, this one too, and begins one anew."""
    async with resources.database.read() as db:
        user = await users.get(db, user_id=account.id)
    known = await password_check.verify(
        resources, username=user.username, password=body.current_password, address=address
    )
    password_hash = await password_check.hashed(resources, body.new_password)
    async with resources.database.write() as db:
        await users.set_password(db, user_id=user.id, password_hash=password_hash, instead_of=known.password_hash)
        await users.end_logins(db, user_id=user.id)
        begun = await logins.begin(db, owner_id=user.id, seconds=resources.settings.refresh_token_s)
    return _pair(resources.settings, begun)


async def _sign_in(resources: Resources, given: tuple[str, SecretStr], address: str) -> Login:
    username, password = given
    known: VerifiedUser = await password_check.verify(resources, username=username, password=password, address=address)
    async with resources.database.write() as db:
        await users.hold_verified(db, user_id=known.user_id, password_hash=known.password_hash)
        return await logins.begin(db, owner_id=known.user_id, seconds=resources.settings.refresh_token_s)


def _pair(settings: Settings, begun: Login) -> TokenPair:
    return TokenPair(
        access_token=jwt.access_token(settings, begun),
        refresh_token=jwt.refresh_token(settings, begun),
        expires_in=int(settings.access_token_s),
    )
