"""What must be right before a process serves. What can't come right by itself ends it with one line."""

import asyncio
import errno
import os
from collections.abc import Awaitable
from pathlib import Path

from shared.config import Settings
from shared.errors import Unavailable
from shared.process.outage import quietly
from shared.redis.queue import Queue, open_redis
from shared.services import blob as blobs
from shared.services import worker as workers
from shared.sql.database import Database
from shared.storage import Storage
from shared.store_urls import address

PATIENCE_S = 5.0


async def stop_unless_usable(settings: Settings) -> None:
    """Try each store; raises SystemExit when one won't do. Those that are away are waited for, later."""
    if not (settings.database_url and settings.blob_url):
        settings.make_data_dir()
    database = Database(settings.embedded_database_url)
    queue = Queue(open_redis(settings.redis_url.get_secret_value() if settings.redis_url else None))
    try:
        with quietly():
            sql, redis, blobs_ = await asyncio.gather(
                _try(_look(database)), _try(queue.check()), _try(_write(settings, database))
            )
    finally:
        await database.close()
        await queue.close()
    found = [
        ("database", database.where, sql, database_setting(settings)),
        ("Redis", queue.where, redis, "REDIS_URL"),
        ("blob store", address(settings.embedded_blob_url), blobs_, "BLOB_URL" if settings.blob_url else "DATA_DIR"),
    ]
    lines = [
        refusal(store, where, error, setting) for store, where, error, setting in found if error and error.is_lasting
    ]
    if lines:
        raise SystemExit("\n".join(lines))


def database_setting(settings: Settings) -> str:
    """The setting that says where SQL is."""
    return "DATABASE_URL" if settings.database_url else "DATA_DIR"


def refusal(store: str, where: str, error: Unavailable, setting: str) -> str:
    """The line by which a process ends, with the name of the setting to look at."""
    why = error.why or error.detail
    if where.startswith("/") and error.state == "a file that can't be opened":
        why = _why_not_opened(Path(where))
    return f"Parley can't use its {store} ({where}): {why}.{_whom_to_let_in(error)} Look at {setting}."


def _whom_to_let_in(error: Unavailable) -> str:
    """A folder that is mounted into a container belongs to whoever made it on the host."""
    user = os.getuid()
    if error.why != os.strerror(errno.EACCES):
        return ""
    return f" Parley runs as user {user}: give that user the folder (chown -R {user} …)."


def _why_not_opened(path: Path) -> str:
    """SQLite says no more than that it can't."""
    if path.is_dir():
        return "it is a folder"
    if path.parent.is_file():
        return f"{str(path.parent)!r} is a file, not a folder"
    if not path.parent.exists():
        return f"the folder {str(path.parent)!r} is not there"
    return "it, or its folder, can't be written"


async def _try(check: Awaitable[None]) -> Unavailable | None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            await check
    except Unavailable as error:
        return error
    except TimeoutError:
        return None
    return None


async def _look(database: Database) -> None:
    async with database.read() as db:
        await workers.fleet(db)


async def _write(settings: Settings, database: Database) -> None:
    async def known() -> list[str] | None:
        try:
            async with database.read() as db:
                return list(await blobs.sample(db))
        except Unavailable:
            return None

    await Storage(settings.embedded_blob_url).check(known)
