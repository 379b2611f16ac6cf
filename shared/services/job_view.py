"""What a client sees of a job: one query, however many steps it has."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, bindparam, func
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.models import Blob, Job, JobStatus, Message, MessageRole, NewJob, NewMessage, Step, is_unfinished, table
from shared.services.job import missing
from shared.services.page import PageRequest, newest_first, newest_ids_first, padded

MOST = 256  # jobs in one query
PLACES = {"transcribe": 0, "reply": 1, "speak": 2}
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
_VIEWS = (
    select(Job, _said, _reply, Blob, _position, Step)  # type: ignore[call-overload]  # typed for four at most
    .join(_said, (col(_said.job_id) == col(Job.id)) & (col(_said.role) == MessageRole.USER), isouter=True)
    .join(_reply, (col(_reply.job_id) == col(Job.id)) & (col(_reply.role) == MessageRole.ASSISTANT), isouter=True)
    .join(Blob, col(Blob.id) == col(_reply.blob_id), isouter=True)
    .join(Step, col(Step.job_id) == col(Job.id), isouter=True)
    .execution_options(populate_existing=True)
)
_owned = _job.c.owner_id == bindparam("owner", type_=Uuid())
_this = _job.c.id == bindparam("job", type_=Uuid())
_these = _job.c.id.in_(bindparam("jobs", type_=Uuid(), expanding=True))
_ONE, _MANY = _VIEWS.where(_owned, _this), _VIEWS.where(_owned, _these)
_STATES = select(_job.c.id, _job.c.version, _position, _job.c.status).where(_owned, _these)
_UNFINISHED = select(_job.c.id).where(_these, is_unfinished(_job.c.status))


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


@dataclass
class JobView:
    """A job with its messages, the sound of its reply, its steps, and the unfinished jobs ahead of it."""

    job: Job | NewJob
    message: Message | NewMessage | None
    reply: Message | None
    audio: Blob | None
    queue_position: int
    steps: list[Step] = field(default_factory=list)

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


async def get(db: AsyncSession, *, owner_id: UUID, job_id: UUID) -> JobView:
    """One job as this transaction leaves it, or NotFound."""
    views = await get_many(db, owner_id=owner_id, job_ids=[job_id])
    if not views:
        raise missing()
    return views[job_id]


async def get_many(db: AsyncSession, *, owner_id: UUID, job_ids: Sequence[UUID]) -> dict[UUID, JobView]:
    """Those of the jobs that there are."""
    if len(job_ids) == 1:
        rows = await db.exec(_ONE, params={"job": job_ids[0], "owner": owner_id})
    else:
        rows = await db.exec(_MANY, params={"jobs": padded(job_ids), "owner": owner_id})
    return _gathered(rows.all())


async def states(db: AsyncSession, *, owner_id: UUID, job_ids: Sequence[UUID]) -> dict[UUID, JobState]:
    """`get_many`, of each no more than its state."""
    rows = await db.exec(_STATES, params={"jobs": padded(job_ids), "owner": owner_id})
    return {job_id: JobState(*state) for job_id, *state in rows.all()}


async def ended(db: AsyncSession, job_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the jobs that have ended, or are gone."""
    left: set[UUID] = set()
    for start in range(0, len(job_ids), MOST):
        left.update((await db.exec(_UNFINISHED, params={"jobs": padded(job_ids[start : start + MOST])})).all())
    return set(job_ids) - left


async def list_(
    db: AsyncSession, *, owner_id: UUID, status: JobStatus | None, session_id: UUID | None, page: PageRequest
) -> tuple[Sequence[JobView], str | None]:
    """One page of the owner's jobs, newest first."""
    statement = select(Job).where(Job.owner_id == owner_id, *_shown_as(status))
    if session_id:
        statement = statement.where(Job.session_id == session_id)
    jobs, next_cursor = await newest_first(db, statement, Job, page)
    return await _views_of(db, jobs), next_cursor


async def list_all(
    db: AsyncSession, *, owner_id: UUID | None, status: JobStatus | None, page: PageRequest
) -> tuple[Sequence[JobView], str | None]:
    """One page of everybody's jobs, or of one owner's, newest first."""
    statement = select(Job).where(*_shown_as(status))
    if owner_id:
        statement = statement.where(Job.owner_id == owner_id)
    jobs, next_cursor = await newest_ids_first(db, statement, Job, page)
    return await _views_of(db, jobs), next_cursor


def _shown_as(status: JobStatus | None) -> list[ColumnElement[bool]]:
    if status in {JobStatus.CANCELLING, JobStatus.RUNNING}:
        return [col(Job.status) == JobStatus.RUNNING, col(Job.cancel_requested) == (status is JobStatus.CANCELLING)]
    return [col(Job.status) == status] if status else []


async def _views_of(db: AsyncSession, jobs: Sequence[Job]) -> list[JobView]:
    these = _VIEWS.where(col(Job.id).in_([job.id for job in jobs]))
    views = _gathered((await db.exec(these)).all()) if jobs else {}
    return [views[job.id] for job in jobs if job.id in views]


def _gathered(rows: Iterable[Any]) -> dict[UUID, JobView]:
    views: dict[UUID, JobView] = {}
    for job, message, answer, audio, queue_position, step in rows:
        view = views.setdefault(job.id, JobView(job, message, answer, audio, queue_position))
        if step:
            view.steps.append(step)
    for view in views.values():
        view.steps.sort(key=_place)
    return views


def _place(step: Step) -> tuple[int, int]:
    """Steps in the order of a turn, whenever they ran; sentences by number."""
    name, _, number = step.name.partition("/")
    return PLACES.get(name, len(PLACES)), int(number or 0)
