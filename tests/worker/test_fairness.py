"""Accounts take turns in a live Parley: real workers, real queue, real SQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import col, select

from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.models import Job
from shared.process.cancellation import end
from shared.redis.queue import QUEUE, Queue, open_redis
from shared.sql.database import Database
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live, live_parley
from worker.main import serve as serve_worker

PLACES = 4
WORKERS = 2
JOB_S = 1.0


@pytest.fixture
async def live(settings: Settings, audio_pool: AudioPool, fake: FakeOpenAI) -> AsyncIterator[Live]:
    """A Parley with accounts and two workers of four places each; a job takes a second."""
    fake.script.always("chat", Answer(text="At seven.", delay_s=JOB_S))
    wanted = settings.model_copy(update={"auth": "on", "worker_concurrency": PLACES, "reconcile_s": 0.5})
    async with AsyncExitStack() as stack:
        parley = await stack.enter_async_context(live_parley(wanted, audio_pool))
        stopping = asyncio.Event()
        queue = parley.resources.queue
        if wanted.redis_url:
            queue = Queue(open_redis(wanted.redis_url.get_secret_value()))
            stack.push_async_callback(queue.close)
        more = serve_worker(
            wanted, queue, stopping=stopping, audio=audio_pool, database=parley.resources.database,
            limits=parley.resources.limits,
        )  # fmt: skip
        second = asyncio.create_task(more)
        try:
            yield parley
        finally:
            stopping.set()
            await asyncio.wait({second}, timeout=20)
            await end(second)


class Account:
    """A user who says things, each in a conversation of its own."""

    def __init__(self, live: Live, headers: dict[str, str], agent_id: str) -> None:
        self._live = live
        self._headers = headers
        self._agent_id = agent_id

    @classmethod
    async def of(cls, live: Live, name: str) -> "Account":
        headers = await live.sign_in(name)
        agent = await live.http.post(f"{API}/agent", json={"name": "Guide"}, headers=headers)
        return cls(live, headers, agent.json()["id"])

    async def say(self, number: int) -> list[str]:
        """Ids of the jobs."""
        return await asyncio.gather(*[self._one() for _ in range(number)])

    async def _one(self) -> str:
        session = await self._live.http.post(f"{API}/session", json={"agent_id": self._agent_id}, headers=self._headers)
        body = {"session_id": session.json()["id"], "text": "When is breakfast?"}
        answer = await self._live.http.post(f"{API}/message/text", json=body, headers=self._headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def done(self, job_id: str) -> dict[str, Any]:
        for _ in range(20):
            answer = await self._live.http.get(f"{API}/job/{job_id}", headers={**self._headers, "Prefer": "wait=10"})
            if answer.json()["status"] == "succeeded":
                return dict(answer.json())
        raise AssertionError(answer.text)


async def started(database: Database, job_ids: list[str]) -> list[datetime]:
    """When those of the jobs have started that have."""
    async with database.read() as db:
        rows = (await db.exec(select(Job.started_at).where(col(Job.id).in_([UUID(one) for one in job_ids])))).all()
    return [at for at in rows if at]


async def begun_between(live: Live, many: list[str], late: str) -> int:
    """How many of the jobs began after the late one was there, and before it began."""
    async with live.resources.database.read() as db:
        row = (await db.exec(select(Job).where(Job.id == UUID(late)))).one()
    assert row.started_at
    return sum(row.created_at < at < row.started_at for at in await started(live.resources.database, many))


async def all_places_taken(live: Live, many: list[str]) -> None:
    for _ in range(1_000):
        if len(await started(live.resources.database, many)) >= PLACES * WORKERS:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("nobody works")


async def test_whatever_one_account_has_queued_another_gets_one_of_the_next_places(live: Live) -> None:
    first, second = await Account.of(live, "ann"), await Account.of(live, "bob")
    many = await first.say(60)
    await all_places_taken(live, many)
    for _ in range(2):
        (late,) = await second.say(1)
        await second.done(late)
        assert await begun_between(live, many, late) < PLACES * WORKERS, "those that begin in the same moment"
        assert len(await started(live.resources.database, many)) < len(many)


async def test_accounts_with_many_some_and_one_job_are_served_side_by_side(live: Live) -> None:
    many, some, one = [await Account.of(live, name) for name in ("ann", "bob", "carl")]
    theirs = await many.say(40)
    await all_places_taken(live, theirs)
    few, (single,) = sorted(await some.say(8)), await one.say(1)
    await asyncio.gather(one.done(single), *[some.done(job_id) for job_id in few])
    assert await begun_between(live, theirs, single) < PLACES * WORKERS
    assert await begun_between(live, theirs, few[1]) < PLACES * WORKERS, "it has fewer than the first"


async def test_after_redis_has_lost_everything_accounts_still_take_turns_and_no_job_is_lost(live: Live) -> None:
    first, second = await Account.of(live, "ann"), await Account.of(live, "bob")
    many = await first.say(40)
    await all_places_taken(live, many)
    (late,) = await second.say(1)
    await live.resources.queue.redis.flushall()
    assert not await live.resources.queue.redis.zcard(QUEUE)
    await second.done(late)
    assert await begun_between(live, many, late) <= PLACES * WORKERS, "the first that are sent again begin together"
    for job_id in many:
        await first.done(job_id)
