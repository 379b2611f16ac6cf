"""Agents that are deleted while others work, on PostgreSQL: SQLite has one writer."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from uuid_utils.compat import uuid7

from shared.errors import NotFound
from shared.models import LOCAL_USER_ID
from shared.services import agent as agents
from shared.services import session as sessions
from shared.services.job import lease as leases
from shared.services.job import step as steps
from shared.services.job import turn as turns
from shared.services.job.turn import StepDone
from shared.sql.database import Database
from tests.factories import make_job, make_session
from tests.faults.sql import Sql
from tests.faults.waiting import until


@pytest.fixture
async def sql(postgres_url: str) -> AsyncIterator[Sql]:
    sql = Sql(postgres_url)
    yield sql
    await sql.close()


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    database = Database(postgres_url)
    yield database
    await database.close()


async def test_deleting_an_agent_waits_for_who_writes_to_its_session(database: Database, sql: Sql) -> None:
    async with database.write() as db:
        session = await make_session(db)
        job = await make_job(db, session)
        claim = await leases.claim(db, job_id=job.id, worker_id=uuid4(), lease_s=30)
        assert claim

    async def delete() -> None:
        async with database.write() as db:
            await agents.delete(db, owner_id=LOCAL_USER_ID, agent_id=session.agent_id)

    async with database.write() as db:
        turn = await turns.load(db, claim, history=20)
        await leases.fence(db, claim)
        deleting = asyncio.create_task(delete())
        await until(sql.waiting, "the deletion waits for the session")
        done = StepDone(name="reply", duration_ms=1)
        await steps.save_reply(db, turn, text="Hello.", language="en", done=done, spoken={})
    await deleting
    assert not await sql.rows("SELECT id FROM job")


async def test_no_session_is_opened_with_an_agent_that_is_being_deleted(database: Database, sql: Sql) -> None:
    async with database.write() as db:
        agent_id = (await make_session(db)).agent_id

    async def open_session() -> None:
        async with database.write() as db:
            await sessions.create(db, session_id=uuid7(), owner_id=LOCAL_USER_ID, fields={"agent_id": agent_id})

    async with database.write() as db:
        await agents.delete(db, owner_id=LOCAL_USER_ID, agent_id=agent_id)
        opening = asyncio.create_task(open_session())
        await until(sql.waiting, "the new session waits")
    with pytest.raises(NotFound):
        await opening
