"""How much a transaction reads, by PostgreSQL's own count."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlmodel.ext.asyncio.session import AsyncSession

_READ = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'job'"


@asynccontextmanager
async def few_jobs_read(db: AsyncSession, most: int, *, known: bool = True) -> AsyncIterator[None]:
    """The block reads no more than `most` rows of jobs, planned as for a table too large to be read whole.

    Unless they are `known`, the planner has statistics of an empty table.
    """
    connection = await db.connection()
    if known:
        await connection.exec_driver_sql("ANALYZE job")
    await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    before = (await connection.exec_driver_sql(_READ)).scalar_one()
    yield
    assert (await connection.exec_driver_sql(_READ)).scalar_one() - before <= most
