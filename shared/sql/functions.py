"""SQL that SQLite and PostgreSQL spell differently: the database's clock, moments in UTC, upserts, JSON."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BindParameter, DateTime, Dialect, Float, Integer, String, bindparam, literal
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.sql import sqlite


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


def upsert(db: AsyncSession, table: type[SQLModel]) -> postgresql.Insert | sqlite_dialect.Insert:
    """An INSERT with `on_conflict_do_…`, which the two databases spell alike and SQLAlchemy apart."""
    kind = sqlite_dialect.insert if db.get_bind().dialect.name == "sqlite" else postgresql.insert
    return kind(table)


async def off_the_loop(db: AsyncSession) -> None:
    """Say that what follows on `db` may look at many rows: on SQLite it then runs in a thread."""
    raw = await (await db.connection()).get_raw_connection()
    if isinstance(raw.driver_connection, sqlite.Connection):
        raw.driver_connection.long = True
