"""HTTP as old and careless clients speak it, where uvicorn and FastAPI leave gaps."""

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from api.http.abort import AbortProtocol
from api.http.security_headers import ALWAYS, NOT_KEPT
from shared.errors import Malformed

PROBLEM = (b"content-type", b"application/problem+json")


class WireProtocol(AbortProtocol):
    """Drops white space behind a header's value, answers HTTP/1.0 without chunks, and no HTTP with a problem."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """RFC 9110 has optional white space on both sides of a value; the parser drops only what comes before it."""
        super().on_header(name, value.strip(b" \t"))

    def send_400_response(self, msg: str) -> None:
        """Uvicorn's own is plain text."""
        problem = {
            "type": "about:blank",
            "title": Malformed.title,
            "status": int(HTTPStatus.BAD_REQUEST),
            "detail": msg,
            "instance": "",
            "code": Malformed.code,
        }
        body = json.dumps(problem).encode()
        length = (b"content-length", str(len(body)).encode())
        headers = (*self.server_state.default_headers, PROBLEM, length, *ALWAYS, *NOT_KEPT, (b"connection", b"close"))
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(b"%s%s\r\n%s" % (STATUS_LINE[HTTPStatus.BAD_REQUEST], lines, body))
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Callable[..., Awaitable[None]]) -> None:
        if cycle.scope["http_version"] != "1.1":
            app = _Unchunked(app, cycle)
        super()._start_asgi_task(cycle, app)


class _Unchunked:
    """One answer whose body, when its length is not known, ends with the connection: HTTP/1.0 has no chunks."""

    def __init__(self, app: Callable[..., Awaitable[None]], cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle = cycle
        self._open_ended = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._open_ended = not any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
                if self._open_ended:
                    self._cycle.chunked_encoding = False
            elif self._open_ended:
                self._cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, sent)


class HeadMethodMiddleware:
    """Answers HEAD as GET would, without a body: what would follow is never made, however long it would stream."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return self.app(scope, receive, send)

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body"})  # from here on `receive` says that the client is gone

        return self.app({**scope, "method": "GET"}, receive, sent)
