"""The head of a request, which is its address and its headers: not longer than anything of ours needs."""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.http.problems import MAX_SHOWN, from_error
from shared.errors import HeadTooLarge

MAX_HEAD = 32_768
MAX_HEADERS = 100


class HeaderLimitMiddleware:
    """Refuses a head that came in whole and is too large."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            headers = scope["headers"]
            size = len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(n) + len(v) for n, v in headers)
            if len(headers) > MAX_HEADERS or size > MAX_HEAD:
                error = HeadTooLarge(f"The address and the headers are over {MAX_HEAD:,} bytes, or over {MAX_HEADERS}.")
                return from_error(error, scope["path"][:MAX_SHOWN])(scope, receive, send)
        return self.app(scope, receive, send)


class HeaderLimitProtocol(HttpToolsProtocol):
    """uvicorn's own, which would keep a head, or what follows a chunked body, that never ends."""

    _idle = 0

    def data_received(self, data: bytes) -> None:
        """Read on; give up on a client that sends and sends, and neither a head nor a piece of body comes of it."""
        self._idle += len(data)
        super().data_received(data)
        if self._idle > MAX_HEAD and not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete:
                self.send_400_response("The head of the request is too large.")
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._idle = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._idle = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._idle = 0
        super().on_message_complete()
