"""Tokens of IBM Cloud's IAM: got for an API key, kept while they are good, renewed before they end."""

import asyncio
import copy
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode

import openai
from openai import AsyncStream, omit

from shared.errors import Upstream
from shared.provider_presets import checked_key
from worker.providers.client import Timeouts, ask_object, open_client
from worker.providers.failures import REJECTED, UNAUTHORIZED, failure, told_as_upstream

GRANT = "urn:ibm:params:oauth:grant-type:apikey"
RENEWED_AT = 0.8  # of a token's life
REST_S = 10.0  # after a renewal that failed, while the old token is good
# IAM answers 400 for a key that it does not know; its 404 is a wrong WX_IAM_URL, and says nothing about a model.
_REFUSALS = {400: UNAUTHORIZED, 404: REJECTED}
_VALUE = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class IamToken:
    """One token, by a clock that only goes forward."""

    value: str = field(repr=False)
    born: float
    ages: float
    ends: float


class IamTokens:
    """The tokens of one API key. One at most is being fetched, however many wait for it."""

    def __init__(
        self, name: str, api_key: str, url: str, timeouts: Timeouts, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Open no connection yet; raises ValueError for a URL or a key that can't be one."""
        self._name = name
        self._key = checked_key(name, api_key)
        self._timeouts = timeouts
        self._clock = clock
        self._client = open_client(name, url, None, timeouts)
        self._url = url.strip()
        self._held: IamToken | None = None
        self._fetching: asyncio.Task[IamToken | Upstream] | None = None
        self._rests_until = -math.inf

    async def token(self) -> IamToken:
        """Return one that is good. Nobody waits for the renewal of one that still is. Raises `Upstream`."""
        now, held = self._clock(), self._held
        if held is None or held.ends <= now:
            return await self._next()
        if held.ages <= now and self._rests_until <= now:
            self._fetch_once()
        return held

    async def renewed(self, refused: IamToken) -> IamToken:
        """Return another one than this, which was not taken. Raises `Upstream`."""
        if self._held is refused:
            self._held = None
        return await self.token()

    async def close(self) -> None:
        """Close the connections that were kept open."""
        if self._fetching:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        await self._client.close()

    async def _next(self) -> IamToken:
        # A caller who gives up must not take the others' token along.
        got = await asyncio.shield(self._fetch_once())
        if isinstance(got, Upstream):
            raise copy.copy(got)  # each of them has one of his own, with nothing behind it
        return got

    def _fetch_once(self) -> asyncio.Task[IamToken | Upstream]:
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> IamToken | Upstream:
        try:
            with told_as_upstream(self._name, ""):
                async with asyncio.timeout(self._timeouts.total_s):
                    self._held = await self._ask()
        except Upstream as error:
            self._rests_until = self._clock() + max(REST_S, error.retry_after or 0.0)
            return error
        return self._held

    async def _ask(self) -> IamToken:
        born = self._clock()  # before IAM's own clock starts: ours ends first
        try:
            told = await ask_object(self._post, self._timeouts)
        except openai.APIStatusError as error:
            if kind := _REFUSALS.get(error.status_code):
                raise failure(kind, provider=self._name, model="") from None
            raise
        return _token(told.get("access_token"), told.get("expires_in"), born)

    async def _post(self) -> AsyncStream[object]:
        return await self._client.post(
            self._url,
            cast_to=object,
            content=urlencode({"grant_type": GRANT, "apikey": self._key}).encode(),
            options={
                "headers": {
                    "Authorization": omit,
                    "Content-Type": "application/x-www-form-urlencoded",
                    "Accept": "application/json",
                },
            },
            stream=True,
            stream_cls=AsyncStream[object],
        )


def _token(value: object, life_s: object, born: float) -> IamToken:
    if not (isinstance(value, str) and _VALUE.fullmatch(value) and isinstance(life_s, int | float) and life_s > 0):
        msg = "no token in the answer"
        raise ValueError(msg)
    return IamToken(value, born, born + RENEWED_AT * life_s, born + life_s)
