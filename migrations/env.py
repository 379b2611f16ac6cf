"""Runs migrations on SQLite and PostgreSQL. The URL is the settings', or `-x url=…`."""

import shared.start_signals  # a signal ends it at once; what was not committed is rolled back

# isort: split
import asyncio

from alembic import context
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

import shared.models  # noqa: F401 - fills the metadata
from shared.config import get_settings


def _migrate(connection: Connection) -> None:
    sqlite = connection.dialect.name == "sqlite"
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_as_batch=sqlite,  # SQLite changes a table by rebuilding it
        transaction_per_migration=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    if sqlite and (broken := connection.execute(text("PRAGMA foreign_key_check")).all()):
        msg = f"the migration left rows that point nowhere: {broken[:10]}"
        raise RuntimeError(msg)


async def _run() -> None:
    url = context.get_x_argument(as_dictionary=True).get("url") or get_settings().embedded_database_url
    engine = create_async_engine(url, poolclass=NullPool)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine.sync_engine, "connect")
        def _connect(connection: object, _record: object) -> None:
            # with foreign keys on, rebuilding a table would delete its children
            connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[attr-defined]  # a DBAPI connection
            connection.execute("PRAGMA journal_mode=WAL")  # type: ignore[attr-defined]
            connection.isolation_level = None  # type: ignore[attr-defined]

        @event.listens_for(engine.sync_engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # so that a failed migration leaves nothing behind

    async with engine.connect() as connection:
        await connection.run_sync(_migrate)
    await engine.dispose()


asyncio.run(_run())
