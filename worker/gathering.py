"""What many turns of a worker want of SQL in the same moment is one transaction."""

from collections.abc import Sequence
from uuid import UUID

import structlog

from shared.db import Database
from shared.gathering import Gathering
from shared.services import lease as leases
from shared.services import step as steps
from shared.services import turn as turns
from shared.services.step import Reply
from shared.services.turn import Turn

MOST = 32  # turns at once: more would hold up the event loop

log = structlog.get_logger(__name__)


class NotTogetherError(Exception):
    """It must be tried by itself."""


class Claims:
    """Claims jobs and reads their turns."""

    def __init__(self, database: Database, *, worker_id: UUID, lease_s: float, history: int) -> None:
        self._database = database
        self._worker_id = worker_id
        self._lease_s = lease_s
        self._history = history
        self._gathering = Gathering(self._take, most=MOST)

    async def take(self, job_id: UUID) -> Turn | None:
        """Claim a job and read its turn; None when it is not to be had, now or ever.

        Raises IntegrityError and LeaseLostError for the same, and Unavailable.
        """
        try:
            return await self._gathering.ask(job_id)
        except NotTogetherError:
            return await self._alone(job_id)

    async def _take(self, job_ids: list[UUID]) -> Sequence[Turn | Exception | None]:
        if len(job_ids) == 1:
            return [await self._alone(job_ids[0])]
        taken: dict[UUID, Turn] = {}
        try:
            async with self._database.write() as db:
                claims = await leases.claim_many(db, job_ids=job_ids, worker_id=self._worker_id, lease_s=self._lease_s)
                if claims:
                    read = await turns.load_many(db, claims, history=self._history)
                    taken = {turn.job.id: turn for turn in read}
        except Exception as error:  # noqa: BLE001 - whose fault it is shows when each is claimed by itself
            log.info("jobs.not_claimed_together", jobs=len(job_ids), error=type(error).__name__)
            taken = {}
        return [taken.pop(job_id, NotTogetherError()) for job_id in job_ids]  # asked for twice, it is taken once

    async def _alone(self, job_id: UUID) -> Turn | None:
        async with self._database.write() as db:
            claim = await leases.claim(db, job_id=job_id, worker_id=self._worker_id, lease_s=self._lease_s)
            return claim and await turns.load(db, claim, history=self._history)


class Replies:
    """Saves replies that end their turns."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._gathering = Gathering(self._save, most=MOST)

    async def save(self, reply: Reply) -> bool:
        """Save the reply of a first attempt that is not spoken; False when it must be saved by itself."""
        return await self._gathering.ask(reply)

    async def _save(self, replies: list[Reply]) -> Sequence[bool]:
        try:
            async with self._database.write() as db:
                ended = await steps.save_replies(db, replies)
        except Exception as error:  # noqa: BLE001 - as above
            log.info("replies.not_saved_together", replies=len(replies), error=type(error).__name__)
            ended = set()
        return [reply.turn.job.id in ended for reply in replies]
