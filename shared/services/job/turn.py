"""What a worker reads of a turn before it goes on with it."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Integer, String, Uuid, bindparam, exists, func, or_
from sqlalchemy import select as sql_select
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.models import (
    Agent,
    Blob,
    Job,
    Message,
    MessageRole,
    Session,
    Step,
    StepStatus,
    Usage,
    User,
    table,
)
from shared.models.message import MAX_TEXT_CHARS
from shared.money import ZERO
from shared.services.job.lease import Claim, LeaseLostError
from shared.services.page import padded
from shared.sql.functions import json_rows

SPEAK = "speak/"  # before the number of a sentence, the name of its step

_message, _step = table(Message), table(Step)
_job_id = bindparam("job", type_=Uuid())
_earlier = _message.alias()
_history = (
    sql_select(_earlier.c.seq, _earlier.c.role, func.substr(_earlier.c.text, 1, MAX_TEXT_CHARS).label("text"))
    .where(_earlier.c.session_id == _message.c.session_id, _earlier.c.seq < _message.c.seq, _earlier.c.text != "")
    .order_by(_earlier.c.seq.desc())
    .limit(bindparam("most", type_=Integer()))
    .correlate(_message)
    .subquery()
)
_TURNS = (
    select(  # type: ignore[call-overload]  # typed for four at most
        Job,
        Session,
        Agent,
        Message,
        Blob,
        User.allowed_models,
        sql_select(json_rows(*_history.c)).correlate(_message).scalar_subquery(),
    )
    .join(Session, col(Session.id) == col(Job.session_id))
    .join(Agent, col(Agent.id) == col(Session.agent_id))
    .join(Message, (col(Message.job_id) == col(Job.id)) & (col(Message.role) == MessageRole.USER))
    .join(Blob, col(Blob.id) == col(Message.blob_id), isouter=True)
    .join(User, col(User.id) == col(Job.owner_id))
    .where(col(Job.id).in_(bindparam("jobs", type_=Uuid(), expanding=True)))
)
_REPLY = select(Message).where(col(Message.job_id) == _job_id, col(Message.role) == MessageRole.ASSISTANT)
_blob = table(Blob)
_done = (_step.c.name, _step.c.duration_ms, _step.c.provider, _step.c.model, _step.c.input_hash)
_STEPS = (
    select(_step.c.status, _blob.c.key, *_done)  # type: ignore[call-overload]  # typed for four at most
    .join(_blob, _blob.c.id == _step.c.blob_id, isouter=True)
    .where(_step.c.job_id == _job_id)
)
_SPOKEN = (
    select(Step.name, Blob.id, Blob.key)
    .join(Blob, col(Blob.id) == col(Step.blob_id))
    .join(Job, col(Job.id) == col(Step.job_id))
    .where(Step.job_id == _job_id, col(Step.name).in_(bindparam("names", type_=String(), expanding=True)))
    .where(Step.status == StepStatus.SUCCEEDED)
    .where(
        or_(
            col(Step.attempt) == col(Job.attempt),
            exists().where(col(Message.job_id) == _job_id, col(Message.role) == MessageRole.ASSISTANT),
        )
    )
)
_SPENT = select(func.sum(Usage.cost)).where(col(Usage.job_id) == _job_id, col(Usage.step) != bindparam("but"))


class EarlierMessage(NamedTuple):
    """An earlier message of the conversation."""

    role: MessageRole
    text: str


@dataclass
class Turn:
    """A claimed turn: the user's message and what is known of its answer. Steps keep it up to date.

    `history` is what was said before, oldest first; while the turn runs nothing is said in its session.
    `steps` are the finished ones by name, `sentence_keys` the blob keys of those that were spoken. `left` is what is
    left of the money that is held back for it; None when nothing is. `unpaid` is a reply that was told, and not saved.
    `failed` are the provider and model with which a step failed in the attempt before.
    """

    claim: Claim
    job: Job
    agent: Agent
    session: Session
    message: Message
    history: Sequence[EarlierMessage]
    voice_note: Blob | None
    reply: Message | None
    steps: dict[str, "StepDone"]
    sentence_keys: dict[str, str]
    left: Decimal | None
    allowed_models: Sequence[str] | None
    unpaid: "StepDone | None" = None
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def language(self) -> str:
        """The conversation's language until the turn's own is known: one that the agent speaks."""
        spoken = self.agent.languages
        assumed = (self.session.language, self.agent.language, *spoken, "en")
        return next(code for code in assumed if code and (not spoken or code in spoken))


@dataclass(frozen=True)
class Used:
    """What a step used of a model: tokens, seconds of audio, characters; and its price in dollars."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    audio_s: float | None = None
    characters: int | None = None
    cost: Decimal = ZERO

    def __add__(self, other: "Used") -> "Used":
        """Both together; what neither counts stays None."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Used(*(mine if more is None else more if mine is None else mine + more for mine, more in pairs))


@dataclass(frozen=True)
class StepDone:
    """How a step went. `provider` is None when no model was asked; `input_hash` is the SHA-256 of its input.

    `finish_reason` and `reasoning` are a reply's: why it ended, and what the model thought, if its agent keeps that.
    """

    name: str
    duration_ms: int
    provider: str | None = None
    model: str | None = None
    input_hash: str | None = None
    used: Used | None = None
    finish_reason: str | None = None
    reasoning: str | None = None


async def load(db: AsyncSession, claim: Claim, *, history: int) -> Turn:
    """Read a claimed turn with at most `history` messages before it; LeaseLostError when it was deleted meanwhile."""
    (turn,) = await load_many(db, [claim], history=history)
    return turn


async def load_many(db: AsyncSession, claims: Sequence[Claim], *, history: int) -> list[Turn]:
    """`load` many; LeaseLostError when one of them was deleted."""
    params = {"jobs": padded([claim.job_id for claim in claims]), "most": history}
    rows = (await db.exec(_TURNS, params=params)).all()
    if len(rows) < len(claims):
        raise LeaseLostError
    known = {claim.job_id: claim for claim in claims}
    return [await _turn(db, known[row[0].id], *row) for row in rows]


async def _turn(
    db: AsyncSession,
    claim: Claim,
    job: Job,
    session: Session,
    agent: Agent,
    message: Message,
    voice_note: Blob | None,
    allowed_models: list[str] | None,
    history: list[tuple[int, str, str]],
) -> Turn:
    turn = Turn(
        claim=claim,
        job=job,
        agent=agent,
        session=session,
        message=message,
        history=[EarlierMessage(MessageRole(role), text) for _, role, text in sorted(history)],
        voice_note=voice_note,
        reply=None,
        steps={},
        sentence_keys={},
        left=job.reserved,
        allowed_models=allowed_models,
    )
    if claim.attempt > 1:
        turn.reply = (await db.exec(_REPLY, params={"job": job.id})).first()
        for status, key, *row in (await db.exec(_STEPS, params={"job": job.id})).all():
            step = StepDone(*row)
            if status == StepStatus.FAILED:
                if step.provider and step.model:
                    turn.failed[step.name] = (step.provider, step.model)
                continue
            turn.steps[step.name] = step
            if key:
                turn.sentence_keys[step.name] = key
        if job.reserved is not None:
            # Calls that gave no reply must not leave too little for the next one: `settle` waives what is too much.
            but = "" if turn.reply else "reply"
            spent = (await db.exec(_SPENT, params={"job": job.id, "but": but})).one()
            turn.left = min(job.reserved, job.reserved + job.charged - (spent or ZERO))
    return turn


async def spoken(db: AsyncSession, *, job_id: UUID, numbers: range) -> dict[str, tuple[UUID, str]]:
    """Ids and keys of those sentences of a job whose sound is saved and sure to be in its reply, by step.

    That is once the reply is saved; before, of those that the present attempt has spoken.
    """
    names = padded([f"{SPEAK}{number}" for number in numbers])
    rows = await db.exec(_SPOKEN, params={"job": job_id, "names": names})
    return {name: (blob_id, key) for name, blob_id, key in rows.all()}
