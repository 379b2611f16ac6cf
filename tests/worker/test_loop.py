"""The queue's side of a worker: whose an entry is, and what is waited for at the end."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from arq.worker import func

from shared.process.cancellation import end
from shared.redis.queue import QUEUE, TASK, WAKE_CHANNEL, Queue, open_redis, to_json
from shared.sql.effects import Dispatch
from worker.queue_loop import FALLBACK_S, QueueLoop

SOON_S = FALLBACK_S / 2


@pytest.fixture(params=["in-process", "redis"])
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[Queue]:
    queue = Queue(open_redis(request.getfixturevalue("redis") if request.param == "redis" else None))
    await queue.redis.flushdb()
    yield queue
    await queue.close()


class Jobs:
    """Runs jobs that end when they are told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.more = asyncio.Event()
        self.go_on = asyncio.Event()

    async def run(self, ctx: dict[str, Any], job_id: str) -> None:  # noqa: ARG002 - arq's signature
        self.begun.append(job_id)
        self.more.set()
        if self.begun.count(job_id) == 1:  # else it is claimed
            await self.go_on.wait()

    async def until(self, number: int) -> None:
        while len(self.begun) < number:
            self.more.clear()
            await self.more.wait()


def make_loop(queue: Queue, jobs: Jobs, *, at_once: int) -> QueueLoop:
    return QueueLoop(
        functions=[func(jobs.run, name=TASK)],
        redis_pool=queue.redis,
        queue_name=QUEUE,
        job_serializer=to_json,
        job_deserializer=json.loads,
        max_jobs=at_once,
    )


async def test_who_was_too_slow_for_one_job_takes_the_next_at_once(queue: Queue) -> None:
    jobs = Jobs()
    workers = [asyncio.create_task(make_loop(queue, jobs, at_once=1).main()) for _ in range(2)]
    try:
        for rounds in range(1, 6):
            await asyncio.sleep(0.05)  # both wait
            jobs.go_on.clear()
            await queue.redis.zadd(QUEUE, {f"{job_id}:1": 0 for job_id in (uuid4(), uuid4())})
            await queue.redis.publish(WAKE_CHANNEL, b"")  # both look, and see the same
            async with asyncio.timeout(SOON_S):
                await jobs.until(2 * rounds)
            jobs.go_on.set()
    finally:
        await end(*workers)


async def test_a_job_that_was_sent_again_while_it_was_taken_is_still_waited_for(queue: Queue) -> None:
    jobs, sent = Jobs(), Dispatch(uuid4(), 1)
    loop = make_loop(queue, jobs, at_once=5)
    worker = asyncio.create_task(loop.main())
    try:
        await queue.after_commit([sent])
        await jobs.until(1)
        await queue.after_commit([sent])
        await asyncio.sleep(FALLBACK_S)
        assert not await queue.redis.zcard(QUEUE)
        draining = asyncio.create_task(loop.drain(5))
        await asyncio.wait({draining}, timeout=0.2)
        assert not draining.done()
        jobs.go_on.set()
        async with asyncio.timeout(1):
            await draining
    finally:
        await end(worker)
