"""SQL: the engines, the database's clock, and the one committer. Nothing happens at import."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from asyncpg import DiskFullError, PostgresError, UndefinedColumnError, UndefinedTableError
from sqlalchemy import JSON, BindParameter, DateTime, Dialect, Float, Integer, String, bindparam, event, literal
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from shared import sqlite
from shared.errors import StorageFull, Unavailable

RETRY_S = 2.0
POOL_S = 2.5  # how long a request waits for a connection, and then
BUSY_S = 1.7  # for a lock or an answer, before it is told to come back: within 5 s
ABANDONED_S = 5.0  # after which PostgreSQL takes its locks from a process that stopped in a transaction


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC, aware on both databases."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """SQLite has no zones: what is stored there is UTC."""
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give the zone back."""
        return value if value is None or value.tzinfo else value.replace(tzinfo=UTC)


class db_now(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function it is
    """The database's own clock in UTC, to the fraction of a second, plus `plus` seconds.

    No host's clock decides anything; PostgreSQL's `now()` would be the transaction's start, SQLite's
    CURRENT_TIMESTAMP has whole seconds.
    """

    type = UtcDateTime()
    inherit_cache = True
    name = "db_now"

    def __init__(self, plus: float | BindParameter[float] = 0.0) -> None:
        super().__init__(literal(plus, Float()) if isinstance(plus, float | int) else plus)


def seconds(name: str) -> BindParameter[float]:
    """A number of seconds that a statement is given when it runs."""
    return bindparam(name, type_=Float())


@compiles(db_now, "sqlite")
def _sqlite_now(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {compiler.process(element.clauses, **kw)} || ' seconds')"


@compiles(db_now, "postgresql")
def _postgresql_now(element: db_now, compiler: SQLCompiler, **kw: Any) -> str:
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kw)}))"


class octets(FunctionElement[int]):  # noqa: N801 - as above
    """How many bytes a text has in UTF-8."""

    type = Integer()
    inherit_cache = True
    name = "octets"


@compiles(octets, "sqlite")
def _sqlite_octets(element: octets, compiler: SQLCompiler, **kw: Any) -> str:
    return f"length(CAST({compiler.process(element.clauses, **kw)} AS BLOB))"


@compiles(octets, "postgresql")
def _postgresql_octets(element: octets, compiler: SQLCompiler, **kw: Any) -> str:
    return f"octet_length({compiler.process(element.clauses, **kw)})"


class utc_day(FunctionElement[str]):  # noqa: N801 - as above
    """The day of a moment in UTC, as YYYY-MM-DD."""

    type = String()
    inherit_cache = True
    name = "utc_day"


@compiles(utc_day, "sqlite")
def _sqlite_day(element: utc_day, compiler: SQLCompiler, **kw: Any) -> str:
    return f"date({compiler.process(element.clauses, **kw)})"


@compiles(utc_day, "postgresql")
def _postgresql_day(element: utc_day, compiler: SQLCompiler, **kw: Any) -> str:
    return f"to_char({compiler.process(element.clauses, **kw)} AT TIME ZONE 'UTC', 'YYYY-MM-DD')"


class json_rows(FunctionElement[list[list[Any]]]):  # noqa: N801 - as above
    """All rows of a subquery as one JSON list of lists, in no order: what many rows are read apart from a large one."""

    type = JSON()
    inherit_cache = True
    name = "json_rows"


@compiles(json_rows, "sqlite")
def _sqlite_rows(element: json_rows, compiler: SQLCompiler, **kw: Any) -> str:
    return f"json_group_array(json_array({compiler.process(element.clauses, **kw)}))"


@compiles(json_rows, "postgresql")
def _postgresql_rows(element: json_rows, compiler: SQLCompiler, **kw: Any) -> str:
    return f"coalesce(json_agg(json_build_array({compiler.process(element.clauses, **kw)})), '[]')"


@dataclass(frozen=True)
class Dispatch:
    """After the commit: put the job on the queue."""

    job_id: UUID
    dispatch_no: int


@dataclass(frozen=True)
class JobChanged:
    """After the commit: tell whoever follows the job to look again; when it has `ended`, whoever waits for it too."""

    job_id: UUID
    ended: bool = False


Effect = Dispatch | JobChanged
Effects = Callable[[list[Effect]], Awaitable[None]]


def upsert(db: AsyncSession, table: type[SQLModel]) -> postgresql.Insert | sqlite_dialect.Insert:
    """An INSERT with `on_conflict_do_…`, which the two databases spell alike and SQLAlchemy apart."""
    kind = sqlite_dialect.insert if db.get_bind().dialect.name == "sqlite" else postgresql.insert
    return kind(table)


def after_commit(db: AsyncSession, effect: Effect) -> None:
    """Leave what must follow the commit of `db`; nothing of it happens when the transaction fails."""
    db.info.setdefault("after_commit", []).append(effect)


def before_commit(db: AsyncSession, do: Callable[[AsyncSession], Awaitable[None]]) -> None:
    """Leave what must be the last thing that the transaction of `db` does."""
    db.info.setdefault("before_commit", []).append(do)


async def off_the_loop(db: AsyncSession) -> None:
    """Say that what follows on `db` may look at many rows: on SQLite it then runs in a thread."""
    raw = await (await db.connection()).get_raw_connection()
    if isinstance(raw.driver_connection, sqlite.Connection):
        raw.driver_connection.long = True


class Database:
    """The two ways into SQL: `read()` never takes the write lock, `write()` is the only committer.

    `url` is any `sqlite+aiosqlite:` or `postgresql+asyncpg:` URL. `effects` runs the after-commit list; it must
    not raise, because what it does is only a wake: SQL is the truth.
    """

    def __init__(self, url: str, effects: Effects | None = None) -> None:
        self._effects = effects
        if make_url(url).get_backend_name() == "sqlite":
            self._reads = _sqlite_engine(url, write=False)
            self._writes = _sqlite_engine(url, write=True)
        else:
            self._writes = create_async_engine(
                url, hide_parameters=True, pool_size=20, max_overflow=0, pool_timeout=POOL_S, pool_use_lifo=True,
                connect_args={"timeout": BUSY_S, "command_timeout": BUSY_S, "server_settings": _POSTGRESQL},
            )  # fmt: skip
            self._reads = self._writes.execution_options(isolation_level="AUTOCOMMIT")  # one round trip, not three

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session for queries; raises Unavailable when the database is away or too busy."""
        with _translated():
            async with AsyncSession(self._reads, expire_on_commit=False) as db:
                yield db

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A transaction: commits when the block ends well, then runs the after-commit list; else rolls back.

        Raises Unavailable when the database is away or too busy.
        """
        with _translated():
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


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeout, PostgresError, OSError) as error:
        unavailable = _unavailable(error)
        if unavailable is None:
            raise
        raise unavailable from error


def _unavailable(error: Exception) -> Unavailable | None:
    """What a failure of the store means; None for a mistake of ours, data that can't be stored, or a constraint."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = str(getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or "")
    if code in {"SQLITE_FULL", DiskFullError.sqlstate}:
        return StorageFull("The database has no room left.", retry_after=RETRY_S)
    if code in {UndefinedTableError.sqlstate, UndefinedColumnError.sqlstate} or "no such " in str(cause):
        detail = "The database has not been migrated: alembic upgrade head."
        return Unavailable(detail, code="not_migrated", retry_after=RETRY_S)
    away = isinstance(error, InterfaceError | InternalError | OperationalError) or not isinstance(error, DBAPIError)
    if away or (type(error) in {DBAPIError, DatabaseError} and not code.startswith("22")):
        return Unavailable("The database is away or too busy. Try again.", retry_after=RETRY_S)
    return None


_POSTGRESQL = {
    "application_name": "parley",
    "jit": "off",  # short queries: compiling one takes longer than running it
    "lock_timeout": f"{BUSY_S * 1_000:.0f}",
    "idle_in_transaction_session_timeout": f"{ABANDONED_S * 1_000:.0f}",
}


def _sqlite_engine(url: str, *, write: bool) -> AsyncEngine:
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
