"""SQL: the engines, the database's clock, and the one committer. Nothing happens at import."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from sqlite3 import Error as SqliteError
from ssl import CertificateError
from typing import Any
from uuid import UUID

import structlog
from asyncpg import (
    ClientConfigurationError,
    DiskFullError,
    InsufficientPrivilegeError,
    InternalClientError,
    InvalidAuthorizationSpecificationError,
    InvalidCatalogNameError,
    InvalidPasswordError,
    LockNotAvailableError,
    PostgresError,
    QueryCanceledError,
    ReadOnlySQLTransactionError,
    UndefinedColumnError,
    UndefinedTableError,
)
from asyncpg import InterfaceError as ClientError
from sqlalchemy import JSON, URL, BindParameter, DateTime, Dialect, Float, Integer, String, bindparam, event, literal
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite as sqlite_dialect
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
from shared.database_url import DatabaseUrl, database_url
from shared.errors import StorageFull, Unavailable
from shared.outage import Outage, first_line

log = structlog.get_logger(__name__)

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


@dataclass(frozen=True)
class AccessChanged:
    """After the commit: have what a user may do, and by which credentials, looked at again for their open requests."""

    user_id: UUID


Effect = Dispatch | JobChanged | AccessChanged
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


FAILURES = (DBAPIError, PoolTimeout, PostgresError, ClientError, InternalClientError, SqliteError, OSError)
"""What the driver raises; what it raises while it connects is not wrapped by SQLAlchemy."""

_BUSY = {"SQLITE_BUSY", "SQLITE_LOCKED", LockNotAvailableError.sqlstate, QueryCanceledError.sqlstate}
_FULL = {"SQLITE_FULL", DiskFullError.sqlstate}
_NOT_MIGRATED = {UndefinedTableError.sqlstate, UndefinedColumnError.sqlstate}
_STATES = {
    "SQLITE_READONLY": "read-only",
    ReadOnlySQLTransactionError.sqlstate: "read-only",
    "SQLITE_IOERR": "failing to read or write its file",
    "SQLITE_CANTOPEN": "a file that can't be opened",
    "SQLITE_NOTADB": "a file that is no database",
    "SQLITE_CORRUPT": "corrupt",
    InvalidPasswordError.sqlstate: "refusing the password",
    InvalidAuthorizationSpecificationError.sqlstate: "refusing the user",
    InvalidCatalogNameError.sqlstate: "without the database that is named",
    InsufficientPrivilegeError.sqlstate: "denying the user what Parley needs",
}
_LOST = "its file was {} while Parley runs: stop Parley, put the file back, and start it again"
_WHOLLY = {"away", "not migrated", *_STATES.values()} - {"read-only"}  # in others, reads may go on
_PASSING = {"read-only", "failing to read or write its file"}  # all others need somebody who mends them


def explained(error: BaseException) -> Unavailable | None:
    """What a failure of the store means; None for a mistake of ours, data that can't be stored, or a constraint."""
    cause = (error.orig if isinstance(error, DBAPIError) else None) or error
    why = first_line(cause)
    code = str(getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or "")
    family = "_".join(code.split("_")[:2])  # SQLite says more, such as SQLITE_READONLY_DBMOVED
    if family in _FULL:
        return StorageFull("The database has no room left.", retry_after=RETRY_S).because("full", why)
    if code in _NOT_MIGRATED or "no such " in str(cause):
        detail = "The database has not been migrated: alembic upgrade head."
        unavailable = Unavailable(detail, code="not_migrated", retry_after=RETRY_S)
        return unavailable.because("not migrated", f"{why}; run alembic upgrade head", is_lasting=True)
    if isinstance(error, sqlite.FileLostError):
        unavailable = Unavailable("The database is not the one that it was.", retry_after=RETRY_S)
        return unavailable.because(f"{error} while it is in use", _LOST.format(error))
    away = isinstance(error, InterfaceError | InternalError | OperationalError) or not isinstance(error, DBAPIError)
    state = _STATES.get(family)
    if not (away or state or (type(error) in {DBAPIError, DatabaseError} and not code.startswith("22"))):
        return None
    if isinstance(cause, TimeoutError):
        why = "it does not answer in time"
    is_lasting = state not in _PASSING if state else isinstance(cause, ClientConfigurationError | CertificateError)
    state = state or ("busy" if isinstance(error, PoolTimeout) or family in _BUSY else "away")
    return Unavailable("The database is away or too busy. Try again.", retry_after=RETRY_S).because(
        state, why, is_lasting=is_lasting
    )


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
