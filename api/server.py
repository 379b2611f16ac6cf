"""uvicorn, stopped by us: waiting clients are answered first, and the code after `serve()` does run."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from api.cut import CuttingProtocol
from api.state import Stores
from shared.config import Settings

GRACE_S = 5


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: uvicorn would raise them again when it ends."""
        yield


def bind(settings: Settings) -> socket.socket:
    """Listen on the port, so that early clients wait instead of failing; or exit with one clear line."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((settings.host, settings.port))
    except OSError as error:
        raise SystemExit(
            f"Parley can't listen on {settings.host} port {settings.port}: {error.strerror}. Choose another with PORT."
        ) from None
    taken.listen(2_048)
    return taken


async def serve(app: FastAPI, stores: Stores, listener: socket.socket, *, stopping: asyncio.Event) -> None:
    """Serve until `stopping` is set, then let open requests end."""
    settings = stores.settings
    config = uvicorn.Config(
        app,
        http=CuttingProtocol,
        log_config=None,
        access_log=False,
        server_header=False,  # a proxy has its own
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=20_000,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
    await stores.events.close()
    server.should_exit = True
    stop.cancel()
    await serving
