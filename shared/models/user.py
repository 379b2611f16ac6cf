"""Who asks."""

import unicodedata
from decimal import Decimal
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, StringConstraints
from sqlalchemy import JSON
from sqlmodel import Field

from shared.models.row import Row, stored
from shared.money import ZERO, Money

LOCAL_USER_ID = UUID("00000000-0000-7000-8000-000000000001")
"""The built-in user who owns everything while `AUTH=off`; the first migration makes the row."""


MAX_USERNAME = 100


def _folded(username: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).casefold()).strip()
    if not folded or not folded.isprintable():
        msg = "must hold letters that can be seen, and nothing that can't"
        raise ValueError(msg)
    if len(folded) > MAX_USERNAME:
        msg = f"must have at most {MAX_USERNAME} characters"
        raise ValueError(msg)
    return folded


Username = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_USERNAME),
    AfterValidator(_folded),
]
"""A user's name as it is kept: `Ann`, `ANN` and `ann` in full-width letters are one."""


class UserRole(StrEnum):
    """What a user may do: `admin` looks after everybody's accounts and jobs."""

    USER = "user"
    ADMIN = "admin"


class User(Row, table=True):
    """An account. `balance` in dollars, null for no limit; `reserved` is the part of it that jobs under way hold back.

    `allowed_models` are names as in the catalogue, null for all. A limit that is null is the setting's.
    """

    username: str = Field(max_length=MAX_USERNAME, unique=True)
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
