"""How the workers are doing."""

from collections.abc import AsyncIterator

import pytest

from shared.services import worker as workers
from shared.sql.database import Database
from tests.factories import make_job, make_session
from tests.reads import few_jobs_read


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    database = Database(postgres_url)
    yield database
    await database.close()


async def test_the_oldest_job_is_found_without_reading_those_behind_it(database: Database) -> None:
    async with database.write() as db:
        session = await make_session(db)
        for _ in range(100):
            await make_job(db, session)
    async with database.write() as db, few_jobs_read(db, 5):
        fleet = await workers.fleet(db)
    assert fleet.oldest_queued_s is not None
    assert fleet.oldest_queued_s > 0
