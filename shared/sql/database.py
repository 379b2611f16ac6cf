"""SQL: the engines, the database's clock, and the one committer. Nothing happens at import."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import structlog
from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.errors import Unavailable
from shared.process.outage import Outage
from shared.sql import sqlite
from shared.sql.effects import Effects
from shared.sql.failures import _WHOLLY, FAILURES, RETRY_S, explained
from shared.sql.url import DatabaseUrl, database_url

log = structlog.get_logger(__name__)

POOL_S = 2.5  # how long a request waits for a connection, and then
BUSY_S = 1.7  # for a lock or an answer, before it is told to come back: within 5 s
ABANDONED_S = 5.0  # after which PostgreSQL takes its locks from a process that stopped in a transaction


class Database:
    """The two ways into SQL: `read()` never takes the write lock, `write()` is the only committer.

    `url` is any `sqlite+aiosqlite:` or `postgresql+asyncpg:` URL. `effects` runs the after-commit list; it must
    not raise, because what it does is only a wake: SQL is the truth.
    """

    def __init__(self, url: str, effects: Effects | None = None) -> None:
        self._effects = effects
        target = database_url(url)
        self.where = target.where
        self._outage = Outage("sql", target.where)
        self._file: sqlite.File | None = None
        if target.url.get_backend_name() == "sqlite":
            self._file = sqlite.File(target.where)
            self._reads = _sqlite_engine(target.url, write=False)
            self._writes = _sqlite_engine(target.url, write=True)
        else:
            self._writes = _postgresql_engine(target)
            # one round trip, not three; a pooler may give its two halves to two servers
            level = {} if target.is_pooled else {"isolation_level": "AUTOCOMMIT"}
            self._reads = self._writes.execution_options(**level)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session for queries; raises Unavailable when the database is away or too busy."""
        with self._translated(write=False):
            async with AsyncSession(self._reads, expire_on_commit=False) as db:
                yield db

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A transaction: commits when the block ends well, then runs the after-commit list; else rolls back.

        Raises Unavailable when the database is away or too busy.
        """
        with self._translated(write=True):
            if self._file:
                self._file.check()
            async with AsyncSession(self._writes, expire_on_commit=False) as db:
                yield db
                for do in db.info.get("before_commit", ()):
                    await do(db)
                await db.commit()
        effects = db.info.pop("after_commit", None)
        if effects and self._effects:
            await asyncio.shield(self._effects(effects))  # what is committed is told, also when the caller is cancelled

    async def close(self) -> None:
        """Close every connection."""
        await self._reads.dispose()
        await self._writes.dispose()

    async def check(self) -> None:
        """Do what a write needs, and leave nothing behind. Raises Unavailable."""
        is_read_only = False
        with self._translated(write=True):
            if self._file:
                self._file.check()
            async with self._writes.connect() as connection:
                raw = (await connection.get_raw_connection()).driver_connection
                if isinstance(raw, sqlite.Connection):
                    await raw.rewrite()
                else:
                    is_read_only = await _write_a_file(raw)
        if is_read_only:
            why = "its transactions are read-only: a standby, or default_transaction_read_only"
            self._outage.failed(why, only_writes=True)
            raise Unavailable("The database is read-only.", retry_after=RETRY_S).because("read-only", why)

    @contextmanager
    def _translated(self, *, write: bool) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            unavailable = explained(error)
            if unavailable is None:
                raise
            if unavailable.state != "busy":
                self._outage.failed(unavailable.why, only_writes=unavailable.state not in _WHOLLY)
            raise unavailable from error
        else:
            self._outage.worked(write=write)


async def _write_a_file(connection: Any) -> bool:
    """Sort in so little memory that PostgreSQL needs a file, beside its tables; whether it is read-only."""
    async with connection.transaction():
        await connection.execute("SET LOCAL work_mem = '64kB'")
        await connection.fetchval(
            "SELECT count(*) FROM (SELECT n FROM generate_series(1, 5000) n ORDER BY -n) AS sorted"
        )
        return bool(await connection.fetchval("SELECT current_setting('transaction_read_only') = 'on'"))


_POSTGRESQL = {
    "application_name": "parley",
    "jit": "off",  # short queries: compiling one takes longer than running it
    "lock_timeout": f"{BUSY_S * 1_000:.0f}",
    "idle_in_transaction_session_timeout": f"{ABANDONED_S * 1_000:.0f}",
}


def _postgresql_engine(target: DatabaseUrl) -> AsyncEngine:
    if target.warning:
        log.warning("database.url", warning=target.warning)
    ours = {"application_name": "parley"} if target.is_pooled else _POSTGRESQL  # PgBouncer refuses the others
    settings = {"server_settings": {**ours, **target.args["server_settings"]}}
    return create_async_engine(
        target.url, hide_parameters=True, pool_size=20, max_overflow=0, pool_timeout=POOL_S, pool_use_lifo=True,
        connect_args={"timeout": BUSY_S, "command_timeout": BUSY_S, **target.args, **settings},
    )  # fmt: skip


def _sqlite_engine(url: URL, *, write: bool) -> AsyncEngine:
    # one connection that writes: whoever is next waits here, in order, and not in SQLite, which has no order
    pool = {"pool_size": 1 if write else 10, "max_overflow": 0, "pool_use_lifo": True}
    engine = create_async_engine(
        url,
        hide_parameters=True,
        connect_args={"timeout": BUSY_S, "async_creator_fn": sqlite.connect},
        pool_timeout=POOL_S,
        **pool,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")  # an accepted message survives a power cut
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA query_only={'OFF' if write else 'ON'}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "checkout")
    def _checkout(connection: Any, _record: Any, _proxy: Any) -> None:
        connection.driver_connection.long = False

    if write:

        @event.listens_for(engine.sync_engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
