"""`python -m api` serves the API; `python -m api token NAME` makes a user and prints an access token."""

import argparse
import asyncio
import sys

from sqlmodel import select

from api.auth import make_token
from api.main import create_app, open_stores
from api.server import bind, serve
from shared.config import Settings, get_settings
from shared.db import Database
from shared.logging import setup_logging
from shared.models import User
from shared.run import run
from shared.signals import stop_on_signals

MAX_NAME = 100


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m api", description="Parley's API process.")
    commands = parser.add_subparsers(dest="command")
    token = commands.add_parser("token", help="print an access token for a user, who is made if need be")
    token.add_argument("username")
    token.add_argument("--days", type=float, default=30, help="how long it is good for (30)")
    arguments = parser.parse_args()
    settings = get_settings()
    setup_logging(settings)
    if arguments.command == "token":
        if not 0 < len(arguments.username) <= MAX_NAME:
            parser.exit(2, f"A name has 1 to {MAX_NAME} characters.\n")
        print(asyncio.run(_token(settings, arguments.username, arguments.days)))  # noqa: T201 - it is the output
        return
    if not settings.redis_url:
        sys.exit(
            "REDIS_URL is not set: `python -m api` needs the Redis that its workers use.\n"
            "For everything in one process, without Redis: make run"
        )
    run(_serve(settings))


async def _serve(settings: Settings) -> None:
    stopping = stop_on_signals()
    listener = bind(settings)
    async with open_stores(settings) as stores:
        await serve(create_app(settings, stores), stores, listener, stopping=stopping)


async def _token(settings: Settings, username: str, days: float) -> str:
    database = Database(settings.embedded_database_url)
    async with database.write() as db:
        user = (await db.exec(select(User).where(User.username == username))).first() or User(username=username)
        db.add(user)
        await db.flush()
    await database.close()
    return make_token(settings, user.id, days=days)


if __name__ == "__main__":
    main()
