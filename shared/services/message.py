"""The rules of messages: what a submit writes, and what a conversation shows."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import Select

from shared.errors import NotFound
from shared.models import Blob, Job, Message, MessageKind, MessageRole, Session, table
from shared.services import job as jobs
from shared.services import session as sessions
from shared.services.job_view import JobView
from shared.services.page import PageRequest, decode_cursor, encode_cursor
from shared.services.session import missing

_BY_THE_DATABASE = {"created_at", "updated_at"}
_ADD = insert(table(Message))


class MessageView(NamedTuple):
    """A message and its sound, if it has one."""

    message: Message
    blob: Blob | None


async def submit(
    db: AsyncSession,
    *,
    job_id: UUID,
    owner_id: UUID,
    session_id: UUID,
    text: str | None = None,
    blob_id: UUID | None = None,
    language_hint: str | None = None,
    reply_audio: bool,
    budget: jobs.Budget,
) -> JobView:
    """Add a user's message, by its text or by its blob, and the job `job_id` that answers it.

    Takes two numbers of the session, the message's and the reply's; raises NotFound for another's session.
    """
    seq = await sessions.take_numbers(db, owner_id=owner_id, session_id=session_id)
    kind = MessageKind.VOICE if blob_id else MessageKind.TEXT
    ours: dict[str, Any] = {"owner_id": owner_id, "session_id": session_id, "seq": seq, "kind": kind}
    job = Job(**ours, id=job_id, reply_audio=reply_audio, language_hint=language_hint, attempts_left=budget.attempts)
    ahead = await jobs.add(db, job, deadline_s=budget.deadline_s)
    message = Message(**ours, job_id=job_id, role=MessageRole.USER, text=text, blob_id=blob_id)
    await add(db, message)
    return JobView(job, message, None, None, ahead)


async def add(db: AsyncSession, message: Message) -> None:
    """Add a message under a number that was taken for it."""
    await db.exec(_ADD, params=message.model_dump(exclude=_BY_THE_DATABASE))


async def get(db: AsyncSession, *, owner_id: UUID, message_id: UUID) -> MessageView:
    """One message, or NotFound."""
    statement = _views().where(Message.id == message_id, Message.owner_id == owner_id)
    row = (await db.exec(statement)).first()
    if row is None:
        detail = "There is no such message."
        raise NotFound(detail)
    return MessageView(*row)


async def conversation(
    db: AsyncSession, *, owner_id: UUID, session_id: UUID, page: PageRequest
) -> tuple[Sequence[MessageView], str | None]:
    """One page of a session's messages, oldest first, and the cursor of the next."""
    owned = select(Session.id).where(Session.id == session_id, Session.owner_id == owner_id)
    if (await db.exec(owned)).first() is None:
        raise missing()
    statement = _views().where(Message.session_id == session_id)
    if page.cursor:
        (seq,) = decode_cursor(page.cursor, _seq)
        statement = statement.where(Message.seq > seq)
    rows = (await db.exec(statement.order_by(col(Message.seq)).limit(page.limit + 1))).all()
    views = [MessageView(*row) for row in rows[: page.limit]]
    return views, encode_cursor(views[-1].message.seq) if len(rows) > page.limit else None


def _seq(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**31:  # what both databases can hold
        raise ValueError(text)
    return number


def _views() -> Select[Message, Blob]:
    return select(Message, Blob).join(Blob, col(Blob.id) == col(Message.blob_id), isouter=True)
