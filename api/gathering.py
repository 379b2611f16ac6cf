"""What many clients ask for in the same moment is done once for all of them: one query, or one transaction."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar
from uuid import UUID

from api.backlog import Backlog
from shared.db import Database
from shared.services import job_view
from shared.services import message as messages
from shared.services.job import Budget, missing
from shared.services.job_view import JobState, JobView
from shared.services.message import Submission

K = TypeVar("K")
V = TypeVar("V")

PATIENCE_S = 0.005
MOST = 256


class Gathering(Generic[K, V]):
    """Runs `do` with all that was asked for since its last run began, and gives each its own result or error.

    Who asks first waits until the run before has ended, but hardly: one that hangs holds nobody up.
    """

    def __init__(self, do: Callable[[list[K]], Awaitable[Sequence[V | Exception]]]) -> None:
        self._do = do
        self._asked: list[tuple[K, asyncio.Future[V]]] = []
        self._last: asyncio.Task[None] | None = None
        self._runs: set[asyncio.Task[None]] = set()

    async def ask(self, what: K) -> V:
        """The result for `what`; raises what `do` has given, or raised, instead of it."""
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._asked.append((what, future))
        if len(self._asked) == 1:
            self._last = asyncio.create_task(self._run(self._asked, self._last))
            self._runs.add(self._last)
            self._last.add_done_callback(self._runs.discard)
        if len(self._asked) == MOST:
            self._asked = []
        return await future

    async def _run(self, asked: list[tuple[K, asyncio.Future[V]]], before: "asyncio.Task[None] | None") -> None:
        if before and not before.done():
            await asyncio.wait({before}, timeout=PATIENCE_S)
        if self._asked is asked:
            self._asked = []
        results: Sequence[V | Exception]
        try:
            results = await self._do([what for what, _ in asked])
        except Exception as error:  # noqa: BLE001 - each who asked raises it
            results = [error] * len(asked)
        for (_, future), result in zip(asked, results, strict=True):
            if future.done():
                continue  # whoever asked has hung up
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)


class JobReader:
    """Reads jobs as they are now."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._views = Gathering(partial(self._read, job_view.get_many))
        self._states = Gathering(partial(self._read, job_view.states))

    async def get(self, *, owner_id: UUID, job_id: UUID) -> JobView:
        """One job; raises NotFound or Unavailable. Others may have got the same view: change nothing in it."""
        return await self._views.ask((owner_id, job_id))

    async def state(self, *, owner_id: UUID, job_id: UUID) -> JobState:
        """`get`, but no more than tells whether it has changed."""
        return await self._states.ask((owner_id, job_id))

    async def _read(
        self, read: Callable[..., Awaitable[dict[UUID, V]]], asked: list[tuple[UUID, UUID]]
    ) -> list[V | Exception]:
        owned: defaultdict[UUID, set[UUID]] = defaultdict(set)
        for owner_id, job_id in asked:
            owned[owner_id].add(job_id)
        there: dict[tuple[UUID, UUID], V] = {}
        async with self._database.read() as db:
            for owner_id, job_ids in owned.items():
                found = await read(db, owner_id=owner_id, job_ids=list(job_ids))
                there |= {(owner_id, job_id): one for job_id, one in found.items()}
        return [there.get(one) or missing() for one in asked]


class Submits:
    """Takes messages in."""

    def __init__(self, database: Database, backlog: Backlog, budget: Budget) -> None:
        self._database = database
        self._backlog = backlog
        self._budget = budget
        self._gathering = Gathering(self._submit)

    async def add(self, submission: Submission) -> JobView:
        """Add one message and its job; raises NotFound or Unavailable."""
        return await self._gathering.ask(submission) or await self._alone(submission)

    async def _submit(self, asked: list[Submission]) -> Sequence[JobView | Exception | None]:
        if len(asked) == 1:
            return [await self._alone(asked[0])]
        async with self._backlog.place() as place, self._database.write() as db:
            if not await place.take(db, len(asked)):
                return [None] * len(asked)
            return await messages.submit_many(db, asked, self._budget)

    async def _alone(self, submission: Submission) -> JobView:
        async with self._backlog.place() as place, self._database.write() as db:
            await place.take(db)
            return await messages.submit(db, submission, self._budget)
