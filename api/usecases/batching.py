"""What many clients ask for in the same moment: one query for all of them, or one transaction."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar
from uuid import UUID

from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from api.usecases.admission import Admission
from shared.batcher import Batcher
from shared.models import Blob
from shared.services import blob as blobs
from shared.services import message as messages
from shared.services.job import view as job_view
from shared.services.job.transitions import Budget, missing
from shared.services.job.view import JobState, JobView, Owned
from shared.services.message import Submission
from shared.sql.database import Database

V = TypeVar("V")


class JobReader:
    """Reads jobs as they are now."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._views = Batcher(partial(self._read, job_view.get_many))
        self._states = Batcher(partial(self._read, job_view.states))

    async def get(self, *, owner_id: UUID, job_id: UUID) -> JobView:
        """One job; raises NotFound or Unavailable. Others may have got the same view: change nothing in it."""
        return await self._views.load((owner_id, job_id))

    async def state(self, *, owner_id: UUID, job_id: UUID) -> JobState:
        """`get`, but no more than tells whether it has changed."""
        return await self._states.load((owner_id, job_id))

    async def _read(
        self, read: Callable[[AsyncSession, Sequence[Owned]], Awaitable[dict[Owned, V]]], asked: list[Owned]
    ) -> list[V | Exception]:
        async with self._database.read() as db:
            there = await read(db, list(dict.fromkeys(asked)))
        return [there.get(one) or missing() for one in asked]


class Submits:
    """Takes messages in."""

    def __init__(self, database: Database, admission: Admission, budget: Budget) -> None:
        self._database = database
        self._admission = admission
        self._budget = budget
        self._batcher = Batcher(self._submit)

    async def add(self, submission: Submission) -> JobView:
        """Add one message and its job; raises NotFound or Unavailable."""
        return await self._batcher.load(submission) or await self._alone(submission)

    async def _submit(self, asked: list[Submission]) -> Sequence[JobView | Exception | None]:
        if len(asked) == 1:
            return [await self._alone(asked[0])]
        async with self._admission.slot() as slot, self._database.write() as db:
            if not await slot.acquire(db, len(asked)):
                return [None] * len(asked)
            return await messages.submit_many(db, asked, self._budget)

    async def _alone(self, submission: Submission) -> JobView:
        async with self._admission.slot() as slot, self._database.write() as db:
            await slot.acquire(db)
            return await messages.submit(db, submission, self._budget)


class Uploads:
    """Announces voice notes that are about to be stored, and takes back those that came to nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._announcing = Batcher(self._announce)
        self._marking = Batcher(self._mark_deleted)
        self._purging = Batcher(self._purge)

    async def announce(self, blob: Blob) -> None:
        """Save its row before its bytes are written; raises Unavailable."""
        await self._announcing.load(blob)

    async def mark_deleted(self, blob: Blob) -> bool:
        """Say that its bytes are to go, unless something points at them already: then False; raises Unavailable."""
        return await self._marking.load(blob)

    async def purge(self, blob: Blob) -> None:
        """Drop its row, its bytes being gone; raises Unavailable."""
        await self._purging.load(blob)

    async def _announce(self, new: list[Blob]) -> list[None]:
        async with self._database.write() as db:
            db.add_all(new)
        return [None] * len(new)

    async def _mark_deleted(self, given_up: list[Blob]) -> list[bool]:
        ids = [blob.id for blob in given_up]
        async with self._database.write() as db:
            await blobs.mark_pending_deleted(db, col(Blob.id).in_(ids))
            kept = await blobs.ready_among(db, ids)
        return [blob_id not in kept for blob_id in ids]

    async def _purge(self, gone: list[Blob]) -> list[None]:
        async with self._database.write() as db:
            await blobs.purge(db, [blob.id for blob in gone])
        return [None] * len(gone)
