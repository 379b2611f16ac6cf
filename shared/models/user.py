"""Who asks."""

from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import JSON
from sqlmodel import Field

from shared.models.row import Row, stored
from shared.money import ZERO, Money

LOCAL_USER_ID = UUID("00000000-0000-7000-8000-000000000001")
"""The built-in user who owns everything while `AUTH=off`; the first migration makes the row."""


class UserRole(StrEnum):
    """What a user may do: `admin` looks after everybody's accounts and jobs."""

    USER = "user"
    ADMIN = "admin"


class User(Row, table=True):
    """An account. `balance` in dollars, null for no limit; `reserved` is the part of it that jobs under way hold back.

    `allowed_models` are names as in the catalogue, null for all. A limit that is null is the setting's.
    """

    username: str = Field(max_length=100, unique=True)
    password_hash: str | None = Field(default=None, max_length=200)
    role: UserRole = Field(default=UserRole.USER, sa_type=stored(UserRole))
    disabled: bool = False
    balance: Decimal | None = Field(default=None, sa_type=Money)
    reserved: Decimal = Field(default=ZERO, sa_type=Money)
    allowed_models: list[str] | None = Field(default=None, sa_type=JSON(none_as_null=True))
    requests_per_minute: int | None = None
    jobs_at_a_time: int | None = None
    audio_minutes_per_day: int | None = None
    tokens_per_day: int | None = None
