"""What every answer tells a browser: not to guess its type, not to frame it, and to load nothing by it."""

import re
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
NOT_KEPT: RawHeaders = ((b"cache-control", b"no-store"),)  # what says nothing of caches is kept by none
HTTPS_ONLY: RawHeaders = ((b"strict-transport-security", b"max-age=31536000"),)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
SHOWN = (
    "Location",
    "Retry-After",
    "ETag",
    "Idempotent-Replayed",
    "Preference-Applied",
    "Content-Range",
    "Accept-Ranges",
    "X-Request-ID",
    "Allow",
    "Content-Length",
    "WWW-Authenticate",
)
PLAYED = re.compile(r"/api/v1/(?:message|job)/[^/]+/audio")
FROM_OTHER_ORIGINS: RawHeaders = ((b"cross-origin-resource-policy", b"cross-origin"),)


class HeadersMiddleware:
    """Adds the headers that an answer does not have itself: a page's own policy stays.

    It is no coroutine of its own: thousands of requests may be waiting in it.
    """

    def __init__(self, app: ASGIApp, *, other_origins: bool) -> None:
        self.app = app
        self._other_origins = other_origins

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        added = NOT_KEPT + ALWAYS
        if self._other_origins and PLAYED.fullmatch(scope["path"]):
            added = FROM_OTHER_ORIGINS + added  # `<audio src>` on another origin's page sends no Origin to judge by
        if scope["scheme"] == "https":
            added += HTTPS_ONLY
        return self.app(scope, receive, partial(_send, send, added))


async def _send(send: Send, added: RawHeaders, message: Message) -> None:
    if message["type"] == "http.response.start":
        headers = list(message.get("headers", ()))
        names = {name.lower() for name, _ in headers}
        for header in added:
            if header[0] not in names:
                names.add(header[0])
                headers.append(header)
        message = {**message, "headers": headers}
    await send(message)


def cors(app: ASGIApp, origins: list[str]) -> ASGIApp:
    """Let pages of these origins call the API and read its answers, errors too.

    They may send any header, as tracing and HTTP libraries add their own: nothing rests on cookies.
    """
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers=["*"],
        allow_private_network=True,
        expose_headers=SHOWN,
        max_age=3_600,
    )
