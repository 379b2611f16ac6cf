"""What a step used. It outlives its job, session and agent: it is what money is counted from."""

from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field

from shared.models.row import Row


class Usage(Row, table=True):
    """One row per (job, step): tokens, seconds of audio, characters. No foreign keys but the owner's."""

    owner_id: UUID = Field(foreign_key="user.id", ondelete="CASCADE", index=True)
    agent_id: UUID | None = None
    session_id: UUID | None = None
    job_id: UUID
    step: str = Field(max_length=30)
    provider: str = Field(max_length=50)
    model: str = Field(max_length=200)
    input_tokens: int | None = None
    output_tokens: int | None = None
    audio_s: float | None = None
    characters: int | None = None

    __table_args__ = (Index("uq_usage_job_step", "job_id", "step", unique=True),)
