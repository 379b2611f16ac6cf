"""Wakes over Redis, when it was away for a moment."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

from shared.redis.queue import PASS_BY_S, Queue, open_redis
from shared.redis.wakes import JobWakes
from shared.sql.effects import JobChanged
from tests.services import RedisServer, private


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


async def test_who_found_redis_away_tells_nothing_for_a_moment_and_then_it_is_looked_at() -> None:
    with private(RedisServer) as server:
        job_id, queue = uuid4(), Queue(open_redis(server.url))
        events = JobWakes(queue.redis)
        events.start()
        async with events.watch(job_id, for_end=True) as waiter:
            await until(lambda: events.listening)
            await asyncio.to_thread(server.stop)
            await until(lambda: not events.listening)
            await queue.after_commit([JobChanged(job_id, ended=True)])
            await asyncio.to_thread(server.start)
            await until(lambda: events.listening)
            waiter.clear()
            await queue.after_commit([JobChanged(job_id, ended=True)])
            async with asyncio.timeout(2 * PASS_BY_S):
                await waiter.wait()
        await events.close()
        await queue.close()
