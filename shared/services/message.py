"""The rules of messages: what a submit writes, and what a conversation shows."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.orm import defer
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import Select
from uuid_utils.compat import uuid7

from shared.errors import Invalid, NotFound, PaymentRequired, TooMany
from shared.models import Blob, Message, MessageKind, NewJob, NewMessage, Session, table
from shared.services import balance as balances
from shared.services import session as sessions
from shared.services.cost_estimate import Estimate
from shared.services.job import transitions as jobs
from shared.services.job.view import JobView
from shared.services.page import PageRequest, decode_cursor, encode_cursor
from shared.services.session import Numbers, missing
from shared.services.user import Account

_ADD = insert(table(Message))


@dataclass(frozen=True)
class Submission:
    """What a user says, by its text or by its blob, under the id of the job that will answer it."""

    job_id: UUID
    account: Account
    session_id: UUID
    reply_audio: bool
    text: str | None = None
    blob_id: UUID | None = None
    audio_s: float = 0.0
    language_hint: str | None = None

    @property
    def owner_id(self) -> UUID:
        """Whose it is."""
        return self.account.id

    def ask(self, ahead: int) -> Estimate:
        """What its turn will have to do, with so many unfinished ones ahead of it."""
        return Estimate(self.session_id, self.reply_audio, text=self.text, audio_s=self.audio_s, ahead=ahead)


class MessageView(NamedTuple):
    """A message and its sound, if it has one."""

    message: Message
    blob: Blob | None


async def submit(db: AsyncSession, said: Submission, budget: jobs.Budget) -> JobView:
    """Add a user's message and the job that answers it.

    Takes two numbers of the session, the message's and the reply's; raises NotFound for another's session, and what
    `balance.hold` raises.
    """
    numbers = await sessions.take_numbers(db, owner_id=said.owner_id, session_id=said.session_id)
    ahead = await jobs.ahead_of(db, said.session_id)
    (held,) = await balances.authorize(db, budget.tariff, said.account, [said.ask(ahead)])
    job, message = _rows(said, numbers, budget, held)
    await jobs.add_all(db, [(job, ahead)], deadline_s=budget.deadline_s)
    await db.exec(_ADD, params=vars(message))
    return JobView(job, message, None, None, ahead)


async def submit_many(db: AsyncSession, said: Sequence[Submission], budget: jobs.Budget) -> list[JobView | None]:
    """`submit` for many at once, in a handful of statements.

    None for those whose session is another's, or locked by somebody, and for those whose account can't have all that
    it asks for: they must be submitted by themselves.
    """
    free = await sessions.try_lock_owned(db, {(one.session_id, one.owner_id) for one in said})
    if not free:
        return [None] * len(said)
    ahead = Counter(await jobs.ahead_in(db, list(free)))
    held = await _hold(db, [one for one in said if free.get(one.session_id) == one.owner_id], ahead, budget)
    if not held:
        return [None] * len(said)
    taken = await sessions.take_numbers_of(db, Counter(one.session_id for one in said if one.job_id in held))
    views: list[JobView | None] = []
    added: list[tuple[NewJob, int]] = []
    spoken: list[dict[str, Any]] = []
    for one in said:
        if one.job_id not in held:
            views.append(None)
            continue
        numbers = taken[one.session_id]
        job, message = _rows(one, numbers, budget, held[one.job_id])
        added.append((job, ahead[one.session_id]))
        spoken.append(vars(message))
        views.append(JobView(job, message, None, None, ahead[one.session_id]))
        taken[one.session_id] = numbers._replace(first=numbers.first + 2)
        ahead[one.session_id] += 1
    await jobs.add_all(db, added, deadline_s=budget.deadline_s)
    await db.exec(_ADD, params=spoken)
    return views


async def _hold(
    db: AsyncSession, said: Sequence[Submission], ahead: Mapping[UUID, int], budget: jobs.Budget
) -> dict[UUID, Decimal | None]:
    """What is held back for each job, by its id; nothing of an account whose jobs can't all be had."""
    owned: defaultdict[UUID, list[Submission]] = defaultdict(list)
    for one in said:
        owned[one.owner_id].append(one)
    held: dict[UUID, Decimal | None] = {}
    for _, theirs in sorted(owned.items()):
        before: Counter[UUID] = Counter()
        asks = []
        for one in theirs:
            asks.append(one.ask(ahead.get(one.session_id, 0) + before[one.session_id]))
            before[one.session_id] += 1
        with suppress(PaymentRequired, TooMany, Invalid):  # it is told when each is submitted by itself
            amounts = await balances.authorize(db, budget.tariff, theirs[-1].account, asks)
            held |= {one.job_id: amount for one, amount in zip(theirs, amounts, strict=True)}
    return held


def _rows(said: Submission, numbers: Numbers, budget: jobs.Budget, held: Decimal | None) -> tuple[NewJob, NewMessage]:
    kind = MessageKind.VOICE if said.blob_id else MessageKind.TEXT
    ours: dict[str, Any] = {
        "owner_id": said.owner_id, "session_id": said.session_id, "seq": numbers.first, "kind": kind
    }  # fmt: skip
    job = NewJob(
        **ours,
        id=said.job_id,
        created_at=numbers.at,
        reply_audio=said.reply_audio,
        language_hint=said.language_hint,
        attempts_left=budget.attempts,
        reserved=held,
    )
    return job, NewMessage(**ours, id=uuid7(), job_id=said.job_id, text=said.text, blob_id=said.blob_id)


def _row_of(message: Message) -> dict[str, Any]:
    return message.model_dump(exclude={"created_at", "updated_at"})


async def add_all(db: AsyncSession, added: Sequence[Message]) -> None:
    """Add messages under numbers that were taken for them."""
    await db.exec(_ADD, params=[_row_of(message) for message in added])


async def get(db: AsyncSession, *, owner_id: UUID, message_id: UUID) -> MessageView:
    """One message, or NotFound."""
    statement = _views().where(Message.id == message_id, Message.owner_id == owner_id)
    row = (await db.exec(statement)).first()
    if row is None:
        detail = "There is no such message."
        raise NotFound(detail)
    return MessageView(*row)


async def conversation(
    db: AsyncSession, *, owner_id: UUID, session_id: UUID, page: PageRequest, newest_first: bool = False
) -> tuple[Sequence[MessageView], str | None]:
    """One page of a session's messages, oldest first unless told otherwise, and the cursor of the next."""
    owned = select(Session.id).where(Session.id == session_id, Session.owner_id == owner_id)
    if (await db.exec(owned)).first() is None:
        raise missing()
    statement = _views().where(Message.session_id == session_id)
    if page.cursor:
        (seq,) = decode_cursor(page.cursor, _seq)
        statement = statement.where(Message.seq < seq if newest_first else Message.seq > seq)
    order = col(Message.seq).desc() if newest_first else col(Message.seq)
    rows = (await db.exec(statement.order_by(order).limit(page.limit + 1))).all()
    views = [MessageView(*row) for row in rows[: page.limit]]
    return views, encode_cursor(views[-1].message.seq) if len(rows) > page.limit else None


def _seq(text: str) -> int:
    number = int(text)
    if str(number) != text or not 0 <= number < 2**31:  # what both databases can hold
        raise ValueError(text)
    return number


def _views() -> Select[Message, Blob]:
    messages = select(Message, Blob).options(defer(col(Message.reasoning)))  # type: ignore[arg-type]  # SQLModel's name for it
    return messages.join(Blob, col(Blob.id) == col(Message.blob_id), isouter=True)
