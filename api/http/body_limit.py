"""How much a request may carry. The one route that takes uploads counts for itself, in `uploads.py`."""

import asyncio
import re
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import MAX_SHOWN, from_error
from shared.errors import AppError, Malformed, TooLarge, Unsupported

MAX_BODY = 1_000_000
UPLOADS = "/api/v1/message/voice"
JSON = frozenset({"application/json", "application/x-json", "text/json", "text/x-json"})
FORMS = frozenset({"/api/v1/auth/login", "/api/v1/auth/token", "/login"})
LINGER_S = 2.0
LINGER_BYTES = 4_000_000
MAX_DEPTH = 32
STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
ALIKE = bytes.maketrans(b"{}", b"[]")


class UnreadBodyMiddleware:
    """Closes the connection of a request that is answered before its body was read: uvicorn would keep it for good.

    After the whole answer was sent, what comes in is thrown away for a moment: closing at once would reset the
    connection and lose the answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _has_body(scope):
            await self._read_or_close(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _read_or_close(self, scope: Scope, receive: Receive, send: Send) -> None:
        unread, closing = True, False

        async def received() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and message["type"] == "http.request" and bool(message.get("more_body"))
            return message

        async def sent(message: Message) -> None:
            nonlocal closing
            if message["type"] == "http.response.start" and unread:
                closing = True
                MutableHeaders(scope=message)["Connection"] = "close"
            if message["type"] == "http.response.body" and closing and not message.get("more_body"):
                await send({**message, "more_body": True})
                left = LINGER_BYTES
                with suppress(TimeoutError):
                    async with asyncio.timeout(LINGER_S):
                        while unread and left > 0:
                            left -= len((await received()).get("body", b""))
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        await self.app(scope, received, sent)


class BodyLimitMiddleware:
    """Reads the body of anything but an upload up to a limit: 413 beyond it, 415 when it says that it is not JSON.

    400 when it is JSON to make a parser dig.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "DELETE", "OPTIONS"}:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["path"] == UPLOADS and headers.get("content-type", "").lower().startswith("multipart/"):
            await self.app(scope, receive, send)
            return
        declared = headers.get("content-length", "0")
        messages: list[Message] = []
        size = int(declared) if declared.isdecimal() else 0
        if size <= MAX_BODY:
            size = await _read(receive, messages)
        error: AppError | None = None
        content_type = headers.get("content-type", "")
        is_json = scope["path"] != UPLOADS and _is_json(content_type, headers)
        if size > MAX_BODY:
            error = TooLarge(f"The body is over {MAX_BODY:,} bytes.")
        elif size and not (is_json or _reads_itself(scope["path"], content_type)):
            error = Unsupported(_send_json(scope["path"], content_type))
        elif is_json and is_deep(b"".join(message.get("body", b"") for message in messages)):
            error = Malformed(f"The brackets of the body do not match, or are nested deeper than {MAX_DEPTH} levels.")
        if error:
            await from_error(error, scope["path"])(scope, receive, send)
            return
        if is_json and content_type != "application/json":
            MutableHeaders(scope=scope)["Content-Type"] = "application/json"  # FastAPI knows fewer names of it
        await self.app(scope, _replay(messages, receive), send)


def is_deep(body: bytes) -> bool:
    """Whether JSON is nested beyond `MAX_DEPTH`, or so many brackets are not pairs; it is not parsed."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return False
    brackets = STRINGS.sub(b"", body).translate(ALIKE, NO_BRACKETS)
    if b"[" * (MAX_DEPTH + 1) in brackets:
        return True
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")  # the innermost level
    return bool(brackets)


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def is_form(content_type: str) -> bool:
    """Whether it is what a browser's form sends when it has no files."""
    return content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"


def _reads_itself(path: str, content_type: str) -> bool:
    return path == UPLOADS or (path in FORMS and is_form(content_type))


def _is_json(content_type: str, headers: Headers) -> bool:
    """Also without a type, but not from a page: any may send that, unasked, to a Parley on its visitor's machine."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in JSON or kind.endswith("+json") or (not content_type and "origin" not in headers)


def _send_json(path: str, content_type: str) -> str:
    form = " or a form" if path in FORMS else ""
    sent = f"{content_type[:MAX_SHOWN]!r}" if content_type else "none"
    return f"Send JSON{form}, and say so: Content-Type: application/json. The request has {sent}."


async def _read(receive: Receive, messages: list[Message]) -> int:
    size = 0
    while size <= MAX_BODY:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    return size


def _replay(messages: list[Message], receive: Receive) -> Receive:
    waiting = iter(messages)

    async def replayed() -> Message:
        return next(waiting, None) or await receive()

    return replayed
