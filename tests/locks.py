"""A database that nobody of Parley's can write to for a while."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import create_async_engine


@asynccontextmanager
async def database_locked(url: str) -> AsyncIterator[None]:
    """Hold SQLite's write lock, or PostgreSQL's job table."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    sqlite = engine.dialect.name == "sqlite"
    async with engine.connect() as connection:
        await connection.exec_driver_sql("BEGIN IMMEDIATE" if sqlite else "BEGIN")
        if not sqlite:
            await connection.exec_driver_sql("LOCK TABLE job IN ACCESS EXCLUSIVE MODE")
        try:
            yield
        finally:
            await connection.exec_driver_sql("ROLLBACK")
    await engine.dispose()
