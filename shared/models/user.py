"""Who asks."""

from uuid import UUID

from sqlmodel import Field

from shared.models.row import Row

LOCAL_USER_ID = UUID("00000000-0000-7000-8000-000000000001")
"""The built-in user who owns everything while `AUTH=off`; the first migration makes the row."""


class User(Row, table=True):
    """An account."""

    username: str = Field(max_length=100, unique=True)
