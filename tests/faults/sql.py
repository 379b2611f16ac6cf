"""The tests' own way into the database, past all of Parley's code."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

OPEN_S = 0.1  # what no transaction of ours takes


class Sql:
    """Queries that commit by themselves, and a lock that keeps Parley from writing."""

    def __init__(self, url: str) -> None:
        self._engine = create_async_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
        self.is_sqlite = self._engine.dialect.name == "sqlite"

    async def rows(self, statement: str, **values: Any) -> Sequence[dict[str, Any]]:
        """What a query finds."""
        async with self._engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(text(statement), values)).mappings()]

    async def execute(self, *statements: str) -> None:
        """Run statements as they are, each a transaction of its own."""
        async with self._engine.connect() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)

    @asynccontextmanager
    async def locked(self, table: str, *ids: str) -> AsyncIterator[None]:
        """Keep everybody else from writing: these rows on PostgreSQL, anything at all on SQLite."""
        async with self._engine.connect() as connection:
            if self.is_sqlite:
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                named = ", ".join(f"'{row_id}'" for row_id in ids)
                await connection.exec_driver_sql("BEGIN")
                await connection.exec_driver_sql(f'SELECT id FROM "{table}" WHERE id IN ({named}) FOR UPDATE')  # noqa: S608 - our own ids
            try:
                yield
            finally:
                await connection.exec_driver_sql("ROLLBACK")

    async def waiting(self) -> int:
        """How many connections wait for a lock; PostgreSQL only."""
        return await self._connections("wait_event_type = 'Lock'")

    async def is_free(self) -> bool:
        """Whether nobody has left a transaction open."""
        if self.is_sqlite:
            return await asyncio.to_thread(_takes_the_lock, str(self._engine.url.database))
        await asyncio.sleep(2 * OPEN_S)
        left = (
            "state = 'idle in transaction' OR (state = 'active' AND wait_event = 'ClientRead')"  # the latter: mid-way
        )
        return not await self._connections(
            f"({left}) AND clock_timestamp() - state_change > interval '{OPEN_S} seconds'"
        )

    async def _connections(self, where: str) -> int:
        found = f"SELECT count(*) AS number FROM pg_stat_activity WHERE datname = current_database() AND {where}"  # noqa: S608
        return int((await self.rows(found))[0]["number"])

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


def _takes_the_lock(path: str) -> bool:
    with closing(sqlite3.connect(path, timeout=2 * OPEN_S, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        return True
