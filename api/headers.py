"""What every answer tells a browser: not to guess its type, not to frame it, and to load nothing by it."""

from collections.abc import Awaitable
from functools import partial

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

RawHeaders = tuple[tuple[bytes, bytes], ...]

ALWAYS: RawHeaders = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
SECRETS = ("/api/v1/auth/", "/login")
NOT_KEPT: RawHeaders = ((b"cache-control", b"no-store"),)
HTTPS_ONLY: RawHeaders = ((b"strict-transport-security", b"max-age=31536000"),)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
TAKEN = (
    "Authorization",
    "X-API-Key",
    "Content-Type",
    "Idempotency-Key",
    "Prefer",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Range",
    "X-Request-ID",
)
SHOWN = (
    "Location",
    "Retry-After",
    "ETag",
    "Idempotent-Replayed",
    "Preference-Applied",
    "Content-Range",
    "Accept-Ranges",
    "X-Request-ID",
)


class HeadersMiddleware:
    """Adds the headers that an answer does not have itself: a page's own policy stays.

    It is no coroutine of its own: thousands of requests may be waiting in it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        added = ALWAYS
        if scope["path"].startswith(SECRETS):
            added += NOT_KEPT
        if scope["scheme"] == "https":
            added += HTTPS_ONLY
        return self.app(scope, receive, partial(_send, send, added))


async def _send(send: Send, added: RawHeaders, message: Message) -> None:
    if message["type"] == "http.response.start":
        own = list(message.get("headers", ()))
        names = {name.lower() for name, _ in own}
        message = {**message, "headers": [*own, *(header for header in added if header[0] not in names)]}
    await send(message)


def cors(app: ASGIApp, origins: list[str]) -> ASGIApp:
    """Let pages of these origins call the API and read its answers, errors too. Nothing rests on cookies."""
    if not origins:
        return app
    return CORSMiddleware(
        app, allow_origins=origins, allow_methods=METHODS, allow_headers=TAKEN, expose_headers=SHOWN, max_age=3_600
    )
