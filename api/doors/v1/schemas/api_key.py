"""Bodies of API keys."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from api.doors.v1.schemas.strict import Moment
from shared.models import Scope
from shared.models.row import Name

EXAMPLE: JsonDict = {
    "id": "01936b2e-0000-7000-8000-000000000005",
    "name": "Front desk",
    "prefix": "parley_3fGh8kLm",
    "scopes": ["read", "write"],
    "expires_at": None,
    "revoked_at": None,
    "created_at": "2026-11-20T09:00:00Z",
}


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        msg = "must be a moment that UTC has"  # at either end of the calendar it may not
        raise ValueError(msg) from None


class KeyWrite(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "Front desk", "scopes": ["read"]}]}
    )

    name: Annotated[Name, Field(max_length=100)]
    scopes: list[Scope] = Field(default=[Scope.READ, Scope.WRITE], min_length=1, max_length=10)
    expires_at: Annotated[Moment, AfterValidator(_in_utc)] | None = None


class KeyRead(BaseModel):
    """A key without its secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]}, from_attributes=True)

    id: UUID
    name: str
    prefix: str
    scopes: list[Scope]
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime


class KeyMade(KeyRead):
    """A new key. `key` is shown this once."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [EXAMPLE | {"key": "parley_3fGh8kLm_vlVv4nX0…"}]}, from_attributes=True
    )

    key: str
