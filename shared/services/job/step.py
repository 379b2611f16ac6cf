"""What the steps of a turn leave behind, every write behind the fence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, bindparam, exists, func, insert, tuple_
from sqlmodel import col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from uuid_utils.compat import uuid7

from shared.models import (
    LOCAL_USER_ID,
    Blob,
    BlobPurpose,
    Message,
    MessageKind,
    MessageRole,
    Session,
    Step,
    StepStatus,
    Usage,
    table,
)
from shared.services import blob as blobs
from shared.services import message as messages
from shared.services import session as sessions
from shared.services.job import lease as leases
from shared.services.job.lease import Claim
from shared.services.job.turn import SPEAK, StepDone, Turn
from shared.sql.functions import db_now, seconds

_message, _step = table(Message), table(Step)
_HEARD = update(_message).where(_message.c.id == bindparam("message", type_=Uuid()))
_ADD_STEP = insert(_step).values(started_at=db_now(seconds("ago_s")))
_ADD_USAGE = insert(table(Usage))


@dataclass(frozen=True)
class TurnReply:
    """What a turn came to, in one attempt and in text only."""

    turn: Turn
    text: str
    language: str
    done: StepDone


async def save_transcript(db: AsyncSession, turn: Turn, *, text: str, language: str, done: StepDone) -> None:
    """Save what a voice note said; an empty text is no speech."""
    await leases.fence(db, turn.claim, stage="reply")
    await _save_heard(db, turn, language=language, text=text)
    if not await _is_saved(db, turn, done):
        await _save_step(db, turn, done)


async def save_reply(
    db: AsyncSession, turn: Turn, *, text: str, language: str, done: StepDone, spoken: Mapping[str, str]
) -> None:
    """Save the reply, and end the job with it when it is not to be spoken.

    `spoken` is what its sentences are made from, by step: what an earlier attempt spoke of other words is dropped.
    """
    await leases.fence(db, turn.claim, stage="speak")
    if turn.claim.attempt > 1:
        await _drop_other_words(db, turn, spoken)
    if turn.message.kind == MessageKind.TEXT:
        await _save_heard(db, turn, language=language)
    turn.reply = _answer(turn, done, text=text, language=language)
    await messages.add_all(db, [turn.reply])
    await _save_step(db, turn, done)
    if not turn.job.reply_audio:
        await leases.succeed(db, turn.claim)


async def save_replies(db: AsyncSession, replies: Sequence[TurnReply]) -> set[UUID]:
    """`save_reply` for many jobs, each in its first attempt and not to be spoken; those that are ended now.

    What is missing must be saved by itself: its job was cancelled or lost, or its session is locked just now.
    """
    ours = await leases.fence_many(db, [reply.turn.claim for reply in replies])
    replies = [reply for reply in replies if reply.turn.job.id in ours]
    if not replies:
        return ours
    heard = [one for one in replies if one.turn.message.kind == MessageKind.TEXT]
    if heard:
        await db.exec(_HEARD, params=[{"message": one.turn.message.id, "language": one.language} for one in heard])
    for one in heard:
        await _keep_language(db, one.turn, one.language)
    await messages.add_all(db, [_answer(one.turn, one.done, text=one.text, language=one.language) for one in replies])
    await db.exec(_ADD_STEP, params=[_done_row(one.turn.claim, one.done) for one in replies])
    if usages := [usage for one in replies if (usage := _usage_row(one.turn, one.done))]:
        await db.exec(_ADD_USAGE, params=usages)
    await leases.succeed_many(db, [reply.turn.claim for reply in replies])
    return ours


async def announce_sound(db: AsyncSession, turn: Turn, *, purpose: BlobPurpose) -> Blob:
    """Make the pending row of sound that is about to be written."""
    await leases.fence(db, turn.claim)
    return await blobs.add(db, owner_id=turn.job.owner_id, session_id=turn.session.id, purpose=purpose)


async def save_sentence(
    db: AsyncSession, turn: Turn, *, blob: Blob, content: blobs.BlobContent, done: StepDone
) -> None:
    """Save one spoken sentence, so that no retry speaks it again."""
    await leases.fence(db, turn.claim)
    if not await _is_saved(db, turn, done):
        await blobs.ready(db, blob_id=blob.id, session_id=turn.session.id, content=content)
        await _save_step(db, turn, done, blob_id=blob.id)


async def save_speech(db: AsyncSession, turn: Turn, reply: Message, *, blob: Blob, content: blobs.BlobContent) -> None:
    """Give the reply its whole sound and end the job; its sentences' own bytes are not needed any more."""
    await leases.fence(db, turn.claim)
    await blobs.ready(db, blob_id=blob.id, session_id=turn.session.id, content=content)
    await db.exec(update(Message).where(col(Message.id) == reply.id).values(blob_id=blob.id))
    spoken = select(Step.blob_id).where(Step.job_id == turn.job.id, col(Step.blob_id).is_not(None))
    await blobs.mark_deleted(db, col(Blob.id).in_(spoken))
    await leases.succeed(db, turn.claim)


async def save_silence(db: AsyncSession, turn: Turn, reply: Message) -> None:
    """End the job whose reply has nothing to say, such as a lone emoji: it is a reply in text."""
    await leases.fence(db, turn.claim)
    await db.exec(update(Message).where(col(Message.id) == reply.id).values(kind=MessageKind.TEXT))
    await leases.succeed(db, turn.claim)


async def save_unpaid(db: AsyncSession, turn: Turn) -> None:
    """Note, right before a turn ends as cancelled, what its reply used that was told while it was written.

    Whoever followed the job has read it.
    """
    if turn.unpaid and turn.job.owner_id != LOCAL_USER_ID:
        await sessions.lock(db, turn.claim.session_id)
        await save_usage(db, turn, turn.unpaid)


async def save_failed_step(db: AsyncSession, claim: Claim, *, done: StepDone, code: str) -> None:
    """Note, in a fenced transaction, that a step failed; a later success takes its place.

    A step that has succeeded stays: what failed then was to read what it had made.
    """
    made = exists().where(
        col(Step.job_id) == claim.job_id, col(Step.name) == done.name, col(Step.status) == StepStatus.SUCCEEDED
    )
    if (await db.exec(select(made))).one():
        return
    await _write_step(db, _step_row(claim, done, status=StepStatus.FAILED, error_code=code))


async def _drop_other_words(db: AsyncSession, turn: Turn, spoken: Mapping[str, str]) -> None:
    """Drop the sentences of earlier attempts that the reply does not have; SQL knows which they are.

    `turn.steps` has what is being saved just now too.
    """
    same = tuple_(col(Step.name), col(Step.input_hash)).in_(list(spoken.items()))
    stale = (col(Step.job_id) == turn.job.id, col(Step.name).startswith(SPEAK), ~same)
    await blobs.mark_deleted(db, col(Blob.id).in_(select(Step.blob_id).where(*stale, col(Step.blob_id).is_not(None))))
    await db.exec(delete(Step).where(*stale))


async def _save_heard(db: AsyncSession, turn: Turn, *, language: str, text: str | None = None) -> None:
    """Save the user's language, and with `text` what a voice note said.

    A try before this one may have changed `turn.message` and not been committed: what is written is not judged by it.
    """
    heard = {"message": turn.message.id, "language": language}
    if text is not None:
        turn.message.text = heard["text"] = text
    await db.exec(_HEARD, params=heard)
    turn.message.language = language
    await _keep_language(db, turn, language)


async def _keep_language(db: AsyncSession, turn: Turn, language: str) -> None:
    """Let the conversation go on in the language of its newest turn."""
    if language != turn.session.language:
        answered_since = exists().where(
            col(Message.session_id) == turn.session.id,
            col(Message.role) == MessageRole.ASSISTANT,
            col(Message.seq) > turn.message.seq + 1,
        )
        newest = update(Session).where(col(Session.id) == turn.session.id, ~answered_since).values(language=language)
        await db.exec(newest)


async def _save_step(db: AsyncSession, turn: Turn, done: StepDone, *, blob_id: UUID | None = None) -> None:
    await _write_step(db, _done_row(turn.claim, done, blob_id=blob_id))
    turn.steps[done.name] = done
    await save_usage(db, turn, done)


async def _is_saved(db: AsyncSession, turn: Turn, done: StepDone) -> bool:
    """Whether this very output is there: the database was away when it was to say so of an earlier try."""
    saved = select(Step.id).where(
        Step.job_id == turn.job.id,
        Step.name == done.name,
        Step.status == StepStatus.SUCCEEDED,
        Step.attempt == turn.claim.attempt,
        Step.input_hash == done.input_hash,
    )
    if (await db.exec(saved)).first() is None:
        return False
    turn.steps[done.name] = done
    return True


async def save_usage(db: AsyncSession, turn: Turn, done: StepDone) -> None:
    """Add what a step used to what it used before: it runs again when its input has changed, and is billed again."""
    usage = _usage_row(turn, done)
    if usage is None:
        return
    if turn.claim.attempt > 1:
        more = {
            name: func.coalesce(getattr(Usage, name), 0) + amount
            for name, amount in vars(done.used).items()
            if amount is not None
        }
        spent = (col(Usage.job_id) == turn.job.id, col(Usage.step) == done.name)
        again = update(Usage).where(*spent).values(provider=done.provider, model=done.model, **more)
        if (await db.exec(again)).rowcount:
            return
    await db.exec(_ADD_USAGE, params=usage)


async def _write_step(db: AsyncSession, row: dict[str, Any]) -> None:
    """Write a step in the place of what an earlier attempt wrote."""
    if row["attempt"] > 1:
        before = (col(Step.job_id) == row["job_id"], col(Step.name) == row["name"])
        await blobs.mark_deleted(
            db, col(Blob.id).in_(select(Step.blob_id).where(*before, col(Step.blob_id).is_not(None)))
        )
        await db.exec(delete(Step).where(*before))
    await db.exec(_ADD_STEP, params=row)


def _answer(turn: Turn, done: StepDone, *, text: str, language: str) -> Message:
    return Message(
        id=uuid7(),
        owner_id=turn.job.owner_id,
        session_id=turn.session.id,
        job_id=turn.job.id,
        seq=turn.message.seq + 1,
        role=MessageRole.ASSISTANT,
        kind=MessageKind.VOICE if turn.job.reply_audio else MessageKind.TEXT,
        text=text,
        language=language,
        finish_reason=done.finish_reason,
        reasoning=done.reasoning,
    )


def _step_row(claim: Claim, done: StepDone, **outcome: Any) -> dict[str, Any]:
    return {
        "id": uuid7(),
        "job_id": claim.job_id,
        "name": done.name,
        "attempt": claim.attempt,
        "ago_s": -done.duration_ms / 1_000,
        "duration_ms": done.duration_ms,
        "provider": done.provider,
        "model": done.model,
        **outcome,
    }


def _done_row(claim: Claim, done: StepDone, *, blob_id: UUID | None = None) -> dict[str, Any]:
    return _step_row(claim, done, status=StepStatus.SUCCEEDED, input_hash=done.input_hash, blob_id=blob_id)


def _usage_row(turn: Turn, done: StepDone) -> dict[str, Any] | None:
    if not (done.used and done.provider and done.model):
        return None
    return {
        "id": uuid7(),
        "owner_id": turn.job.owner_id,
        "agent_id": turn.agent.id,
        "session_id": turn.session.id,
        "job_id": turn.job.id,
        "step": done.name,
        "provider": done.provider,
        "model": done.model,
        **vars(done.used),
    }
