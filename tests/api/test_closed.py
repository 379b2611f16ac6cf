"""Closed by default: what is on no list of public paths needs a credential, whatever it is and wherever it lies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import websockets
from fastapi import FastAPI, WebSocket
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from api.auth.public import is_public
from api.http.server import bind, serve
from api.main import create_app
from shared.audio.pool import AudioPool
from shared.config import Settings
from tests.live import Live, live_parley


@asynccontextmanager
async def with_more(live: Live) -> AsyncIterator[str]:
    """The same Parley with routes that somebody added and put on no list; its address."""
    app = create_app(live.resources.settings, live.resources)
    inner = FastAPI()

    @app.get("/somewhere/else")
    @inner.get("/inside")
    async def told() -> str:
        return "secret"

    @app.websocket("/live")
    @app.websocket("/api/v1/live")
    async def live_socket(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("secret")
        await socket.receive_text()

    app.mount("/mounted", inner)
    async with served(app, live) as address:
        yield address


@asynccontextmanager
async def served(app: FastAPI, live: Live) -> AsyncIterator[str]:
    """Serve an app on what a live Parley stands on; its host and port."""
    listener, stopping = bind(live.resources.settings), asyncio.Event()

    async def release() -> None:
        pass

    serving = asyncio.create_task(serve(app, live.resources.settings, listener, stopping=stopping, release=release))
    host, port = listener.getsockname()[:2]
    try:
        yield f"{host}:{port}"
    finally:
        stopping.set()
        await serving


@pytest.fixture
async def added(settings: Settings, audio_pool: AudioPool) -> AsyncIterator[tuple[Live, str]]:
    async with (
        live_parley(settings.model_copy(update={"auth": "on"}), audio_pool, work=False) as live,
        with_more(live) as address,
    ):
        yield live, address


@pytest.mark.parametrize("path", ["/somewhere/else", "/mounted/inside"])
async def test_a_route_on_no_list_is_closed(added: tuple[Live, str], path: str) -> None:
    live, address = added
    async with httpx.AsyncClient(base_url=f"http://{address}") as http:
        refused = await http.get(path)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
        assert "secret" not in refused.text
        answer = await http.get(path, headers=await live.sign_in("ann"))
        assert (answer.status_code, answer.json()) == (200, "secret")


@pytest.mark.parametrize("path", ["/live", "/api/v1/live"])
async def test_a_websocket_is_closed(added: tuple[Live, str], path: str) -> None:
    _, address = added
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        with pytest.raises(InvalidStatus) as refused:
            async with websockets.connect(f"ws://{address}{path}", additional_headers=headers):
                pass
        assert refused.value.response.status_code == 401


async def test_an_open_websocket_ends_with_its_credential(added: tuple[Live, str]) -> None:
    live, address = added
    ann: dict[str, Any] = await live.sign_in("ann")
    async with websockets.connect(f"ws://{address}/live", additional_headers=ann) as socket:
        assert await socket.recv() == "secret"
        assert (await live.http.post("/api/v1/auth/logout", headers=ann)).is_success
        with pytest.raises(ConnectionClosedError) as ended:
            async with asyncio.timeout(20):
                await socket.recv()
        assert ended.value.rcvd
        assert ended.value.rcvd.code == 1008


def test_the_list_of_what_is_public_is_short() -> None:
    assert not any(is_public(path) for path in ("", "/api/v1", "/api/v1/job", "/static", "/healthy", "/login/", "//"))
