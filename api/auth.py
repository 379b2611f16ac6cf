"""Who asks: decided from the headers alone, before a byte of the body is read."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt
from sqlmodel import select
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import from_error
from api.state import Stores
from shared.config import Settings
from shared.errors import AppError, Unauthorized
from shared.models import User
from shared.services.user import LOCAL, Account

ALGORITHM = "HS256"
ISSUER = "parley"
AUDIENCE = "parley-api"
OPEN_PATHS = ("/api/v1/docs", "/api/v1/redoc", "/api/v1/openapi.json")


class AuthMiddleware:
    """Puts the `account` into the request's state for every path under `/api/v1/`, or answers 401.

    Its requests are counted here: 429 beyond its limit.

    With `AUTH=off` everybody is the built-in local user.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/api/v1/") and scope["path"] not in OPEN_PATHS:
            try:
                account = await _account(scope)
                await scope["app"].state.stores.user_limits.request(account)
            except AppError as error:
                await from_error(error, scope["path"])(scope, receive, send)
                return
            scope.setdefault("state", {})["account"] = account
        await self.app(scope, receive, send)


async def _account(scope: Scope) -> Account:
    stores: Stores = scope["app"].state.stores
    if stores.settings.auth == "off":
        return LOCAL
    scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        detail = "Send an access token: Authorization: Bearer …"
        raise Unauthorized(detail)
    user_id = read_token(stores.settings, token)
    async with stores.database.read() as db:
        known = (await db.exec(select(User.id).where(User.id == user_id))).first()
    if known is None:
        raise _bad_token()
    return Account(user_id)


def make_token(settings: Settings, user_id: UUID, *, days: float) -> str:
    """Sign an access token for a user."""
    now = datetime.now(UTC)
    claims = {"sub": str(user_id), "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + timedelta(days=days)}
    return jwt.encode(claims, settings.signing_key, algorithm=ALGORITHM)


def read_token(settings: Settings, token: str) -> UUID:
    """The user whom a token of ours names; raises Unauthorized for any other."""
    try:
        claims = jwt.decode(
            token,
            settings.signing_key,
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": ["exp", "sub", "iss", "aud"]},
        )
        return UUID(claims["sub"])
    except (jwt.InvalidTokenError, ValueError):
        raise _bad_token() from None


def _bad_token() -> Unauthorized:
    return Unauthorized("The access token is not valid, or no longer.")
