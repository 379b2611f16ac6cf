"""The requests that are under way: each ends when the credential it came with ends, or loses what the request needs.

Redis only wakes: every `CHECK_S` SQL is asked about all of them at once, so nothing depends on a message.
"""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple, cast
from uuid import UUID

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import jwt
from api.http.abort import abort
from api.http.problems import from_error
from shared import models
from shared.errors import AppError, Forbidden, Unavailable
from shared.redis.wakes import JobWakes
from shared.services import api_key as keys
from shared.services import login as logins
from shared.sql.database import Database
from shared.sql.functions import off_the_loop

CHECK_S = 2.0
SHORT_S = 0.5  # most requests have ended by themselves by then, so that nothing is asked about them
POLICY_VIOLATION = 1008  # RFC 6455
LAST_S = 1.0  # how long a client may take to read the end of its event stream

log = structlog.get_logger(__name__)


class Credential(NamedTuple):
    """What a request came with, a login or a key, and the scopes that it needs."""

    user_id: UUID
    login_id: UUID | None
    key_id: UUID | None
    needed: frozenset[models.Scope]


class OpenRequests:
    """Runs requests, and ends those whose credential has ended: 401 or 403, or a broken-off answer if it has begun."""

    def __init__(self, database: Database, events: JobWakes) -> None:
        self._database = database
        self._open: dict[asyncio.Task[None], tuple[float, Credential]] = {}
        self._ending: dict[asyncio.Task[None], AppError] = {}
        self._changed: set[UUID] = set()
        self._wake = asyncio.Event()
        events.on_access_changed = self._look_at

    async def run(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, credential: Credential) -> None:
        """Run a request in the current task, which is cancelled when its credential ends."""
        task = _current()
        answer = _Answer(send)
        self._open[task] = (asyncio.get_running_loop().time(), credential)
        try:
            await app(scope, receive, answer.send)
        except asyncio.CancelledError:
            error = self._ending.get(task)
            if error is None:
                raise
            task.uncancel()
        else:
            error = None
        finally:
            self._open.pop(task, None)
            ended = self._ending.pop(task, None)
        if error:
            log.info("request.access_ended", path=scope["path"], code=error.code, begun=answer.begun)
            await answer.end(error, scope, receive)
        elif ended:  # it was whole just before
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            task.uncancel()

    def see_through(self) -> None:
        """Let the current request end by itself: it is about to end its own credential."""
        self._open.pop(_current(), None)

    async def check_forever(self) -> None:
        """End what has to end: soon after a change that is told of, and after `CHECK_S` in any case."""
        clock = asyncio.get_running_loop()
        next_full = clock.time() + CHECK_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_full):
                    await self._wake.wait()
            self._wake.clear()
            full = clock.time() >= next_full
            if not full:
                await asyncio.sleep(SHORT_S)
            changed, self._changed = self._changed, set()
            try:
                await self._check(None if full else changed, begun_by=clock.time() - SHORT_S)
            except Unavailable as error:
                log.debug("open_requests.store_away", code=error.code)
            except Exception:  # the loop must not die
                log.exception("open_requests.broke")
            if full:
                next_full = clock.time() + CHECK_S

    async def _check(self, user_ids: Collection[UUID] | None, *, begun_by: float) -> None:
        """Ask SQL about the credentials of these users, or of all, and end the requests whose credential is no good."""
        asked = {
            one
            for since, one in self._open.values()
            if since <= begun_by and (user_ids is None or one.user_id in user_ids)
        }
        if not asked:
            return
        async with self._database.read() as db:
            await off_the_loop(db)
            scopes = await logins.scopes(db, login_ids=[one.login_id for one in asked if one.login_id])
            scopes |= await keys.scopes(db, key_ids=[one.key_id for one in asked if one.key_id])
        ended = {one: error for one in asked if (error := _refusal(one, scopes))}
        for task, (_, credential) in list(self._open.items()):
            if credential in ended:
                self._ending[task] = ended[credential]
                task.cancel()  # again if need be: a library may have taken the first one for a timeout of its own

    def _look_at(self, user_id: UUID) -> None:
        self._changed.add(user_id)
        self._wake.set()


def check_scopes(needed: frozenset[models.Scope], scopes: frozenset[models.Scope]) -> None:
    """Raise Forbidden for scopes that are needed and not there."""
    if missing := needed - scopes:
        error = Forbidden(f"This needs the scope {' and '.join(sorted(missing))}.", code="insufficient_scope")
        error.headers = {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
        raise error


def _refusal(credential: Credential, scopes: dict[UUID, frozenset[models.Scope]]) -> AppError | None:
    found = scopes.get(credential.login_id or credential.key_id)  # type: ignore[arg-type]  # it has one of them
    try:
        if found is None:
            raise jwt.bad_token()
        check_scopes(credential.needed, found)
    except AppError as error:
        return error
    return None


def _current() -> "asyncio.Task[None]":
    return cast("asyncio.Task[None]", asyncio.current_task())  # a request runs in a task


class _Answer:
    """What a request has been answered so far."""

    __slots__ = ("_is_event_stream", "_send", "begun")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_event_stream = False
        self.begun = False

    async def send(self, message: Message) -> None:
        """Pass it on."""
        if message["type"] == "websocket.accept":
            self.begun = True
        if message["type"] == "http.response.start":
            self.begun = True
            self._is_event_stream = any(
                name.lower() == b"content-type" and value.startswith(b"text/event-stream")
                for name, value in message["headers"]
            )
        await self._send(message)

    async def end(self, error: AppError, scope: Scope, receive: Receive) -> None:
        """Answer with the error; if something else was begun, end an event stream and break off anything else."""
        if scope["type"] == "websocket":
            await self._send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": error.title})
            return
        if not self.begun:
            await from_error(error, scope["path"])(scope, receive, self._send)
            return
        if self._is_event_stream:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_S):
                    await self._send({"type": "http.response.body", "body": b""})
                    return
        await abort(scope, receive)
