"""Who asks, and whether they may at all: decided from the headers alone, before a byte of the body is read."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.auth.authenticate import authenticate
from api.auth.open_requests import POLICY_VIOLATION, Credential, check_scopes
from api.auth.public import V1, is_public
from api.http.problems import from_error
from api.usecases.resources import Resources
from shared import models
from shared.errors import AppError

ADMIN = f"{V1}/admin"


class AuthMiddleware:
    """Puts the `account` into the state of every request and WebSocket, or refuses it: 401, 403, or 429.

    What `public.is_public` says needs none. Requests are counted here. Those with a credential are watched until they
    have ended.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and is_public(scope["path"])):
            await self.app(scope, receive, send)
            return
        resources: Resources = scope["app"].state.resources
        needed = _needed(scope.get("method", "POST"), scope["path"])
        try:
            account = await authenticate(resources, _credential(Headers(scope=scope)))
            await resources.user_limits.request(account)
            check_scopes(needed, account.scopes)
        except AppError as error:
            await _refuse(error, scope, receive, send)
            return
        scope.setdefault("state", {})["account"] = account
        if account.login_id or account.key_id:
            credential = Credential(account.id, account.login_id, account.key_id, needed)
            await scope["app"].state.open_requests.run(self.app, scope, receive, send, credential)
            return
        await self.app(scope, receive, send)


async def _refuse(error: AppError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": error.title})
        return
    await from_error(error, scope["path"])(scope, receive, send)


def _credential(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return (token.strip() if scheme.lower() == "bearer" else "") or headers.get("x-api-key", "")


def _needed(method: str, path: str) -> frozenset[models.Scope]:
    """The scopes that a request needs, whatever its path may name."""
    verb = models.Scope.READ if method in {"GET", "HEAD"} else models.Scope.WRITE
    is_admin = path == ADMIN or path.startswith(f"{ADMIN}/")
    return frozenset({verb, models.Scope.ADMIN} if is_admin else {verb})
