"""An OpenAI-compatible server on a real socket that does what it is told.

In process: `with FakeOpenAI() as fake: fake.script.add("chat", Answer(status=500))`. As a process:
`python -m tests.fakes.openai_server --port N`, scripted over `POST /script`, `GET /calls`, `POST /reset`.
"""

import argparse
import asyncio
import hashlib
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.fakes.mp3 import mp3_of
from tests.fakes.openai_replies import Body, body_of, error_of
from tests.fakes.openai_script import Answer, Call, Script, call_of
from tests.fakes.realtime import Conversation

ANYWHERE = "/{base:path}"
DRIP_DELAY_S = 0.01
CLOSE_S = 0.02
HOLD_POLL_S = 0.005
KEEP_ALIVE_S = 60  # longer than its clients keep a connection: it closes none just as they use it
Handler = Callable[[Request], Awaitable[Response]]
# By the client's and the server's address.
_transports: dict[object, asyncio.Transport] = {}


class _Protocol(HttpToolsProtocol):
    """uvicorn's own, which also lets a fault reach the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's does
        super().connection_made(transport)
        _transports[(self.client, self.server)] = transport

    def handle_websocket_upgrade(self) -> None:
        """A proxy is asked for whole URLs, and uvicorn would take one for a path."""
        self.url = re.sub(rb"^http://[^/]+", b"", self.url)
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        _transports.pop((self.client, self.server), None)
        super().connection_lost(exc)


class FakeRoutes:
    """The server's endpoints; what they answer is in `script`."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def app(self) -> Starlette:
        """The ASGI application; its paths may follow those of any base URL."""
        posts = {**self.posts(), "/script": self.load, "/reset": self.reset}
        gets = {**self.gets(), "/calls": self.calls}
        routes = [Route(ANYWHERE + path[1:], handler, methods=["POST"]) for path, handler in posts.items()]
        routes += [Route(ANYWHERE + path[1:], handler, methods=["GET"]) for path, handler in gets.items()]
        return Starlette(routes=[*routes, WebSocketRoute(ANYWHERE + "v1/realtime", self.realtime)])

    def posts(self) -> dict[str, Handler]:
        """What is posted to."""
        return {
            "/v1/chat/completions": self.chat,
            "/v1/audio/transcriptions": self.transcriptions,
            "/v1/audio/speech": self.speech,
        }

    def gets(self) -> dict[str, Handler]:
        """What is got."""
        return {"/v1/models": self.models}

    def body(self, request: Request, call: Call, answer: Answer, *, wants_usage: bool) -> Body:
        """What is sent for this call."""
        if answer.status == 200:
            return body_of(call, answer, wants_usage=wants_usage)
        return error_of(answer, request.headers)

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`, streamed or whole."""
        asked = await request.json()
        call = call_of("chat", request.headers, model=asked.get("model", ""), messages=asked.get("messages", []))
        said = [message.get("content") for message in call.messages if message.get("role") == "user"]
        call.text, call.stream = str(said[-1]) if said else "", bool(asked.get("stream"))
        call.max_tokens = asked.get("max_tokens") or asked.get("max_completion_tokens")
        call.wishes = {name: wish for name, wish in asked.items() if name not in {"model", "messages"}}
        options = asked.get("stream_options") or {}
        return await self._serve(request, call, wants_usage=bool(options.get("include_usage")))

    async def transcriptions(self, request: Request) -> Response:
        """`POST /v1/audio/transcriptions`."""
        async with request.form() as form:
            call = call_of("transcriptions", request.headers, model=str(form.get("model", "")))
            call.languages = [str(code) for code in form.getlist("languages[]")]
            call.language = str(form["language"]) if "language" in form else None
            call.response_format = str(form["response_format"]) if "response_format" in form else None
            upload = form.get("file")
            data = b""
            if isinstance(upload, UploadFile):
                call.filename, data = upload.filename or "", await upload.read()
        call.size, call.sha256 = len(data), hashlib.sha256(data).hexdigest()
        return await self._serve(request, call)

    async def speech(self, request: Request) -> Response:
        """`POST /v1/audio/speech`."""
        asked = await request.json()
        call = call_of("speech", request.headers, model=asked.get("model", ""), text=str(asked.get("input", "")))
        call.voice, call.response_format = asked.get("voice"), asked.get("response_format")
        return await self._serve(request, call)

    async def realtime(self, socket: WebSocket) -> None:
        """`/v1/realtime`, a WebSocket."""
        transport = _transports.pop((socket.scope["client"], socket.scope["server"]))  # HTTP's business no longer
        await Conversation(socket, transport, self._script).hold()

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        return await self._serve(request, call_of("models", request.headers))

    async def load(self, request: Request) -> Response:
        """`POST /script`: `{"add": {endpoint: [answer]}, "always": {endpoint: answer}, "heard": {sha256: {…}}}`."""
        self._script.load(await request.json())
        return JSONResponse({"loaded": True})

    async def calls(self, _request: Request) -> Response:
        """`GET /calls`."""
        return JSONResponse(self._script.dump())

    async def reset(self, _request: Request) -> Response:
        """`POST /reset`."""
        self._script.reset()
        return JSONResponse({"reset": True})

    async def _serve(self, request: Request, call: Call, *, wants_usage: bool = False) -> Response:
        call.path = request.url.path
        answer = self._script.begin(call)
        try:
            while answer.hang and (await request.receive())["type"] != "http.disconnect":
                pass
            while call.held and not await request.is_disconnected():  # noqa: ASYNC110 - another thread releases it
                await asyncio.sleep(HOLD_POLL_S)
            await asyncio.sleep(answer.delay_s)
        except asyncio.CancelledError:
            self._script.end(call)
            raise
        if answer.hang or answer.drop:
            self._script.end(call)
            _transport(request).abort()
            return Response()
        body = self.body(request, call, answer, wants_usage=wants_usage)
        chunks = self._send(request, call, answer, body)
        headers = {"content-type": body.content_type, **answer.headers}
        return StreamingResponse(chunks, answer.status, headers)

    async def _send(self, request: Request, call: Call, answer: Answer, body: Body) -> AsyncIterator[bytes]:
        pause = answer.chunk_delay_s or (DRIP_DELAY_S if answer.drip else 0)
        try:
            for number, chunk in enumerate(body.chunks(drip=answer.drip)):
                if number == answer.cut_after:
                    await _close(request)
                    return
                if number == answer.stall_after:
                    await asyncio.Event().wait()
                if pause:
                    await asyncio.sleep(pause)
                for piece in _split(chunk, answer.split_bytes):
                    yield piece
            call.finished = True
        finally:
            self._script.end(call)


def _split(chunk: bytes, size: int | None) -> list[bytes]:
    return [chunk[start : start + size] for start in range(0, len(chunk), size)] if size else [chunk]


def _transport(request: Request) -> asyncio.Transport:
    return _transports[(request.scope["client"], request.scope["server"])]


async def _close(request: Request) -> None:
    """End the connection in the middle of the body: what was sent arrives, the end does not."""
    _transport(request).close()
    await asyncio.sleep(CLOSE_S)


class _Server(uvicorn.Server):
    """uvicorn, which ends as soon as it is told, whoever is being served: many tests wait for that."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._told.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - as uvicorn's
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def stop(self) -> None:
        """From another thread."""
        self._loop.call_soon_threadsafe(self._told.set)


class FakeServer:
    """A server in a thread with its own event loop; `url` is the base URL to configure."""

    def __init__(self, script: Script, routes: FakeRoutes, base_path: str) -> None:
        self.script = script
        self._base_path = base_path
        self._socket = socket.socket()
        self._server = _Server(server_config(routes))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self.url = ""

    def __enter__(self) -> Self:
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}{self._base_path}"
        self._thread.start()
        while not self._server.started:
            time.sleep(0.001)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.stop()
        self._thread.join()
        self._socket.close()


class FakeOpenAI(FakeServer):
    """OpenAI's API on a server."""

    def __init__(self, script: Script | None = None) -> None:
        script = script or Script()
        super().__init__(script, FakeRoutes(script), "/v1")


def server_config(routes: FakeRoutes, host: str = "127.0.0.1", port: int = 0) -> uvicorn.Config:
    """uvicorn, quiet; asyncio and uvloop both set TCP_NODELAY on every connection."""
    mp3_of(1)  # encoded now, so that the first call is as fast as the next
    return uvicorn.Config(
        routes.app(), host=host, port=port, http=_Protocol, ws="websockets-sansio", lifespan="off", log_level="critical",
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
    )  # fmt: skip


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    uvicorn.Server(server_config(FakeRoutes(Script()), options.host, options.port)).run()


if __name__ == "__main__":
    main()
