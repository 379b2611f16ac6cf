"""The body of a job."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from api.doors.v1.schemas.message import FINISH_REASON, PREFIX, AudioRead
from shared.models import JobStatus, MessageKind, StepStatus
from shared.services.job.view import MOST_STEPS, JobView, StepView

EXAMPLE: JsonDict = {
    "id": "01936b2e-0000-7000-8000-000000000003",
    "kind": "voice",
    "status": "running",
    "stage": "reply",
    "attempt": 1,
    "queue_position": 0,
    "session_id": "01936b2e-0000-7000-8000-000000000001",
    "message_id": "01936b2e-0000-7000-8000-000000000002",
    "step_count": 1,
    "steps": [
        {
            "name": "transcribe",
            "status": "succeeded",
            "attempt": 1,
            "duration_ms": 412,
            "model": "openai/gpt-transcribe",
        }
    ],
    "result": {
        "message_id": None,
        "text": None,
        "language": "en",
        "transcript": "When is breakfast?",
        "finish_reason": None,
        "reasoning": None,
        "audio": None,
    },
    "error": None,
    "created_at": "2026-11-20T09:00:00Z",
    "started_at": "2026-11-20T09:00:00.010Z",
    "finished_at": None,
    "links": {
        "self": "/api/v1/job/01936b2e-0000-7000-8000-000000000003",
        "events": "/api/v1/job/01936b2e-0000-7000-8000-000000000003/events",
        "audio": "/api/v1/job/01936b2e-0000-7000-8000-000000000003/audio",
        "cancel": "/api/v1/job/01936b2e-0000-7000-8000-000000000003/cancel",
    },
}


ADMIN_EXAMPLE: JsonDict = EXAMPLE | {
    "result": {
        "message_id": None,
        "text": None,
        "language": "en",
        "transcript": "When is breakfast?",
        "finish_reason": None,
        "reasoning": None,
    },
    "user_id": "01936b2e-0000-7000-8000-000000000004",
    "links": {
        "self": "/api/v1/admin/job/01936b2e-0000-7000-8000-000000000003",
        "cancel": "/api/v1/admin/job/01936b2e-0000-7000-8000-000000000003/cancel",
        "retry": "/api/v1/admin/job/01936b2e-0000-7000-8000-000000000003/retry",
    },
}


def _is_left_out(value: object) -> bool:
    return value is None


class StepRead(BaseModel):
    """A finished step; `duration_ms` in milliseconds, `model` as `provider/model`."""

    name: str
    status: StepStatus
    attempt: int
    duration_ms: int
    model: str | None

    @classmethod
    def of(cls, step: StepView) -> "StepRead":
        """The step as clients see it."""
        model = f"{step.provider}/{step.model}" if step.provider and step.model else step.provider
        return cls(name=step.name, status=step.status, attempt=step.attempt, duration_ms=step.duration_ms, model=model)


class JobWords(BaseModel):
    """What came out in words; while the job runs, what is known so far."""

    message_id: UUID | None = Field(description="The reply.")
    text: str | None
    language: str | None
    transcript: str | None = Field(description="What the voice note said; null for a text message.")
    finish_reason: str | None = Field(description=FINISH_REASON)
    reasoning: str | None = Field(
        description="What the model thought before it answered, if its agent has `show_reasoning`."
    )


class JobResult(JobWords):
    """What came out; while the job runs, what is known so far."""

    audio: AudioRead | None


class JobLinks(BaseModel):
    """Where to go from here."""

    self: str
    events: str
    audio: str
    cancel: str


class AdminJobLinks(BaseModel):
    """Where an administrator can go from here."""

    self: str
    cancel: str
    retry: str


class JobFacts(BaseModel):
    """What everybody sees of a job who may see it."""

    id: UUID
    kind: MessageKind
    status: JobStatus
    stage: str | None
    attempt: int
    queue_position: int
    session_id: UUID | None
    message_id: UUID | None
    step_count: int | None = Field(
        default=None, exclude_if=_is_left_out, description="All finished steps. Left out of lists, like `steps`."
    )
    steps: list[StepRead] | None = Field(
        default=None,
        exclude_if=_is_left_out,
        description=f"The first {MOST_STEPS} finished steps. Left out of lists unless `include=steps`.",
    )
    result: JobWords | None
    error: dict[str, Any] | None = Field(description="A problem, when the job failed.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobRead(JobFacts):
    """A job. `queue_position` counts the unfinished jobs ahead of it in its session."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    result: JobResult | None
    links: JobLinks

    @classmethod
    def of(cls, view: JobView) -> "JobRead":
        """The job as clients see it."""
        here, words = f"{PREFIX}/job/{view.job.id}", _words(view)
        return cls(
            **_facts(view),
            result=None if words is None else JobResult(**words, audio=AudioRead.of(view.audio, f"{here}/audio")),
            links=JobLinks(self=here, events=f"{here}/events", audio=f"{here}/audio", cancel=f"{here}/cancel"),
        )


class AdminJobRead(JobFacts):
    """A job, and whose it is. Its sound and its events are its owner's alone."""

    model_config = ConfigDict(json_schema_extra={"examples": [ADMIN_EXAMPLE]})

    user_id: UUID
    links: AdminJobLinks

    @classmethod
    def of(cls, view: JobView) -> "AdminJobRead":
        """The job as administrators see it."""
        here, words = f"{PREFIX}/admin/job/{view.job.id}", _words(view)
        return cls(
            **_facts(view),
            result=None if words is None else JobWords(**words),
            user_id=view.job.owner_id,
            links=AdminJobLinks(self=here, cancel=f"{here}/cancel", retry=f"{here}/retry"),
        )


def _facts(view: JobView) -> dict[str, Any]:
    job = view.job
    return {
        "id": job.id,
        "kind": job.kind,
        "status": view.status,
        "stage": job.stage,
        "attempt": job.attempt,
        "queue_position": view.queue_position,
        "session_id": job.session_id,
        "message_id": view.message.id if view.message else None,
        "step_count": view.step_count,
        "steps": None if view.steps is None else [StepRead.of(step) for step in view.steps],
        "error": job.error,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }


def _words(view: JobView) -> dict[str, Any] | None:
    reply = view.reply
    if reply is None and view.transcript is None:
        return None
    return {
        "message_id": reply.id if reply else None,
        "text": reply.text if reply else None,
        "language": view.language,
        "transcript": view.transcript,
        "finish_reason": reply.finish_reason if reply else None,
        "reasoning": reply.reasoning if reply else None,
    }
