"""Bodies of signing up and in."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.config import JsonDict

from shared.models import Username
from shared.passwords import GivenPassword, Password

CREDENTIALS: JsonDict = {"username": "ann", "password": "correct horse battery"}


class NewUser(BaseModel):
    """Who wants an account. Names are kept in lower case."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [CREDENTIALS]})

    username: Username
    password: Password


class Credentials(BaseModel):
    """A name and its password."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [CREDENTIALS]})

    username: Username
    password: GivenPassword


class PasswordForm(BaseModel):
    """OAuth2's password grant, as Swagger's Authorize button sends it; what else it says is not looked at."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"grant_type": "password", **CREDENTIALS}], "additionalProperties": True}
    )

    username: Username = Field(examples=[CREDENTIALS["username"]])  # Swagger fills a form in field by field
    password: GivenPassword = Field(examples=[CREDENTIALS["password"]])
    grant_type: Literal["password"] = "password"


class PasswordChange(BaseModel):
    """The password and the next one."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"current_password": "correct horse battery", "new_password": "battery horse correct"}]
        },
    )

    current_password: GivenPassword
    new_password: Password


class RefreshRequest(BaseModel):
    """The refresh token that came last."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"refresh_token": "eyJhbGciOi…"}]})

    refresh_token: SecretStr = Field(min_length=1, max_length=2_000)


class TokenPair(BaseModel):
    """Tokens of one login. `expires_in` is the access token's, in seconds; each refresh token is good once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "access_token": "eyJhbGciOi…",
                    "refresh_token": "eyJhbGciOi…",
                    "token_type": "bearer",
                    "expires_in": 3600,
                }
            ]
        }
    )

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - a kind of token
    expires_in: int


class Token(BaseModel):
    """An access token."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"token": "eyJhbGciOi…"}]})

    token: str
