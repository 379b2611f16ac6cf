"""What many turns of a worker want of SQL in the same moment is one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from shared.batcher import Batcher
from shared.services.job import lease as leases
from shared.services.job import step as steps
from shared.services.job import turn as turns
from shared.services.job.step import TurnReply
from shared.services.job.turn import Turn
from shared.sql.database import Database

MOST = 32  # turns at once: more would hold up the event loop

log = structlog.get_logger(__name__)


class NotTogetherError(Exception):
    """It must be tried by itself."""


@dataclass(eq=False)
class Ticket:
    """An entry of the queue: the right to a place. `job_id` is its own job until another one is claimed with it.

    `crowded` says that more entries wait than there are places, so that whoever is next gets this one.
    """

    job_id: UUID
    crowded: bool = False


class ClaimBatcher:
    """Claims jobs and reads their turns. With `fair`, accounts take turns."""

    def __init__(self, database: Database, *, worker_id: UUID, lease_s: float, history: int, fair: bool) -> None:
        self._database = database
        self._worker_id = worker_id
        self._lease_s = lease_s
        self._history = history
        self._fair = fair
        self._batcher = Batcher(self._take, most=MOST)

    async def take(self, job_id: UUID) -> Turn | None:
        """Claim a job, for which there is room, and read its turn; `redeem`'s results."""
        return await self.redeem(Ticket(job_id))

    async def redeem(self, ticket: Ticket) -> Turn | None:
        """Claim the job of a ticket, or whichever is next, and read its turn; None when there is none to be had.

        Raises IntegrityError and LeaseLostError for the same, and Unavailable.
        """
        try:
            return await self._batcher.load(ticket)
        except NotTogetherError:
            return await self._alone(ticket)

    async def _take(self, tickets: list[Ticket]) -> Sequence[Turn | Exception | None]:
        if len(tickets) == 1:
            return [await self._alone(tickets[0])]
        choose = self._fair and any(ticket.crowded for ticket in tickets)
        claim = leases.claim_next if choose else leases.claim_many
        job_ids = [ticket.job_id for ticket in tickets]
        taken: dict[UUID, Turn] = {}
        try:
            async with self._database.write() as db:
                claims = await claim(db, job_ids=job_ids, worker_id=self._worker_id, lease_s=self._lease_s)
                if claims:
                    read = await turns.load_many(db, claims, history=self._history)
                    taken = {turn.job.id: turn for turn in read}
        except Exception as error:  # noqa: BLE001 - whose fault it is shows when each is claimed by itself
            log.info("jobs.not_claimed_together", jobs=len(job_ids), error=type(error).__name__)
            return [NotTogetherError() for _ in tickets]
        found = [taken.pop(job_id, None) for job_id in job_ids]  # asked for twice, it is taken once
        if choose:
            chosen = list(taken.values())
            return [turn or (chosen.pop() if chosen else None) for turn in found]
        return [turn or NotTogetherError() for turn in found]

    async def _alone(self, ticket: Ticket) -> Turn | None:
        worker_id, lease_s, claim = self._worker_id, self._lease_s, None
        async with self._database.write() as db:
            if not (self._fair and ticket.crowded):
                claim = await leases.claim(db, job_id=ticket.job_id, worker_id=worker_id, lease_s=lease_s)
            if claim is None and self._fair:
                claims = await leases.claim_next(db, job_ids=[ticket.job_id], worker_id=worker_id, lease_s=lease_s)
                claim = claims[0] if claims else None
            if claim is None:
                return None
            ticket.job_id = claim.job_id
            return await turns.load(db, claim, history=self._history)


class ReplyBatcher:
    """Saves replies that end their turns."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batcher = Batcher(self._save, most=MOST)

    async def save(self, reply: TurnReply) -> bool:
        """Save the reply of a first attempt that is not spoken; False when it must be saved by itself."""
        return await self._batcher.load(reply)

    async def _save(self, replies: list[TurnReply]) -> Sequence[bool]:
        try:
            async with self._database.write() as db:
                ended = await steps.save_replies(db, replies)
        except Exception as error:  # noqa: BLE001 - as above
            log.info("replies.not_saved_together", replies=len(replies), error=type(error).__name__)
            ended = set()
        return [reply.turn.job.id in ended for reply in replies]
