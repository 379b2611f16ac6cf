"""What a client sees of a job: one query, however many steps it has, whose size does not grow with them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, bindparam, func, or_
from sqlalchemy import select as sql_select
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.models import (
    Blob,
    Job,
    JobStatus,
    Message,
    MessageKind,
    MessageRole,
    NewJob,
    NewMessage,
    Step,
    StepStatus,
    is_unfinished,
    table,
)
from shared.services.job.transitions import missing
from shared.services.page import PageRequest, newest_first, newest_ids_first, padded
from shared.sql.functions import json_rows

MOST = 256  # jobs in one query
MOST_STEPS = 200  # of a job, in the order of a turn
PLACES = {"transcribe": 0, "reply": 1, "speak": 2}
_STATUSES = {str(status): status for status in StepStatus}
ENDED = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.EXPIRED)


# built once: to build it costs several times what it costs to run it
_said, _reply = aliased(Message), aliased(Message)
_job = table(Job)
_ahead = _job.alias()
_position = (
    select(func.count())
    .where(
        is_unfinished(_job.c.status),
        _ahead.c.session_id == _job.c.session_id,
        _ahead.c.seq < _job.c.seq,
        is_unfinished(_ahead.c.status),
    )
    .correlate(_job)
    .scalar_subquery()
)
_step = table(Step)
_of_job = _step.c.job_id == _job.c.id
_name = _step.c.name
_last = f"speak/{MOST_STEPS - 1}"
# Which steps come first is told from their names, because to sort them costs more than to read them.
_shorter, _as_long = func.length(_name) < len(_last), func.length(_name) == len(_last)
_first = or_(_shorter, _as_long & (_name <= _last), _name == "transcribe")
_shown = (_name, _step.c.status, _step.c.attempt, _step.c.duration_ms, _step.c.provider, _step.c.model)
_steps = select(json_rows(*_shown)).where(_of_job, _first).correlate(_job).scalar_subquery()
_step_count = select(func.count()).select_from(_step).where(_of_job).correlate(_job).scalar_subquery()
_BRIEF = (
    select(Job, _said, _reply, Blob, _position)  # type: ignore[call-overload]  # typed for four at most
    .join(_said, (col(_said.job_id) == col(Job.id)) & (col(_said.role) == MessageRole.USER), isouter=True)
    .join(_reply, (col(_reply.job_id) == col(Job.id)) & (col(_reply.role) == MessageRole.ASSISTANT), isouter=True)
    .join(Blob, col(Blob.id) == col(_reply.blob_id), isouter=True)
    .execution_options(populate_existing=True)
)
_VIEWS = _BRIEF.add_columns(_step_count, _steps)
_owned = _job.c.owner_id == bindparam("owner", type_=Uuid())
_this = _job.c.id == bindparam("job", type_=Uuid())
_these = _job.c.id.in_(bindparam("jobs", type_=Uuid(), expanding=True))
_ONE, _MANY = _VIEWS.where(_owned, _this), _VIEWS.where(_these)
_STATES = sql_select(_job.c.owner_id, _job.c.id, _job.c.version, _position, _job.c.status).where(_these)
_UNFINISHED = select(_job.c.id).where(_these, is_unfinished(_job.c.status))

Owned = tuple[UUID, UUID]
"""An owner's id, and the id of a job that is read for them."""


class JobState(NamedTuple):
    """As much of a job as tells whether a client has seen it."""

    version: int
    queue_position: int
    status: JobStatus

    @property
    def etag(self) -> str:
        """Strong: changes with whatever the job's view shows."""
        return f'"{self.version}-{self.queue_position}"'

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ENDED


class StepView(NamedTuple):
    """What clients see of a step."""

    name: str
    status: StepStatus
    attempt: int
    duration_ms: int
    provider: str | None
    model: str | None


@dataclass
class JobView:
    """A job with its messages, the sound of its reply, and the unfinished jobs ahead of it.

    `steps` are its first `MOST_STEPS` of `step_count`; both are None when they were not asked for.
    """

    job: Job | NewJob
    message: Message | NewMessage | None
    reply: Message | None
    audio: Blob | None
    queue_position: int
    step_count: int | None = 0
    steps: list[StepView] | None = field(default_factory=list)

    @property
    def status(self) -> JobStatus:
        """The status as clients see it."""
        cancelling = self.job.status == JobStatus.RUNNING and self.job.cancel_requested
        return JobStatus.CANCELLING if cancelling else self.job.status

    @property
    def state(self) -> JobState:
        """What its ETag is made of."""
        return JobState(self.job.version, self.queue_position, self.job.status)

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state.ended

    @property
    def transcript(self) -> str | None:
        """What the voice note said, once that is known; None for a text message."""
        return self.message.text if self.message and self.job.kind == MessageKind.VOICE else None

    @property
    def language(self) -> str | None:
        """The reply's language, or before there is one the user's."""
        said = self.reply or self.message
        return said.language if said else None


async def get(db: AsyncSession, *, owner_id: UUID, job_id: UUID) -> JobView:
    """One job as this transaction leaves it, or NotFound."""
    views = await get_many(db, [(owner_id, job_id)])
    if not views:
        raise missing()
    return views[owner_id, job_id]


async def get_many(db: AsyncSession, asked: Sequence[Owned]) -> dict[Owned, JobView]:
    """Those of the jobs that there are, each for its own owner only."""
    if len(asked) == 1:
        ((owner_id, job_id),) = asked
        rows = await db.exec(_ONE, params={"job": job_id, "owner": owner_id})
    else:
        rows = await db.exec(_MANY, params={"jobs": padded([job_id for _, job_id in asked])})
    wanted = set(asked)
    return {owned: _view(*row) for row in rows.all() if (owned := (row[0].owner_id, row[0].id)) in wanted}


async def states(db: AsyncSession, asked: Sequence[Owned]) -> dict[Owned, JobState]:
    """`get_many`, of each no more than its state."""
    rows = await db.exec(_STATES, params={"jobs": padded([job_id for _, job_id in asked])})  # type: ignore[call-overload]  # no model
    found = {(owner_id, job_id): JobState(*state) for owner_id, job_id, *state in rows.all()}
    return {owned: found[owned] for owned in asked if owned in found}


async def ended(db: AsyncSession, job_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the jobs that have ended, or are gone."""
    left: set[UUID] = set()
    for start in range(0, len(job_ids), MOST):
        left.update((await db.exec(_UNFINISHED, params={"jobs": padded(job_ids[start : start + MOST])})).all())
    return set(job_ids) - left


async def list_(
    db: AsyncSession,
    *,
    owner_id: UUID,
    status: JobStatus | None,
    session_id: UUID | None,
    page: PageRequest,
    steps: bool = False,
) -> tuple[Sequence[JobView], str | None]:
    """One page of the owner's jobs, newest first; with their steps if asked."""
    statement = select(Job).where(Job.owner_id == owner_id, *_shown_as(status))
    if session_id:
        statement = statement.where(Job.session_id == session_id)
    jobs, next_cursor = await newest_first(db, statement, Job, page)
    return await _views_of(db, jobs, steps=steps), next_cursor


async def list_all(
    db: AsyncSession, *, owner_id: UUID | None, status: JobStatus | None, page: PageRequest, steps: bool = False
) -> tuple[Sequence[JobView], str | None]:
    """`list_` of everybody's jobs, or of one owner's."""
    statement = select(Job).where(*_shown_as(status))
    if owner_id:
        statement = statement.where(Job.owner_id == owner_id)
    jobs, next_cursor = await newest_ids_first(db, statement, Job, page)
    return await _views_of(db, jobs, steps=steps), next_cursor


def _shown_as(status: JobStatus | None) -> list[ColumnElement[bool]]:
    if status in {JobStatus.CANCELLING, JobStatus.RUNNING}:
        return [col(Job.status) == JobStatus.RUNNING, col(Job.cancel_requested) == (status is JobStatus.CANCELLING)]
    return [col(Job.status) == status] if status else []


async def _views_of(db: AsyncSession, jobs: Sequence[Job], *, steps: bool) -> list[JobView]:
    if not jobs:
        return []
    these = (_VIEWS if steps else _BRIEF).where(col(Job.id).in_([job.id for job in jobs]))
    views = {row[0].id: _view(*row) for row in (await db.exec(these)).all()}
    return [views[job.id] for job in jobs if job.id in views]


def _view(
    job: Job, message: Message, reply: Message, audio: Blob, position: int, count: int | None = None, steps: Any = None
) -> JobView:
    if steps is not None:
        shown = [StepView(name, _STATUSES[status], *rest) for name, status, *rest in steps]
        steps = sorted(shown, key=_place)[:MOST_STEPS]
    return JobView(job, message, reply, audio, position, count, steps)


def _place(step: StepView) -> tuple[int, int]:
    """Steps in the order of a turn, whenever they ran; sentences by number."""
    name, _, number = step.name.partition("/")
    return PLACES.get(name, len(PLACES)), int(number or 0)
