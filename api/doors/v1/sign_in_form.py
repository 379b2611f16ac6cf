"""A name and its password as they come in: as JSON, or as the form of OAuth2's password grant."""

from codecs import BOM_UTF8
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from pydantic import BaseModel, SecretStr, ValidationError

from api.doors.v1.schemas.auth import Credentials, PasswordForm
from api.http.body_limit import is_form
from api.http.problems import refused
from shared.errors import Malformed, Unsupported

M = TypeVar("M", bound=BaseModel)

FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 20

_form = {FORM: {"schema": PasswordForm.model_json_schema()}}
_json = {"application/json": {"schema": Credentials.model_json_schema()}}
FORM_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": _form}}
EITHER_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": _json | _form}}
"""What FastAPI can't tell by itself: one route that takes both."""


async def get_form(request: Request) -> tuple[str, SecretStr]:
    """The name and the password in a form; raises Unsupported, Malformed, Invalid."""
    if not is_form(request.headers.get("content-type", "")):
        raise Unsupported(f"Send a form, with Content-Type: {FORM}.")
    try:
        fields = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        detail = "The form can't be read."
        raise Malformed(detail) from None
    try:
        form = PasswordForm.model_validate(fields)
    except ValidationError as error:
        raise refused(error) from None
    return form.username, form.password


async def get_either(request: Request) -> tuple[str, SecretStr]:
    """The name and the password in a form, or in JSON."""
    if is_form(request.headers.get("content-type", "")):
        return await get_form(request)
    try:
        body = Credentials.model_validate_json((await request.body()).removeprefix(BOM_UTF8))
    except ValidationError as error:
        raise refused(error) from None
    return body.username, body.password


FromForm = Annotated[tuple[str, SecretStr], Depends(get_form)]
FromEither = Annotated[tuple[str, SecretStr], Depends(get_either)]
