"""Who asks, and whether they may at all: decided from the headers alone, before a byte of the body is read."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.auth import jwt
from api.auth.open_requests import Credential, check_scopes
from api.http.problems import from_error
from api.usecases.resources import Resources
from shared import models
from shared.errors import AppError, Unauthorized
from shared.services import api_key as keys
from shared.services import login as logins
from shared.services.user import LOCAL, Account

PREFIX = "/api/v1"
ADMIN = f"{PREFIX}/admin"
OPEN_PATHS = frozenset(
    f"{PREFIX}/{path}"
    for path in ("docs", "redoc", "openapi.json", "auth/register", "auth/login", "auth/token", "auth/refresh")
)


class AuthMiddleware:
    """Puts the `account` into the request's state for every path under `/api/v1/`, or answers 401 or 403.

    Its requests are counted here: 429 beyond its limit. Those with a credential are watched until they have ended.

    With `AUTH=off` whoever sends neither a token nor a key is the built-in local user, who may do everything.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(f"{PREFIX}/") and scope["path"] not in OPEN_PATHS:
            resources: Resources = scope["app"].state.resources
            needed = _needed(scope["method"], scope["path"])
            try:
                account = await _account(scope)
                await resources.user_limits.request(account)
                check_scopes(needed, account.scopes)
            except AppError as error:
                await from_error(error, scope["path"])(scope, receive, send)
                return
            scope.setdefault("state", {})["account"] = account
            if account.login_id or account.key_id:
                credential = Credential(account.id, account.login_id, account.key_id, needed)
                await scope["app"].state.open_requests.run(self.app, scope, receive, send, credential)
                return
        await self.app(scope, receive, send)


async def _account(scope: Scope) -> Account:
    resources: Resources = scope["app"].state.resources
    credential = _credential(Headers(scope=scope))
    if not credential and resources.settings.auth == "off":
        return LOCAL
    if not credential:
        detail = "Send an access token or an API key: Authorization: Bearer …"
        raise Unauthorized(detail)
    if credential.startswith(keys.PREFIX):
        async with resources.database.read() as db:
            account = await keys.account(db, key=credential, settings=resources.settings)
    else:
        claims = jwt.read(resources.settings, credential, jwt.ACCESS)
        owner_id, login_id = claims.user_id, claims.login_id
        async with resources.database.read() as db:
            account = await logins.account(db, owner_id=owner_id, login_id=login_id, settings=resources.settings)
    if account is None:
        raise jwt.bad_token()
    return account


def _credential(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return (token.strip() if scheme.lower() == "bearer" else "") or headers.get("x-api-key", "")


def _needed(method: str, path: str) -> frozenset[models.Scope]:
    """The scopes that a request needs, whatever its path may name."""
    verb = models.Scope.READ if method in {"GET", "HEAD"} else models.Scope.WRITE
    is_admin = path == ADMIN or path.startswith(f"{ADMIN}/")
    return frozenset({verb, models.Scope.ADMIN} if is_admin else {verb})
