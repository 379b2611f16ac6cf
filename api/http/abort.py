"""Cutting the connection under an answer that will never be whole, which uvicorn would log as an error of the app."""

from starlette.types import Receive, Scope

from api.http.header_limit import HeaderLimitProtocol

ABORT = "parley.cut"


class AbortProtocol(HeaderLimitProtocol):
    """Lets an answer close the connection under it."""

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.scope["extensions"] = {ABORT: {"transport": self.transport}}


async def truncate(scope: Scope, receive: Receive) -> None:
    """Send what was given so far, and close; back when it is closed."""
    scope["extensions"][ABORT]["transport"].close()
    await _closed(receive)


async def abort(scope: Scope, receive: Receive) -> None:
    """Close at once, whatever the client has still to read; back when it is closed."""
    scope["extensions"][ABORT]["transport"].abort()
    await _closed(receive)


async def _closed(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
