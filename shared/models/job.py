"""A job: one piece of work and its state; and its steps."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import JSON, ColumnElement, Index, literal_column, text
from sqlalchemy.orm import Mapped
from sqlmodel import Field

from shared.models.message import MessageKind
from shared.models.row import Row, stored
from shared.money import ZERO, Money
from shared.sql.functions import UtcDateTime, db_now


class JobStatus(StrEnum):
    """`cancelling` is shown for a running job that was asked to stop, and never stored."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


UNFINISHED = (JobStatus.QUEUED, JobStatus.RUNNING)


def is_unfinished(status: Mapped[JobStatus] | ColumnElement[JobStatus]) -> ColumnElement[bool]:
    """The predicate of `ix_job_unfinished`: in words, because with parameters no planner can tell that it fits."""
    return status.in_([literal_column(f"'{word}'") for word in UNFINISHED])


def is_waiting(status: Mapped[JobStatus], run_at: Mapped[datetime | None]) -> ColumnElement[bool]:
    """The predicate of `ix_job_waiting`, in words too."""
    return (status == literal_column(f"'{JobStatus.QUEUED}'")) & run_at.is_(None)


TRANSITIONS: dict[JobStatus, tuple[JobStatus, ...]] = {
    JobStatus.RUNNING: (JobStatus.QUEUED,),
    JobStatus.QUEUED: (JobStatus.RUNNING, JobStatus.FAILED),
    JobStatus.SUCCEEDED: (JobStatus.RUNNING,),
    JobStatus.FAILED: (JobStatus.RUNNING,),
    JobStatus.CANCELLED: (JobStatus.QUEUED, JobStatus.RUNNING),
    JobStatus.EXPIRED: (JobStatus.QUEUED,),
}
"""The states from which each state may be reached."""

_RUNNING = text("status = 'running'")
_QUEUED = text("status = 'queued'")
_WAITING = text("status = 'queued' AND run_at IS NULL")
_WAITS = text("waits_since IS NOT NULL")
_LEADING = text("leads_since IS NOT NULL")
_LEASED = text("lease_expires_at IS NOT NULL")
_UNFINISHED = text("status IN ('queued', 'running')")
POISON_LEASES = 3
_SUSPECT_RUNNING = text(f"status = 'running' AND lost_leases >= {POISON_LEASES - 1}")


class Job(Row, table=True):
    """A turn of a session, or stateless work when `session_id` is null.

    `seq` is its user message's number, the reply's is one more. `attempt` counts claims, `attempts_left` what
    crashes and transient errors may still use up. `dispatch_no` makes each queue entry's id new. `worker_id` had
    it last. A job that one more lost lease would end is a suspect: a worker runs one of them at a time, so that a
    job that kills its worker can't take along, three times, those that happened to run beside it.

    `waits_since` is `created_at` while it is dispatched, `leads_since` the same while it is the oldest of its account,
    as far as is known: by these two it is found whose job is next (`shared/services/fairness.py`).

    `reserved` is what its owner's balance holds back for it until it ends, null when nothing is; `charged` is what it
    has cost so far.
    """

    owner_id: UUID = Field(foreign_key="user.id", ondelete="CASCADE")
    session_id: UUID | None = Field(default=None, foreign_key="session.id", ondelete="CASCADE")
    seq: int | None = None
    kind: MessageKind = Field(sa_type=stored(MessageKind))
    reply_audio: bool = False
    language_hint: str | None = Field(default=None, max_length=2)
    status: JobStatus = Field(default=JobStatus.QUEUED, sa_type=stored(JobStatus))
    stage: str | None = Field(default=None, max_length=20)
    version: int = 1
    attempt: int = 0
    attempts_left: int
    lost_leases: int = 0
    cancel_requested: bool = False
    dispatch_no: int = 1
    dispatched_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    waits_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    leads_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    run_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    worker_id: UUID | None = None
    lease_token: UUID | None = None
    lease_expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    deadline_at: datetime = Field(sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    error: dict[str, Any] | None = Field(default=None, sa_type=JSON(none_as_null=True))
    reserved: Decimal | None = Field(default=None, sa_type=Money)
    charged: Decimal = Field(default=ZERO, sa_type=Money)

    __table_args__ = (
        Index(
            "uq_job_running_session",
            "session_id",
            unique=True,
            sqlite_where=_RUNNING,
            postgresql_where=_RUNNING,
        ),
        Index(
            "uq_job_running_suspect",
            "worker_id",
            unique=True,
            sqlite_where=_SUSPECT_RUNNING,
            postgresql_where=_SUSPECT_RUNNING,
        ),
        Index("ix_job_session", "session_id", "seq"),
        Index("ix_job_owner_page", "owner_id", "created_at", "id"),
        Index("ix_job_owner_unfinished", "owner_id", sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
        Index("ix_job_queued", "dispatched_at", sqlite_where=_QUEUED, postgresql_where=_QUEUED),
        Index("ix_job_waiting", "created_at", sqlite_where=_WAITING, postgresql_where=_WAITING),
        Index("ix_job_waits", "owner_id", "waits_since", sqlite_where=_WAITS, postgresql_where=_WAITS),
        Index("ix_job_leading", "leads_since", sqlite_where=_LEADING, postgresql_where=_LEADING),
        Index("ix_job_running", "owner_id", sqlite_where=_LEASED, postgresql_where=_LEASED),
        Index("ix_job_lease", "lease_expires_at", sqlite_where=_RUNNING, postgresql_where=_RUNNING),
        Index("ix_job_unfinished", "session_id", "seq", sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
    )


@dataclass(frozen=True)
class NewJob:
    """A queued turn as it is inserted and shown: to make a model of it costs fifty times as much."""

    id: UUID
    created_at: datetime
    owner_id: UUID
    session_id: UUID
    seq: int
    kind: MessageKind
    reply_audio: bool
    language_hint: str | None
    attempts_left: int
    reserved: Decimal | None

    status: ClassVar = JobStatus.QUEUED
    stage: ClassVar = None
    version: ClassVar = 1
    attempt: ClassVar = 0
    cancel_requested: ClassVar = False
    dispatch_no: ClassVar = 1
    started_at: ClassVar = None
    finished_at: ClassVar = None
    error: ClassVar = None


class StepStatus(StrEnum):
    """How the last attempt at a step ended; a step that runs has no row yet."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Step(Row, table=True):
    """One row per (job, name): `transcribe`, `reply`, `speak/1` … `speak/n`.

    `input_hash` says what the output was made from; a sentence is spoken again when it differs.
    """

    job_id: UUID = Field(foreign_key="job.id", ondelete="CASCADE")
    name: str = Field(max_length=30)
    status: StepStatus = Field(sa_type=stored(StepStatus))
    attempt: int
    started_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime = Field(
        default=None, nullable=False, sa_type=UtcDateTime, sa_column_kwargs={"default": db_now()}
    )
    duration_ms: int
    provider: str | None = Field(default=None, max_length=50)
    model: str | None = Field(default=None, max_length=200)
    input_hash: str | None = Field(default=None, max_length=64)
    error_code: str | None = Field(default=None, max_length=50)
    blob_id: UUID | None = Field(default=None, foreign_key="blob.id", ondelete="SET NULL", index=True)

    __table_args__ = (Index("uq_step_job_name", "job_id", "name", unique=True),)
