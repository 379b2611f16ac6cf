"""What one user may do in a while. A limit that an account has not is not counted, and costs nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import ceil
from uuid import UUID

from shared.errors import TooMany
from shared.redis.rate_limits import RateLimits, per_day, per_minute
from shared.services.user import Account

REQUESTS = "requests"
AUDIO = "audio-seconds"
TOKENS = "tokens"
ENDLESS = 2**53  # what is counted under this always fits


class UserLimits:
    """Requests, audio and tokens, each counted for the user, whichever limit the user has or is given later."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits

    async def request(self, account: Account) -> None:
        """Count a request; raises TooMany."""
        most = account.requests_per_minute
        if most is None:
            return
        wait = await self._limits.hit(per_minute(REQUESTS, most), str(account.id))
        if wait is not None:
            raise _too_many(f"{most} requests a minute", wait)

    @asynccontextmanager
    async def audio(self, account: Account, seconds: float) -> AsyncIterator[TooMany | None]:
        """Count a voice note, around the transaction that takes it in: given back when that fails.

        When there is no room for it the block gets the error, to be raised unless the note is a replay.
        """
        most = account.audio_minutes_per_day
        if most is None:
            yield None
            return
        cost = ceil(seconds)
        wait = await self._limits.hit(per_day(AUDIO, most * 60), str(account.id), cost=cost)
        if wait is not None:
            yield _too_many(f"{most} minutes of voice notes a day", wait)
            return
        try:
            yield None
        except BaseException:
            await self._limits.hit(per_day(AUDIO, ENDLESS), str(account.id), cost=-cost)
            raise

    async def tokens(self, account: Account) -> TooMany | None:
        """The error for an account whose tokens are used up, to be raised unless a replay is asked for."""
        most = account.tokens_per_day
        wait = None if most is None else await self._limits.test(per_day(TOKENS, most), str(account.id))
        return None if wait is None else _too_many(f"{most} tokens a day", wait)

    async def tokens_used(self, owner_id: UUID, tokens: int) -> None:
        """Count what a job has used, be it more than was left."""
        if tokens > 0:
            await self._limits.hit(per_day(TOKENS, ENDLESS), str(owner_id), cost=tokens)


def _too_many(what: str, wait_s: float) -> TooMany:
    return TooMany(f"Your limit is {what}.", retry_after=max(wait_s, 1.0))


def refuse(error: TooMany | None) -> None:
    """Raise what a limit says, now that the request is known to be no replay."""
    if error:
        raise error
