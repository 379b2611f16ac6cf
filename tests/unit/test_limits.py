"""Counting what may be done in a while, in memory and in a Redis that comes and goes."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from limits import RateLimitItemPerSecond
from redis.asyncio import Redis

from shared.redis.rate_limits import AWAY_S, PASS_BY_S, PREFIX, RateLimits, Rule, per_day, per_minute
from tests.services import RedisServer, private

RULE = per_minute("guess", 5)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with private(RedisServer) as server:
        yield server


@asynccontextmanager
async def opened(url: str | None) -> AsyncIterator[RateLimits]:
    limits = RateLimits(url)
    try:
        yield limits
    finally:
        await limits.close()


@pytest.fixture(params=["memory", "redis"])
async def limits(request: pytest.FixtureRequest, server: RedisServer) -> AsyncIterator[RateLimits]:
    async with opened(server.url if request.param == "redis" else None) as limits:
        if request.param == "redis":
            async with Redis.from_url(server.url) as redis:
                await redis.flushdb()
        elif (left := 60 - time.time() % 60) < 2:
            await asyncio.sleep(left)  # memory's minutes are the clock's
        yield limits


async def room(limits: RateLimits, rule: Rule, *names: str, cost: int = 1) -> int:
    """How often it may be done."""
    for times in range(1_000):
        if await limits.hit(rule, *names, cost=cost) is not None:
            return times
    raise AssertionError("there is no limit")


async def test_so_much_and_no_more_for_each_name(limits: RateLimits) -> None:
    assert await room(limits, RULE, "ann") == 5
    assert await room(limits, RULE, "bob") == 5
    assert await limits.hit(RULE, "ann") is not None
    assert await limits.hit(per_minute("other", 5), "ann") is None


async def test_names_are_told_apart_as_a_list(limits: RateLimits) -> None:
    assert await room(limits, RULE, "ann", "b") == 5
    assert await limits.test(RULE, "an", "nb") is None


async def test_a_test_counts_nothing(limits: RateLimits) -> None:
    for _ in range(9):
        assert await limits.test(RULE, "ann") is None
    assert await room(limits, RULE, "ann") == 5
    assert await limits.test(RULE, "ann") is not None


async def test_what_does_not_fit_is_not_counted(limits: RateLimits) -> None:
    assert await limits.hit(RULE, "ann", cost=4) is None
    assert await limits.hit(RULE, "ann", cost=2) is not None
    assert await limits.hit(RULE, "ann", cost=9) is not None
    assert await limits.hit(RULE, "ann") is None


async def test_the_wait_is_true(limits: RateLimits) -> None:
    rule = RateLimitItemPerSecond(3, 2, namespace="quick")
    for cost in (1, 2, 3):
        await room(limits, rule, "ann")
        wait = await limits.test(rule, "ann", cost=cost)
        assert wait is not None
        assert 0 < wait <= 4
        await asyncio.sleep(wait + 0.05)
        assert await limits.hit(rule, "ann", cost=cost) is None


async def test_many_at_once_are_counted_one_by_one(limits: RateLimits) -> None:
    answers = await asyncio.gather(*(limits.hit(RULE, "ann") for _ in range(1_000)))
    assert answers.count(None) == 5


async def test_processes_count_together(server: RedisServer) -> None:
    async with opened(server.url) as one, opened(server.url) as other:
        assert await room(one, RULE, "together") == 5
        assert await other.test(RULE, "together") is not None


async def test_redis_knows_no_names_and_forgets(server: RedisServer) -> None:
    async with opened(server.url) as limits, Redis.from_url(server.url) as redis:
        await redis.flushdb()
        await limits.hit(RULE, "secret-name")
        await limits.hit(per_day("sound", 60), "secret-name", cost=7)
        keys = [key.decode() for key in await redis.keys("*")]
        assert len(keys) == 2
        for key in keys:
            assert key.startswith(f"{PREFIX}:")
            assert "secret-name" not in key
            assert 0 < await redis.ttl(key) <= 2 * 86_400


@pytest.mark.parametrize("how", ["paused", "gone"])
async def test_a_redis_that_is_away_costs_little_and_refuses_nobody(how: str) -> None:
    with private(RedisServer) as server:
        async with opened(server.url) as limits:
            assert await limits.hit(RULE, "ann") is None
            if how == "paused":
                server.stall()
            else:
                server.stop()
            began = time.monotonic()
            assert await room(limits, RULE, "ann") == 5  # counted in memory meanwhile
            assert time.monotonic() - began < AWAY_S + 1
            await asyncio.sleep(PASS_BY_S + 0.1)
            began = time.monotonic()
            answers = await asyncio.gather(*(limits.test(RULE, "bob") for _ in range(50)))
            assert answers == [None] * 50
            assert time.monotonic() - began < AWAY_S + 1
            if how == "paused":
                server.resume()
            else:
                server.start()
            await asyncio.sleep(PASS_BY_S + 0.1)
            assert await limits.test(RULE, "ann") is None  # Redis counts again, and knows of one, or none


async def test_a_redis_that_never_was_there_is_done_without() -> None:
    async with opened("redis://127.0.0.1:1/0") as limits:
        assert await room(limits, RULE, "ann") == 5
