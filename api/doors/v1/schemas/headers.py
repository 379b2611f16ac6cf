"""The headers that answers carry, as the schema shows them."""

from typing import Any

Headers = dict[str, dict[str, Any]]


def _header(description: str, example: str, *, always: bool = True) -> dict[str, Any]:
    return {"description": description, "required": always, "schema": {"type": "string"}, "example": example}


_ETAG = _header("This version of it, for If-None-Match.", '"4-0"')

_REPLAYED = {
    "Idempotent-Replayed": _header("Only when its Idempotency-Key had created it before.", "true", always=False)
}

CREATED: Headers = {
    "Location": _header("Where it is from now on.", "/api/v1/session/01936b2e-0000-7000-8000-000000000000"),
    **_REPLAYED,
}
JOB: Headers = {
    "ETag": _ETAG,
    "Retry-After": _header("Seconds until the next poll, while the job has not ended.", "1", always=False),
    "Preference-Applied": _header("The wait that was granted.", "wait=30", always=False),
}
ACCEPTED: Headers = {
    **JOB,
    "Location": _header("The job.", "/api/v1/job/01936b2e-0000-7000-8000-000000000003"),
    **_REPLAYED,
}
MADE: Headers = {
    "ETag": _ETAG | {"required": False},
    "Accept-Ranges": _header("Ranges are served, but not of sound that is still being made.", "bytes"),
}
SOUND: Headers = {"ETag": _ETAG, "Accept-Ranges": _header("Ranges are served.", "bytes")}
PART: Headers = SOUND | {"Content-Range": _header("Which bytes these are.", "bytes 0-1023/20413")}
ALLOW: Headers = {"Allow": _header("The methods there are.", "GET, POST")}
CHALLENGE: Headers = {"WWW-Authenticate": _header("How to sign in.", "Bearer")}
MAY_CHALLENGE: Headers = {
    "WWW-Authenticate": _header(
        "Only when the credential lacks a scope.", 'Bearer error="insufficient_scope"', always=False
    )
}
RETRY_AFTER: Headers = {"Retry-After": _header("Seconds until it may work.", "2", always=False)}
SIZE: Headers = {"Content-Range": _header("How many bytes there are.", "bytes */20413")}
