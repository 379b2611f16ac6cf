"""What one user may do in a while, counted in memory and in Redis."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import uuid4

import pytest

from shared.errors import TooMany
from shared.models import LOCAL_USER_ID
from shared.redis.rate_limits import AWAY_S, RateLimits
from shared.services.user import LOCAL, Account
from shared.user_limits import UserLimits
from tests.services import RedisServer, private


@pytest.fixture(params=["memory", "redis"])
async def limits(request: pytest.FixtureRequest) -> AsyncIterator[UserLimits]:
    url = request.getfixturevalue("redis") if request.param == "redis" else None
    if url is None and (left := 60 - time.time() % 60) < 2:
        await asyncio.sleep(left)  # memory's minutes are the clock's
    limits = RateLimits(url)
    yield UserLimits(limits)
    await limits.close()


async def speak(limits: UserLimits, account: Account, seconds: float, *, fail: bool = False) -> bool:
    """Whether there was room for it."""
    with suppress(LookupError):
        async with limits.audio(account, seconds) as error:
            if error:
                assert error.code == "rate_limited"
                assert "minutes of voice notes a day" in error.detail
                assert 0 < (error.retry_after or 0) <= 2 * 86_400
                return False
            if fail:
                raise LookupError
    return True


async def test_requests(limits: UserLimits) -> None:
    account = Account(uuid4(), requests_per_minute=3)
    for _ in range(3):
        await limits.request(account)
    with pytest.raises(TooMany, match="3 requests a minute") as caught:
        await limits.request(account)
    assert 0 < (caught.value.retry_after or 0) <= 120
    await limits.request(Account(uuid4(), requests_per_minute=3))
    await limits.request(Account(account.id, requests_per_minute=9))  # the limit is raised, and what was done stays
    with pytest.raises(TooMany):
        await limits.request(Account(account.id, requests_per_minute=4))


async def test_seconds_of_sound_are_rounded_up(limits: UserLimits) -> None:
    account = Account(uuid4(), audio_minutes_per_day=1)
    assert await speak(limits, account, 58.2)
    assert not await speak(limits, account, 1.1)
    assert await speak(limits, account, 0.3)
    assert not await speak(limits, account, 0.3)


async def test_sound_that_was_not_taken_in_is_given_back(limits: UserLimits) -> None:
    account = Account(uuid4(), audio_minutes_per_day=1)
    for _ in range(5):
        assert await speak(limits, account, 40, fail=True)
    assert await speak(limits, account, 40)
    assert not await speak(limits, account, 40)
    assert await speak(limits, account, 20)  # what was refused was not counted


async def test_tokens_are_counted_be_they_more_than_were_left(limits: UserLimits) -> None:
    account = Account(uuid4(), tokens_per_day=100)
    await limits.tokens_used(account.id, 99)
    assert await limits.tokens(account) is None
    await limits.tokens_used(account.id, 0)
    assert await limits.tokens(account) is None
    await limits.tokens_used(account.id, 5_000)
    error = await limits.tokens(account)
    assert error
    assert "100 tokens a day" in error.detail
    assert 0 < (error.retry_after or 0) <= 2 * 86_400
    assert await limits.tokens(Account(account.id, tokens_per_day=5_100)) is None
    assert await limits.tokens(Account(uuid4(), tokens_per_day=1)) is None


async def test_what_has_no_limit_does_not_ask_redis() -> None:
    with private(RedisServer) as server:
        limits = RateLimits(server.url)
        of_users = UserLimits(limits)
        server.stall()
        began = time.monotonic()
        for account in (LOCAL, Account(uuid4())):
            await of_users.request(account)
            assert await speak(of_users, account, 1e9)
            assert await of_users.tokens(account) is None
        assert time.monotonic() - began < AWAY_S
        await limits.close()
        assert LOCAL.id == LOCAL_USER_ID


@pytest.mark.parametrize("how", ["paused", "gone"])
async def test_limits_hold_in_each_process_while_redis_is_away(how: str) -> None:
    with private(RedisServer) as server:
        limits = RateLimits(server.url)
        of_users = UserLimits(limits)
        account = Account(uuid4(), requests_per_minute=2, audio_minutes_per_day=1, tokens_per_day=10)
        if how == "paused":
            server.stall()
        else:
            server.stop()
        began = time.monotonic()
        await of_users.request(account)
        await of_users.request(account)
        with pytest.raises(TooMany):
            await of_users.request(account)
        assert await speak(of_users, account, 50)
        assert not await speak(of_users, account, 50)
        await of_users.tokens_used(account.id, 20)
        assert await of_users.tokens(account)
        assert time.monotonic() - began < AWAY_S + 1.0
        await limits.close()
