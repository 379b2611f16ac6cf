"""What a worker reads of a turn, on both databases."""

from uuid import uuid4

import pytest

from shared.db import Database
from shared.models import LOCAL_USER_ID
from shared.services import job as jobs
from shared.services import session as sessions
from shared.services import turn as turns
from shared.services.job import LeaseLostError
from tests.factories import make_job, make_session


async def test_a_turn_that_is_deleted_before_its_model_is_asked_has_lost_its_lease(database_url: str) -> None:
    database = Database(database_url)
    async with database.write() as db:
        session = await make_session(db)
        job = await make_job(db, session)
        claim = await jobs.claim(db, job_id=job.id, worker_id=uuid4(), lease_s=30)
        assert claim
        turn = await turns.load(db, claim)
        assert [message.text for message in await turns.history(db, turn, limit=20)] == ["Hello"]
        await sessions.delete(db, owner_id=LOCAL_USER_ID, session_id=session.id)
        with pytest.raises(LeaseLostError):
            await turns.history(db, turn, limit=20)
    await database.close()
