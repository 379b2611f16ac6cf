"""What an operator does to accounts from a shell."""

import argparse
import asyncio
import getpass
import re
import sys

from pydantic import SecretStr, TypeAdapter, ValidationError

from api.auth import jwt
from shared.config import Settings
from shared.errors import AppError, Conflict, Unavailable
from shared.models import LOCAL_USER_ID, Username
from shared.passwords import Password, Passwords
from shared.process.outage import quietly
from shared.process.start_checks import database_setting, refusal
from shared.services import login as logins
from shared.services import user as users
from shared.sql.database import Database
from shared.sql.url import database_url

DAY_S = 86_400.0
MOST_DAYS = 36_500


def add_to(parser: argparse.ArgumentParser) -> None:
    """Teach the command line these commands; without one the API is served."""
    commands = parser.add_subparsers(dest="command")
    token = commands.add_parser("token", help="print an access token for a user, who is made if need be")
    token.add_argument("username")
    token.add_argument("--days", type=_days, default=30.0, help="how long it is good for (30)")
    admin = commands.add_parser("create-admin", help="make a user, or the one there is, an administrator")
    admin.add_argument("username")


def _days(text: str) -> float:
    """Python would also read `nan`, `1_0` and the digits of other scripts."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) or float(text) > MOST_DAYS:
        raise argparse.ArgumentTypeError(f"must be a number of days up to {MOST_DAYS:,}")
    return float(text)


def run(settings: Settings, arguments: argparse.Namespace) -> str:
    """Do what was asked; what to print. Exits with one line when it can't be done."""
    try:
        username = TypeAdapter(Username).validate_python(arguments.username)
        with quietly():
            if arguments.command == "token":
                return asyncio.run(_token(settings, username, arguments.days))
            return asyncio.run(_create_admin(settings, username, TypeAdapter(Password).validate_python(_ask())))
    except ValidationError as error:
        raise SystemExit(f"That won't do: {error.errors()[0]['msg']}.") from None
    except Unavailable as error:
        where = database_url(settings.embedded_database_url).where
        raise SystemExit(refusal("database", where, error, database_setting(settings))) from None
    except AppError as error:
        raise SystemExit(error.detail) from None


async def _token(settings: Settings, username: str, days: float) -> str:
    database = Database(settings.embedded_database_url)
    seconds = days * DAY_S
    try:
        async with database.write() as db:
            user = await users.find(db, username=username) or await users.create(
                db, username=username, password_hash=None, balance=settings.starting_balance
            )
            if user.disabled:
                detail = "This user is disabled: no token of theirs would be good."
                raise Conflict(detail)
            login = await logins.begin(db, owner_id=user.id, seconds=seconds)
    finally:
        await database.close()
    return jwt.access_token(settings, login, seconds=seconds)


async def _create_admin(settings: Settings, username: str, password: SecretStr) -> str:
    password_hash = await Passwords().hash(password)
    database = Database(settings.embedded_database_url)
    try:
        async with database.write() as db:
            user = await users.find(db, username=username)
            if user and user.id == LOCAL_USER_ID:
                detail = "That is the built-in user, who can't sign in. Choose another name."
                raise Conflict(detail)
            await users.make_admin(db, username=username, password_hash=password_hash)
    finally:
        await database.close()
    return f"{username} is an administrator."


def _ask() -> SecretStr:
    """The password: typed twice without being shown, or the first line of what is piped in."""
    if not sys.stdin.isatty():
        return SecretStr(sys.stdin.readline().rstrip("\r\n"))
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        sys.exit("The two are not the same.")
    return SecretStr(password)
