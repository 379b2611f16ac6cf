"""A worker process, seen by its heartbeats."""

from datetime import datetime

from sqlmodel import Field

from shared.models.row import Row
from shared.sql.functions import UtcDateTime, db_now


class Worker(Row, table=True):
    """Alive while `seen_at` is fresh."""

    host: str = Field(max_length=200)
    pid: int
    seen_at: datetime = Field(default=None, nullable=False, sa_type=UtcDateTime, sa_column_kwargs={"default": db_now()})
