"""What goes onto the queue, and what happens when Redis is away."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from arq.connections import ArqRedis
from arq.constants import job_key_prefix

from shared.redis.queue import JOB_CHANNEL, PASS_BY_S, QUEUE, WAKE_CHANNEL, Queue, open_redis
from shared.sql.effects import Dispatch, JobChanged


@pytest.fixture(params=["in-process", "redis"])
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[Queue]:
    url = request.getfixturevalue("redis") if request.param == "redis" else None
    queue = Queue(open_redis(url))
    await queue.redis.flushdb()
    yield queue
    await queue.close()


async def test_an_entry_carries_one_job_id_as_json_and_nothing_else(queue: Queue) -> None:
    job_id = uuid4()
    await queue.after_commit([Dispatch(job_id, 3)])
    entry = await queue.redis.get(f"{job_key_prefix}{job_id}:3")
    assert json.loads(entry)["a"] == [str(job_id)]
    assert json.loads(entry)["k"] == {}
    assert set(json.loads(entry)) == {"t", "f", "a", "k", "et"}


async def test_dispatching_the_same_number_again_changes_nothing(queue: Queue) -> None:
    job_id = uuid4()
    await queue.after_commit([Dispatch(job_id, 1)])
    before = await queue.redis.zrange(QUEUE, 0, -1, withscores=True)
    await queue.after_commit([Dispatch(job_id, 1), Dispatch(job_id, 1)])
    assert await queue.redis.zrange(QUEUE, 0, -1, withscores=True) == before
    await queue.after_commit([Dispatch(job_id, 2)])
    assert await queue.redis.zcard(QUEUE) == 2


async def test_workers_are_woken_and_waiters_told(queue: Queue) -> None:
    job_id = uuid4()
    async with queue.redis.pubsub() as heard:
        await heard.subscribe(WAKE_CHANNEL, JOB_CHANNEL)
        await queue.after_commit([Dispatch(job_id, 1), JobChanged(job_id), JobChanged(job_id)])
        await queue.after_commit([JobChanged(job_id, ended=True)])
        messages = []
        while (message := await heard.get_message(timeout=0.5)) is not None:
            if message["type"] == "message":
                messages.append((message["channel"].decode(), message["data"].decode()))
    assert messages == [(JOB_CHANNEL, str(job_id)), (WAKE_CHANNEL, ""), (JOB_CHANNEL, f"{job_id}!")]


async def test_redis_away_is_no_error() -> None:
    queue = Queue(open_redis("redis://127.0.0.1:1/0"))
    await queue.after_commit([Dispatch(uuid4(), 1), JobChanged(uuid4())])
    await queue.close()


def test_the_queue_speaks_json(queue: Queue) -> None:
    assert isinstance(queue.redis, ArqRedis)
    assert queue.redis.job_deserializer is json.loads


async def test_after_redis_was_away_it_is_not_asked_for_a_moment(redis: str) -> None:
    """So that a Redis that hangs costs one submit its timeout, and not each of them."""
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen()  # accepts, and never says a word
    queue = Queue(open_redis(f"redis://127.0.0.1:{silent.getsockname()[1]}/0"))
    clock = asyncio.get_running_loop()
    began = clock.time()
    await queue.after_commit([JobChanged(uuid4())])
    first, began = clock.time() - began, clock.time()
    for _ in range(20):
        await queue.after_commit([JobChanged(uuid4())])
    assert clock.time() - began < first / 2
    await asyncio.sleep(PASS_BY_S)
    queue.redis, away = open_redis(redis), queue.redis
    job_id = uuid4()
    await queue.after_commit([Dispatch(job_id, 1)])
    assert await queue.redis.exists(f"{job_key_prefix}{job_id}:1")
    await queue.close()
    await away.aclose(close_connection_pool=True)
    silent.close()
