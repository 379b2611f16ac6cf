"""What a step used. It outlives its job, session and agent: it is what money is counted from."""

from decimal import Decimal
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field

from shared.models.row import Row
from shared.money import ZERO, Money


class Usage(Row, table=True):
    """One row per (job, step): tokens, seconds of audio, characters, and their price in dollars.

    No foreign keys but the owner's. The step `waived` takes back what a job cost beyond what was reserved for it.
    """

    owner_id: UUID = Field(foreign_key="user.id", ondelete="CASCADE")
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
    cost: Decimal = Field(default=ZERO, sa_type=Money)

    __table_args__ = (
        Index("uq_usage_job_step", "job_id", "step", unique=True),
        Index("ix_usage_owner", "owner_id", "created_at"),
    )
