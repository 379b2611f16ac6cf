"""What /health/ready knows of the stores: found out by doing what a write does, and remembered for a moment."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from api.usecases.model_retirement import Retirements
from shared.errors import Unavailable
from shared.process.cancellation import end
from shared.redis.queue import Queue
from shared.services import blob as blobs
from shared.services import worker as workers
from shared.services.worker import Fleet
from shared.sql.database import Database
from shared.storage import Storage

T = TypeVar("T")

FRESH_S = 2.0  # however many ask, a store is tried no more often
PATIENCE_S = 3.0
SILENT = Unavailable("It does not answer.")


class Probe(Generic[T]):
    """One question, asked once at a time: a store that hangs is not asked again meanwhile."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._asked_at = 0.0
        self._task: asyncio.Task[T | Unavailable] | None = None

    async def answer(self) -> T | Unavailable:
        """What came of it, now or a moment ago."""
        clock = asyncio.get_running_loop()
        if self._task is None or (self._task.done() and clock.time() - self._asked_at > FRESH_S):
            self._asked_at = clock.time()
            self._task = asyncio.create_task(self._try())
        patience_s = max(self._asked_at + PATIENCE_S - clock.time(), 0)
        await asyncio.wait({self._task}, timeout=patience_s)
        return self._task.result() if self._task.done() else SILENT

    async def close(self) -> None:
        """Ask no longer."""
        if self._task:
            await end(self._task)

    async def _try(self) -> T | Unavailable:
        try:
            return await self._ask()
        except Unavailable as error:
            return error


class ReadinessCheck:
    """A probe for each store, and two more for what SQL says."""

    def __init__(self, database: Database, queue: Queue, storage: Storage, retirements: Retirements) -> None:
        self._database = database
        self.fleet: Probe[Fleet] = Probe(self._fleet)
        self.warnings: Probe[list[str]] = Probe(retirements.warnings)
        self.stores: dict[str, Probe[None]] = {
            "sql": Probe(database.check),
            "blobs": Probe(lambda: storage.check(self._known_keys)),
            "redis": Probe(queue.check),
        }

    async def states(self) -> dict[str, str | None]:
        """What each store is, or None when it is well. What is not is logged, and a new blob store marked."""
        found = await asyncio.gather(*(probe.answer() for probe in self.stores.values()))
        return {name: one.state if one else None for name, one in zip(self.stores, found, strict=True)}

    async def close(self) -> None:
        """Try no more."""
        await asyncio.gather(
            self.fleet.close(), self.warnings.close(), *(probe.close() for probe in self.stores.values())
        )

    async def _fleet(self) -> Fleet:
        async with self._database.read() as db:
            return await workers.fleet(db)

    async def _known_keys(self) -> Sequence[str] | None:
        try:
            async with self._database.read() as db:
                return await blobs.sample(db)
        except Unavailable:
            return None
