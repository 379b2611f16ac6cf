"""uvicorn, stopped by us: waiting clients are answered first, and the code after `serve()` does run."""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from api.http.protocol import WireProtocol
from shared.config import Settings

GRACE_S = 5
IDLE_S = 75  # longer than clients keep an idle connection: one of theirs must not close as they use it


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: uvicorn would raise them again when it ends."""
        yield


def bind(settings: Settings) -> socket.socket:
    """Listen on the port, so that early clients wait instead of failing; or exit with one clear line."""
    host = settings.host.strip("[]")
    try:
        found = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, place = min(found, key=lambda one: one[0] != socket.AF_INET)  # IPv4 if there is
        taken = socket.socket(family, kind, protocol)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(place)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "that is no host name"
        raise SystemExit(f"Parley can't listen on {host} port {settings.port}: {why}. {_hint(error)}") from None
    taken.listen(2_048)
    return taken


def _hint(error: OSError | UnicodeError) -> str:
    if isinstance(error, PermissionError):
        return "Set PORT to one from 1024 on."
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "Choose another with PORT."
    return "Set HOST to an address of this machine."


async def serve(
    app: FastAPI,
    settings: Settings,
    listener: socket.socket,
    *,
    stopping: asyncio.Event,
    release: Callable[[], Awaitable[None]],
) -> None:
    """Serve until `stopping` is set, `release` the clients that wait, then let open requests end."""
    config = uvicorn.Config(
        app,
        http=WireProtocol,
        server_header=False,  # the proxy before it has its own
        log_config=None,
        access_log=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=IDLE_S,
        limit_concurrency=20_000,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
    await release()
    server.should_exit = True
    stop.cancel()
    await serving
