"""`python -m api` serves the API; `token NAME` prints an access token, `create-admin NAME` makes an administrator."""

import shared.process.start_signals  # noqa: F401 - before all that takes its time to import

# isort: split
import argparse
import sys

from api.auth import commands
from api.http.server import bind, serve
from api.main import create_app
from api.opening import open_resources
from shared.config import Settings, get_settings
from shared.process.logging import setup_logging
from shared.process.run import run
from shared.process.start_checks import stop_unless_usable
from shared.process.stop_signals import stop_on_signals


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m api", description="Parley's API process.")
    commands.add_to(parser)
    arguments = parser.parse_args()
    settings = get_settings()
    setup_logging(settings)
    if arguments.command:
        print(commands.run(settings, arguments))  # noqa: T201 - it is the output
        return
    if not settings.redis_url:
        sys.exit(
            "REDIS_URL is not set: `python -m api` needs the Redis that its workers use.\n"
            "For everything in one process, without Redis: make run"
        )
    _ = settings.signing_key  # made now, or Parley ends with a line
    run(_serve(settings))


async def _serve(settings: Settings) -> None:
    listener = bind(settings)
    await stop_unless_usable(settings)
    async with open_resources(settings) as resources:
        app = create_app(settings, resources)
        stopping = stop_on_signals()  # until now a signal ends the process at once
        await serve(app, settings, listener, stopping=stopping, release=resources.events.close)


if __name__ == "__main__":
    main()
