"""`python -m worker` runs jobs until it is told to stop; a second signal ends it at once."""

import sys

from shared.config import Settings, get_settings
from shared.logging import setup_logging
from shared.queue import Queue, open_redis
from shared.run import run
from shared.signals import stop_on_signals
from worker.main import serve


def main() -> None:
    """Start from the settings."""
    settings = get_settings()
    setup_logging(settings)
    if not settings.redis_url:
        sys.exit(
            "REDIS_URL is not set: `python -m worker` needs the Redis that the API uses.\n"
            "For everything in one process, without Redis: make run"
        )
    run(_serve(settings))


async def _serve(settings: Settings) -> None:
    queue = Queue(open_redis(settings.redis_url.get_secret_value() if settings.redis_url else None))
    try:
        await serve(settings, queue, stopping=stop_on_signals())
    finally:
        await queue.close()


if __name__ == "__main__":
    main()
