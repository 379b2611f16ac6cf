"""How much may be waiting: a submit beyond that is refused, instead of joining a queue that never ends."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.errors import Unavailable
from shared.services.job import transitions as jobs

COUNT_S = 1.0  # how old a count may be while there is room
FULL_COUNT_S = 0.1  # and while there is none
RETRY_S = 5.0


class Admission:
    """The unfinished jobs of everybody, counted once a second and not once a submit.

    Between two counts this process adds its own submits; those of other API processes it sees at the next.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counted = 0
        self._counted_at = float("-inf")
        self._added_before = 0  # what this process had added when the count began
        self._added = 0
        self._adding = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator["Slot"]:
        """Around the transaction that adds a job: what it took is held until it has committed, or failed."""
        slot = Slot(self)
        try:
            yield slot
        except BaseException:
            self._adding -= slot.acquired
            raise
        self._adding -= slot.acquired
        self._added += slot.acquired

    async def check(self, db: AsyncSession) -> None:
        """Raise Unavailable when there is no room for a job."""
        age = time.monotonic() - self._counted_at
        if age > COUNT_S or (self._is_full and age > FULL_COUNT_S):
            self._counted_at, added = time.monotonic(), self._added
            self._counted, self._added_before = await jobs.count_unfinished(db), added
        if self._is_full:
            detail = "Too many messages are waiting for an answer."
            raise Unavailable(detail, code="overloaded", retry_after=RETRY_S)

    @property
    def room(self) -> int:
        """For how many jobs there is room, as far as is known."""
        return self._limit - (self._counted + self._added - self._added_before + self._adding)

    @property
    def _is_full(self) -> bool:
        return self.room <= 0


class Slot:
    """Room for a job, or for some."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.acquired = 0

    async def acquire(self, db: AsyncSession, number: int = 1) -> bool:
        """Hold it; raises Unavailable when there is none, and is False when there is some but not for all."""
        await self._admission.check(db)
        if self._admission.room < number:
            return False
        self.acquired = number
        self._admission._adding += number  # noqa: SLF001 - its other half
        return True
