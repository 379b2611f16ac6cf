"""The routes of the schema: what each of them is, and how it is asked. One that is not named here fails the tests."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from api.main import create_app
from shared.config import Settings
from tests.live import API

SCHEMA: dict[str, Any] = create_app(Settings(_env_file=None)).openapi()

OPEN = {
    "GET /health",
    "GET /health/live",
    "GET /health/ready",
    "POST /login",
    *(f"POST {API}/auth/{path}" for path in ("register", "login", "token", "refresh")),
}
"""Whoever asks, and whatever they show."""

OWN = {
    f"GET {API}/auth/me",
    f"POST {API}/auth/logout",
    f"POST {API}/auth/password",
    *(f"{method} {API}/{noun}" for method in ("GET", "POST") for noun in ("agent", "session", "auth/key")),
    *(f"GET {API}/{noun}" for noun in ("job", "model", "usage")),
    f"POST {API}/message/text",
    f"POST {API}/message/voice",
}
"""About whoever asks."""

THINGS = {
    *(
        f"{method} {API}/{noun}/{{{noun}_id}}"
        for method in ("GET", "PUT", "PATCH", "DELETE")
        for noun in ("agent", "session")
    ),
    f"DELETE {API}/auth/key/{{key_id}}",
    f"GET {API}/message/conversation/{{session_id}}",
    f"GET {API}/message/conversion/{{session_id}}",
    f"GET {API}/message/{{message_id}}",
    f"GET {API}/message/{{message_id}}/audio",
    f"GET {API}/job/{{job_id}}",
    f"POST {API}/job/{{job_id}}/cancel",
    f"POST {API}/job/{{job_id}}/retry",
    f"GET {API}/job/{{job_id}}/audio",
    f"GET {API}/job/{{job_id}}/events",
}
"""About a thing that is somebody's."""

LOGIN = {
    f"POST {API}/auth/logout",
    f"POST {API}/auth/password",
    f"POST {API}/auth/key",
    f"DELETE {API}/auth/key/{{key_id}}",
}
"""Not for keys: one that has leaked must not change how its owner gets in, nor outlive its end."""

ADMIN = {
    f"GET {API}/admin/user",
    f"POST {API}/admin/user",
    f"GET {API}/admin/user/{{user_id}}",
    f"PATCH {API}/admin/user/{{user_id}}",
    f"GET {API}/admin/job",
    f"GET {API}/admin/job/{{job_id}}",
    f"POST {API}/admin/job/{{job_id}}/cancel",
    f"POST {API}/admin/job/{{job_id}}/retry",
}
"""For administrators."""

BODIES: dict[str, dict[str, Any]] = {
    f"POST {API}/agent": {"name": "x"},
    f"PUT {API}/agent/{{agent_id}}": {"name": "x"},
    f"PATCH {API}/agent/{{agent_id}}": {"name": "x"},
    f"POST {API}/session": {"agent_id": "{agent_id}"},
    f"PUT {API}/session/{{session_id}}": {"agent_id": "{agent_id}"},
    f"PATCH {API}/session/{{session_id}}": {"agent_id": "{agent_id}"},
    f"POST {API}/message/text": {"session_id": "{session_id}", "text": "Hello"},
    f"POST {API}/message/voice": {"session_id": "{session_id}"},
    f"POST {API}/auth/key": {"name": "x"},
    f"POST {API}/auth/password": {"current_password": "not this one", "new_password": "nor that one"},
    f"POST {API}/admin/user": {"username": "x", "password": "correct horse", "role": "admin"},
    f"PATCH {API}/admin/user/{{user_id}}": {"disabled": True, "password": "correct horse"},
}
"""What is sent; `{agent_id}` stands for an id."""

HEADERS = {
    "range": ("bytes=0-9", "bytes=-5", "bytes=999999999-"),
    "if-range": ("{etag}",),
    "if-none-match": ("*", "{etag}", "{sound_etag}"),
    "prefer": ("wait=1",),
    "last-event-id": ("1-1", "0-0"),
    "idempotency-key": ("{key}",),
}
QUERY = {
    "cursor": ("{cursor}",),
    "limit": ("1", "100"),
    "order": ("newest", "oldest"),
    "stream": ("1", "0"),
    "status": ("succeeded",),
    "include": ("steps",),
    "by": ("day", "model", "agent", "session"),
    "from": ("2000-01-01",),
    "to": ("2100-01-01",),
    "agent_id": ("{agent_id}",),
    "session_id": ("{session_id}",),
    "user_id": ("{user_id}",),
    "username": ("{username}",),
}


@dataclass(frozen=True)
class Route:
    """A route, and the parameters that the schema gives it beside its path's."""

    method: str
    path: str
    parameters: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    def url(self, ids: dict[str, str]) -> str:
        """Its path with these ids; one that is not known fails."""
        return self.path.format(**ids)

    def body(self, ids: dict[str, str]) -> dict[str, Any] | None:
        """What is sent to it, with these ids in it."""
        return {name: filled(value, ids) for name, value in BODIES[self.name].items()} if self.name in BODIES else None

    def variants(self) -> Iterator[dict[str, dict[str, str]]]:
        """Arguments of a request: none, and each parameter with each of its values; one that is not known fails."""
        yield {}
        for name, where in self.parameters:
            values = (HEADERS if where == "header" else QUERY)[name.lower()]
            yield from ({"headers" if where == "header" else "params": {name: value}} for value in values)


def filled(value: Any, known: dict[str, str]) -> Any:
    """The value with what is known for the words in braces."""
    return re.sub(r"\{(\w+)\}", lambda word: known[word[1]], value) if isinstance(value, str) else value


def routes(names: set[str] | None = None) -> list[Route]:
    """The routes of these names; or all of the schema."""
    return [
        Route(
            method.upper(),
            path,
            tuple((p["name"], p["in"]) for p in operation.get("parameters", []) if p["in"] != "path"),
        )
        for path, operations in SCHEMA["paths"].items()
        for method, operation in operations.items()
        if names is None or f"{method.upper()} {path}" in names
    ]
