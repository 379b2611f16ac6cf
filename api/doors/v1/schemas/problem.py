"""The one shape of every error."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from api.doors.v1.schemas.headers import ALLOW, CHALLENGE, MAY_CHALLENGE, RETRY_AFTER, SIZE, Headers


class FieldError(BaseModel):
    """One bad field."""

    field: str
    message: str


class Problem(BaseModel):
    """An RFC 9457 problem; `code` is stable, `detail` is for people."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not found",
                    "status": 404,
                    "detail": "There is no such session.",
                    "instance": "/api/v1/session/01936b2e-0000-7000-8000-000000000000",
                    "code": "not_found",
                    "request_id": "0c5a1e4f9b1d4c0f8f5f0b8f3f2a9a11",
                }
            ]
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str | None = None
    errors: list[FieldError] | None = None


def _described(description: str, headers: Headers | None = None) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    described = {"description": description, "content": {"application/problem+json": {"schema": schema}}}
    return described | ({"headers": headers} if headers else {})


Responses = dict[int | str, dict[str, Any]]

PROBLEMS: Responses = {
    400: _described("The request can't be read."),
    401: _described("Not signed in.", CHALLENGE),
    404: _described("Not there, or not yours."),
    405: _described("Not with this method.", ALLOW),
    413: _described("The body is over its limit."),
    415: _described("Not the kind of body that this takes: JSON, or the form that the route names."),
    422: _described("A field is wrong; `errors` names it."),
    429: _described("A limit of yours is used up; `detail` names it.", RETRY_AFTER),
    503: _described("A store is away or too busy, or too much is waiting; see Retry-After.", RETRY_AFTER),
    507: _described("There is no room left to store it.", RETRY_AFTER),
}
"""What any route may answer."""

PROBLEM_403: Responses = {403: _described("You may not, whatever it is about; see `code`.", MAY_CHALLENGE)}
PROBLEM_409: Responses = {409: _described("Not in this state.", RETRY_AFTER)}
PROBLEM_429: Responses = {429: _described("Too often; see Retry-After.", RETRY_AFTER)}
PROBLEM_416: Responses = {416: _described("The range lies outside the file.", SIZE)}
