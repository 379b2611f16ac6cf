"""`GET /job/{id}/audio?stream=1`: an mp3 without a length, which may break off."""

from collections.abc import AsyncGenerator, AsyncIterator

import structlog
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.http.abort import truncate
from api.usecases.listen import StreamBrokenError
from shared.errors import AppError

HEADERS = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff", "Accept-Ranges": "none"}

log = structlog.get_logger(__name__)


async def stream(sound: AsyncGenerator[bytes]) -> StreamingResponse:
    """Answer once there is a first piece; an error before that is the answer."""
    first = await anext(sound)

    async def pieces() -> AsyncIterator[bytes]:
        yield first
        async for piece in sound:
            yield piece

    return _Unfinished(pieces(), headers=HEADERS, media_type="audio/mpeg")


class _Unfinished(StreamingResponse):
    """A body that may break off: the connection is closed without the body's end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except (StreamBrokenError, AppError) as error:
            log.warning("sound.broken_off", error=type(error).__name__)
            await truncate(scope, receive)
