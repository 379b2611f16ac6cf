"""`python -m worker` runs jobs until a signal, and ends at once at a second one; `check-models` tries each model."""

import shared.process.start_signals  # noqa: F401 - before all that takes its time to import

# isort: split
import argparse
import asyncio
import sys

from shared.config import Settings, get_settings
from shared.process.logging import setup_logging
from shared.process.run import run
from shared.process.start_checks import stop_unless_usable
from shared.process.stop_signals import stop_on_signals
from shared.redis.queue import Queue, open_redis
from worker.check_models import check_models
from worker.main import serve


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m worker", description="Parley's worker process.")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("check-models", help="ask each configured model something short, and say how it went")
    arguments = parser.parse_args()
    settings = get_settings()
    setup_logging(settings)
    if arguments.command:
        try:
            table, all_answered = asyncio.run(check_models(settings))
        except KeyboardInterrupt:
            sys.exit(130)
        print(table)  # noqa: T201 - it is the output
        sys.exit(not all_answered)
    if not settings.redis_url:
        sys.exit(
            "REDIS_URL is not set: `python -m worker` needs the Redis that the API uses.\n"
            "For everything in one process, without Redis: make run"
        )
    run(_serve(settings))


async def _serve(settings: Settings) -> None:
    stopping = stop_on_signals()
    await stop_unless_usable(settings)
    queue = Queue(open_redis(settings.redis_url.get_secret_value() if settings.redis_url else None))
    try:
        await serve(settings, queue, stopping=stopping)
    finally:
        await queue.close()


if __name__ == "__main__":
    main()
