"""`make run`: the API, a worker, the queue and the stores in one process and one event loop."""

import shared.process.start_signals  # noqa: F401 - before all that takes its time to import

# isort: split
import asyncio
import socket
from pathlib import Path

from alembic import command
from alembic.config import Config

from api.http.server import bind
from api.http.server import serve as serve_api
from api.main import create_app
from api.opening import open_resources
from shared.config import Settings, get_settings
from shared.process.logging import setup_logging
from shared.process.run import run
from shared.process.start_checks import stop_unless_usable
from shared.process.stop_signals import stop_on_signals
from shared.provider_presets import OFFLINE
from shared.redis.queue import Queue, open_redis
from worker.main import serve as serve_worker

ROOT = Path(__file__).parent


def main() -> None:
    """Migrate, then serve until Ctrl-C."""
    settings = get_settings()
    setup_logging(settings)
    listener = bind(settings)
    settings.make_data_dir()
    _ = settings.signing_key  # made now, or Parley ends with a line
    config = Config(ROOT / "alembic.ini")
    config.set_main_option("script_location", str(ROOT / "migrations").replace("%", "%%"))  # % is configparser's
    command.upgrade(config, "head")
    print(_banner(settings, _url(listener)), flush=True)  # noqa: T201 - for the person who started it
    run(_serve(settings, listener))


async def _serve(settings: Settings, listener: socket.socket) -> None:
    await stop_unless_usable(settings)
    queue = Queue(open_redis(settings.redis_url.get_secret_value() if settings.redis_url else None))
    async with open_resources(settings, queue) as resources:
        stopping = stop_on_signals()  # until now a signal ends the process at once
        app = create_app(settings, resources)
        worker = asyncio.create_task(  # one Database: SQLite has one writer, and those who wait for it one queue
            serve_worker(
                settings,
                queue,
                stopping=stopping,
                audio=resources.audio,
                database=resources.database,
                limits=resources.limits,
            )
        )
        worker.add_done_callback(lambda _: stopping.set())
        await serve_api(app, settings, listener, stopping=stopping, release=resources.events.close)
        await worker
    await queue.close()


def _url(listener: socket.socket) -> str:
    """An address that a browser on this machine can open: one that stands for all of them is none."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound here
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _banner(settings: Settings, url: str) -> str:
    lines = [
        f"Parley {settings.app_version} is starting",
        f"  page  {url}/",
        f"  docs  {url}/api/v1/docs  (reference: {url}/api/v1/redoc)",
        f"  data  {settings.data_dir.resolve()}",
    ]
    offline = [role for role in ("chat", "stt", "tts") if settings.model_refs(role) == (OFFLINE,)]
    if offline:
        lines.append(
            f"  note  no key is set: the offline engine serves {', '.join(offline)}. Set OPENAI_API_KEY in .env."
        )
    lines.append("Ctrl-C stops it.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
