"""Reading jobs: those that are asked for in the same moment are read in one query, however many clients ask."""

import asyncio
from collections import defaultdict
from uuid import UUID

from shared.db import Database
from shared.services import job_view
from shared.services.job import missing
from shared.services.job_view import JobView


class JobReader:
    """Gathers what is asked for until the event loop comes round; nobody waits for a query that is under way."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked: defaultdict[UUID, dict[UUID, asyncio.Future[JobView | None]]] = defaultdict(dict)
        self._reads: set[asyncio.Task[None]] = set()

    async def get(self, *, owner_id: UUID, job_id: UUID) -> JobView:
        """One job as it is now; raises NotFound or Unavailable. It is shared with others who asked: change nothing."""
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._begin)
        asked = self._asked[owner_id]
        if job_id not in asked:
            asked[job_id] = loop.create_future()
        view = await asyncio.shield(asked[job_id])  # somebody else may wait for it too
        if view is None:
            raise missing()
        return view

    def _begin(self) -> None:
        asked, self._asked = self._asked, defaultdict(dict)
        for owner_id, jobs in asked.items():
            ids = list(jobs)
            for start in range(0, len(ids), job_view.MOST):
                some = {job_id: jobs[job_id] for job_id in ids[start : start + job_view.MOST]}
                task = asyncio.create_task(self._read(owner_id, some))
                self._reads.add(task)
                task.add_done_callback(self._reads.discard)

    async def _read(self, owner_id: UUID, jobs: dict[UUID, asyncio.Future[JobView | None]]) -> None:
        try:
            async with self._database.read() as db:
                views = await job_view.get_many(db, owner_id=owner_id, job_ids=list(jobs))
        except Exception as error:  # noqa: BLE001 - each who asked raises it
            for future in jobs.values():
                future.set_exception(error)
                future.exception()  # it may be that none of them waits any more
        else:
            for job_id, future in jobs.items():
                future.set_result(views.get(job_id))
