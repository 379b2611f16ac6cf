"""Bodies of users."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from api.doors.v1.schemas.auth import CREDENTIALS, NewUser
from api.doors.v1.schemas.patch import not_null
from api.doors.v1.schemas.strict import YesOrNo
from shared.models import UserRole
from shared.models.agent import ModelName
from shared.money import Amount, Dollars
from shared.passwords import Password
from shared.provider_presets import ModelRef

MOST = 1_000_000_000  # of anything that has a limit: it fits into both databases

EXAMPLE: JsonDict = {
    "id": "01936b2e-0000-7000-8000-000000000004",
    "username": "ann",
    "role": "user",
    "disabled": False,
    "balance": "12.5",
    "reserved": "0.0042",
    "allowed_models": None,
    "requests_per_minute": None,
    "jobs_at_a_time": None,
    "audio_minutes_per_day": None,
    "tokens_per_day": None,
    "created_at": "2026-11-20T09:00:00Z",
    "updated_at": "2026-11-20T09:00:00Z",
}

Limit = Annotated[int, Field(ge=1, le=MOST, strict=True)]
ModelRefText = Annotated[
    ModelName, AfterValidator(lambda name: str(ModelRef.parse(name)))
]  # as the catalogue spells it


class UserRead(BaseModel):
    """An account. `balance` in dollars, null for no limit; `reserved` is what jobs under way hold back of it.

    `allowed_models` null: all. A limit that is null is the server's own.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]}, from_attributes=True)

    id: UUID
    username: str
    role: UserRole
    disabled: bool
    balance: Dollars | None
    reserved: Dollars
    allowed_models: list[str] | None
    requests_per_minute: int | None
    jobs_at_a_time: int | None
    audio_minutes_per_day: int | None
    tokens_per_day: int | None
    created_at: datetime
    updated_at: datetime


class UserWrite(NewUser):
    """An account to be made by an administrator."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [CREDENTIALS | {"balance": "20"}]})

    balance: Amount | None = Field(
        default=None, description="In dollars; null: no limit. Left out: what who registers gets."
    )
    role: UserRole = UserRole.USER


class UserPatch(BaseModel):
    """The fields to change."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"balance": "20", "requests_per_minute": 60}]}
    )

    password: Annotated[Password | None, AfterValidator(not_null)] = None
    disabled: Annotated[YesOrNo | None, AfterValidator(not_null)] = None
    jobs: Literal["cancel", "finish"] = Field(
        default="cancel", description="With `disabled` true: what becomes of the user's unfinished jobs."
    )
    role: Annotated[UserRole | None, AfterValidator(not_null)] = None
    balance: Amount | None = Field(default=None, description="In dollars; null: no limit.")
    allowed_models: list[ModelRefText] | None = Field(
        default=None, max_length=1_000, description="Each as `provider/model`; null: all."
    )
    requests_per_minute: Limit | None = Field(default=None, description="Null: the server's own.")
    jobs_at_a_time: Limit | None = Field(default=None, description="Null: the server's own.")
    audio_minutes_per_day: Limit | None = Field(default=None, description="Null: the server's own.")
    tokens_per_day: Limit | None = Field(default=None, description="Null: the server's own.")

    @model_validator(mode="after")
    def _jobs_of_the_disabled(self) -> Self:
        if "jobs" in self.model_fields_set and not self.disabled:
            msg = "jobs goes with disabled: true"
            raise ValueError(msg)
        return self
