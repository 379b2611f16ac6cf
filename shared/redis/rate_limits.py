"""How much of something may be done in a while: counted in Redis, for all processes, or else in this one's memory."""

import asyncio
import hashlib

import structlog
from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import RedisError

PREFIX = "parley:limits"
CONNECTIONS = 10  # many: a command takes less than a millisecond
AWAY_S = 0.5  # how long a command waits before Redis counts as away
PASS_BY_S = 1.0  # how long a Redis that was away is not asked again

Rule = RateLimitItem
"""So much of a thing in so long; whatever the amount is, a thing is counted once for each length of time."""

log = structlog.get_logger(__name__)


def per_minute(thing: str, most: int) -> Rule:
    """At most so much of a thing in any minute."""
    return RateLimitItemPerMinute(most, namespace=thing)


def per_day(thing: str, most: int) -> Rule:
    """At most so much of a thing in any 24 hours."""
    return RateLimitItemPerDay(most, namespace=thing)


class RateLimits:
    """Counts, for each rule, what was done in the name of whoever did it.

    With no URL, and while Redis is away, in memory: nobody is refused, or let wait, because of Redis. A name is known
    to the store by its hash only. The time gone by is weighed, not remembered hit by hit: a count may be off by one.
    """

    def __init__(self, url: str | None) -> None:
        self._memory = MemoryStorage()
        self._redis: RedisStorage | None = None
        self._turn = asyncio.Semaphore(CONNECTIONS)  # who waits for it does not wait for Redis
        self._away_until = 0.0
        if url:
            timeouts = {"timeout": AWAY_S, "socket_timeout": AWAY_S, "socket_connect_timeout": AWAY_S}
            self._pool = BlockingConnectionPool.from_url(url, max_connections=CONNECTIONS, **timeouts)
            self._redis = RedisStorage(
                "redis://",  # not looked at: the pool knows
                implementation="redispy",
                key_prefix=PREFIX,
                connection_pool=self._pool,  # type: ignore[arg-type]  # typed for what a URL can say
            )

    async def close(self) -> None:
        """Close every connection."""
        if self._redis:
            await self._pool.aclose()

    async def hit(self, rule: Rule, *names: str, cost: int = 1) -> float | None:
        """Count `cost` if there is room for it: None, or else the seconds until there is."""
        return await self._ask(rule, names, cost, count=True)

    async def test(self, rule: Rule, *names: str, cost: int = 1) -> float | None:
        """`hit` that counts nothing."""
        return await self._ask(rule, names, cost, count=False)

    async def _ask(self, rule: Rule, names: tuple[str, ...], cost: int, *, count: bool) -> float | None:
        who = hashlib.sha256("\x00".join(names).encode()).hexdigest()
        key = f"{rule.namespace}/{who}/{rule.get_expiry()}"
        if self._redis and not self._is_away():
            async with self._turn:
                if not self._is_away():  # it may have turned out meanwhile
                    try:
                        return await self._ask_redis(self._redis, rule, key, cost, count=count)
                    except (RedisError, OSError, TimeoutError) as error:
                        self._away_until = asyncio.get_running_loop().time() + PASS_BY_S
                        log.debug("limits.redis_away", error=type(error).__name__)
        return await _wait(self._memory, rule, key, cost, count=count)

    def _is_away(self) -> bool:
        return asyncio.get_running_loop().time() < self._away_until

    async def _ask_redis(self, redis: RedisStorage, rule: Rule, key: str, cost: int, *, count: bool) -> float | None:
        if self._away_until:
            self._away_until = asyncio.get_running_loop().time() + PASS_BY_S  # one asks, the others pass by meanwhile
        async with asyncio.timeout(AWAY_S):
            wait = await _wait(redis, rule, key, cost, count=count)
        self._away_until = 0.0
        return wait


async def _wait(store: MemoryStorage | RedisStorage, rule: Rule, key: str, cost: int, *, count: bool) -> float | None:
    most, window_s = rule.amount, rule.get_expiry()
    if count and await store.acquire_sliding_window_entry(key, most, window_s, cost):
        return None
    before, before_left_s, now, now_left_s = await store.get_sliding_window(key, window_s)
    fits_below = most - cost + 1  # what counts, before it is rounded down
    if now + before * before_left_s / window_s < fits_below:
        return 1.0 if count else None  # room came up in between
    if now < fits_below:
        return before_left_s - window_s * (fits_below - now) / before
    next_window_s = max(now_left_s - window_s, 0.0)
    return next_window_s + window_s * (1 - max(fits_below, 0) / now if now else 1)
