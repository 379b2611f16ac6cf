"""Random requests built from the schema: no answer is a 5xx, and none is one that the schema does not promise.

`PARLEY_FUZZ_REQUESTS` says how many, in all; `PARLEY_FUZZ_SEED` which. `make fuzz` asks for ten thousand.
"""

import json
import os
import random
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis import Case, CheckFunction, GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from api.main import create_app
from shared.config import Settings
from shared.services.page import encode_cursor
from tests.api.fuzz_target import Target, running_target
from tests.conftest import SAMPLES, STACKS

DEFAULT_REQUESTS = 600
REQUESTS = int(os.environ.get("PARLEY_FUZZ_REQUESTS", DEFAULT_REQUESTS))
SEED = int(os.environ.get("PARLEY_FUZZ_SEED") or (1 if REQUESTS <= DEFAULT_REQUESTS else random.randrange(10**9)))
PATIENCE_S = 30.0  # for one answer; the longest wait that is asked for takes a second
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
]
SCHEMA = schemathesis.openapi.from_dict(create_app(Settings(_env_file=None)).openapi())
SCHEMA.config.generation.update(with_security_parameters=False)  # Parley runs with AUTH=off
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)}
WITH_BODY = {label: operation for label, operation in OPERATIONS.items() if operation.body}
Operation = APIOperation[Any, Any, Any, Any]
WEIGHTS = {label: 2 if operation.body or operation.query else 1 for label, operation in OPERATIONS.items()}
WEIGHTS_OF_ALL = sum(WEIGHTS.values()) + len(WITH_BODY)

CURSORS = [
    encode_cursor("2026-01-01T00:00:00+00:00", "01936b2e-0000-7000-8000-000000000000"),
    encode_cursor("0001-01-01T00:00:00+14:00", "01936b2e-0000-7000-8000-000000000000"),
    encode_cursor("9999-12-31T23:59:59-14:00", "01936b2e-0000-7000-8000-000000000000"),
    encode_cursor("2026-01-01T00:00:00", "01936b2e-0000-7000-8000-000000000000"),
    *(encode_cursor(number) for number in (0, -1, 2**31, 2**63, 10**30, "9" * 5_000, "NaN", "٣", "")),
    *("", "|", "=", "====", "a", "ÿ", "\x00", "x" * 200, "x" * 201),
]
HEADERS = {
    "Range": ["bytes=0-0", "bytes=-1", "bytes=5-", "bytes=0-1,4-5", "bytes=9-0", "bytes=-0", "items=0-1", "bytes=",
              "bytes=" + "9" * 30 + "-", "bytes=0-" + "9" * 5_000, "bytes=\xb2-\xb3"],
    "If-Range": ['"x"', "Fri, 20 Nov 2026 09:00:00 GMT"],
    "If-None-Match": ["*", '"x"', "W/", ",", '"'],
    "Prefer": ["wait=0", "wait=1", 'wait="1"', "respond-async, WAIT = 1", "wait", "wait=-1", "wait=\xb2", "wait=1,wait=0"],
    "Idempotency-Key": ["key", "", "k" * 5_000, "\xff"],
    "X-Request-ID": ["", "a b", "\xe9\xff", "r" * 5_000],
    "Last-Event-ID": ["1-1", "0", "99999999999999999999-1", "\xff"],
    "Accept": ["audio/mpeg", "text/html", "audio/", "q=,;", "application/json"],
    "Content-Type": ["application/json; charset=latin-1", "application/problem+json", "text/plain", "/", "multipart/",
                     "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\xff",
                     "multipart/form-data; boundary=" + "b" * 500, "application/x-www-form-urlencoded"],
    "Authorization": ["Bearer x", "Basic eDp5", "Bearer"],
}  # fmt: skip
TOKENS = [b"\\ud800", b"\\u0000", b"\0", b"\xff", b"\xef\xbb\xbf", b"NaN", b"1e999", b"9" * 5_000, b"[" * 5_000, b'"', b'"name":1,',
          b"\r\n", b"\r\n\r\n", b"--", b"; name=", b"; filename*=utf-8''%ff", b"Content-Type: \xff\r\n"]  # fmt: skip
SOUND: dict[str, dict[str, Any]] = {
    "agent": {"name": "breakfast", "prompt": "breakfast", "language": "en"},
    "session": {"agent_id": "", "name": "breakfast", "summary": "breakfast"},
    "message": {"session_id": "", "text": "breakfast", "reply_audio": False},
    "register": {"username": "breakfast", "password": "breakfast"},
    "login": {"username": "breakfast", "password": "breakfast"},
    "token": {"username": "breakfast", "password": "breakfast", "grant_type": "password"},
    "refresh": {"refresh_token": "breakfast"},
    "password": {"current_password": "breakfast", "new_password": "breakfast"},
    "key": {"name": "breakfast", "scopes": ["read"], "expires_at": None},
    "user": {"username": "breakfast", "password": "breakfast", "balance": "1.5", "role": "user"},
    "{user_id}": {
        "password": "breakfast",
        "disabled": False,
        "balance": "1.5",
        "allowed_models": ["openai/breakfast"],
        "tokens_per_day": 9,
    },
}
KEYS = "/auth/key"  # whose routes take nobody without a login
MARK = re.compile(b"breakfast|form-data|name=")
MOSTLY = st.sampled_from([True, True, True, False])
LATIN_1 = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30).map(str.strip)
NOTES = sorted(path for path in SAMPLES.iterdir() if path.suffix != ".json" and path.stat().st_size < 50_000)


@pytest.fixture(scope="module", params=STACKS)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One Parley for all of it, on SQLite with the in-process queue and on PostgreSQL with Redis."""
    print(f"PARLEY_FUZZ_REQUESTS={REQUESTS} PARLEY_FUZZ_SEED={SEED}")  # noqa: T201 - to do it again
    urls = {}
    if request.param == "servers":
        urls["DATABASE_URL"] = f"{request.getfixturevalue('postgres')}/postgres"
        urls["REDIS_URL"] = request.getfixturevalue("redis")
    with running_target(tmp_path_factory.mktemp("fuzz"), **urls) as running:
        yield running
    print(f"{running.asked} requests")  # noqa: T201


def cases(operation: Operation) -> st.SearchStrategy[Case[Any]]:
    """Requests that the schema allows, and requests that it does not."""
    return st.one_of([operation.as_strategy(generation_mode=mode) for mode in GenerationMode])


def aim(case: Case[Any], target: Target, data: st.DataObject) -> None:
    """Put what exists into the request, most of the time, and headers that nobody expects."""
    parts = case.meta.components if case.meta else {}
    sound_path = ParameterLocation.PATH in parts and parts[ParameterLocation.PATH].mode.is_positive
    for name in case.path_parameters if sound_path else ():
        if name in target.ids and data.draw(MOSTLY):
            new = case.method == "DELETE" or (name == "job_id" and data.draw(st.booleans()))
            case.path_parameters[name] = target.fresh(name) if new else data.draw(st.sampled_from(target.ids[name]))
    body: Any = case.body
    for part in (case.query, body):
        for name in target.ids.keys() & part.keys() if isinstance(part, dict) else ():
            if data.draw(MOSTLY):
                part[name] = data.draw(st.sampled_from(target.ids[name]))
    if "cursor" in case.query and data.draw(st.booleans()):
        case.query["cursor"] = data.draw(st.sampled_from(target.cursors + CURSORS))
    if isinstance(body, dict) and "file" in body and data.draw(MOSTLY):
        body["file"] = data.draw(st.sampled_from(NOTES)).read_bytes()
    if KEYS in case.path and data.draw(MOSTLY):
        case.headers.update(target.login)
    for name in data.draw(st.lists(st.sampled_from(sorted(HEADERS)), max_size=3, unique=True)):
        known = HEADERS[name] + (target.etags if name.startswith("If-") else [])
        case.headers[name] = data.draw(st.sampled_from(known) | LATIN_1)
    _ = case.meta  # it looks again whether the request is one that the schema allows


def broken(body: bytes) -> st.SearchStrategy[bytes]:
    """A body with an end or a piece missing, or with something in it that does not belong there."""
    words = [found.start() for found in re.finditer(MARK, body)]
    places = st.integers(0, len(body)) | st.sampled_from(words)
    return st.one_of(
        places.map(lambda end: body[:end]),
        st.tuples(places, places).map(lambda cut: body[: cut[0]] + body[cut[1] :]),
        st.tuples(places, st.sampled_from(TOKENS) | st.binary(max_size=9)).map(
            lambda found: body[: found[0]] + found[1] + body[found[0] :]
        ),
    )


def sound_body(operation: Operation, target: Target, data: st.DataObject) -> tuple[bytes, str]:
    """A body that would be accepted, and its type."""
    ids = {name: data.draw(st.sampled_from(known)) for name, known in target.ids.items()}
    if operation.label.endswith("/voice"):
        note = data.draw(st.sampled_from(NOTES)).read_bytes()[:2_000]
        form = httpx.Request("POST", "http://x", data={"session_id": ids["session_id"]}, files={"file": note})
        return form.read(), form.headers["content-type"]
    if operation.label.endswith("/token"):
        return urlencode(SOUND["token"]).encode(), "application/x-www-form-urlencoded"
    noun = next(part for part in reversed(operation.path.split("/")) if part in SOUND)
    return json.dumps({name: ids.get(name, value) for name, value in SOUND[noun].items()}).encode(), "application/json"


def unjudged(case: Case[Any]) -> list[CheckFunction]:
    """What a schema can't say: whether bytes are sound, and that a name is measured without the space around it."""
    body: dict[str, Any] = case.body if isinstance(case.body, dict) else {}
    names = [str(body.get(name)) for name in ("name", "voice")]
    is_form = case.media_type == "multipart/form-data"
    return [negative_data_rejection] if is_form or any(name != name.strip() for name in names) else []


def verdict(case: Case[Any], target: Target, ask: Callable[[], Any]) -> dict[str, str]:
    """What is wrong with the answer, by kind."""
    target.asked += 1
    try:
        answer = ask()
    except requests.exceptions.InvalidHeader:
        return {}  # the client refuses to send it
    except (requests.exceptions.RequestException, httpx.HTTPError) as error:
        return {type(error).__name__: f"{case.as_curl_command()}\n{error}"}
    try:
        case.validate_response(answer, checks=CHECKS, excluded_checks=unjudged(case))
    except FailureGroup as group:
        return {f"{answer.status_code} {type(failure).__name__}": str(group) for failure in group.exceptions}
    return {}


def fuzz(share: int, ask: Callable[[st.DataObject], dict[str, str]]) -> None:
    """Ask many times, then say everything that was wrong: a living server can't be shrunk against."""
    wrong: dict[str, str] = {}

    @seed(SEED)
    @hypothesis_settings(
        max_examples=max(share // len(STACKS), 1),
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def many(data: st.DataObject) -> None:
        for kind, story in ask(data).items():
            wrong.setdefault(kind, story)

    many()
    assert not wrong, "\n\n".join([f"PARLEY_FUZZ_SEED={SEED}", *wrong.values()])


@pytest.mark.parametrize("label", OPERATIONS)
def test_every_answer_is_promised(label: str, target: Target) -> None:
    with requests.Session() as browser:

        def ask(data: st.DataObject) -> dict[str, str]:
            case = data.draw(cases(OPERATIONS[label]))
            aim(case, target, data)
            return verdict(case, target, lambda: case.call(base_url=target.url, session=browser, timeout=PATIENCE_S))

        fuzz(REQUESTS * WEIGHTS[label] // WEIGHTS_OF_ALL, ask)


@pytest.mark.parametrize("label", WITH_BODY)
def test_broken_bodies_are_answered(label: str, target: Target) -> None:
    operation = WITH_BODY[label]

    def ask(data: st.DataObject) -> dict[str, str]:
        case = operation.Case(path_parameters={name: known[0] for name, known in target.ids.items()})
        body, kind = sound_body(operation, target, data)
        body, headers = data.draw(broken(body)), {"content-type": kind} | (target.login if KEYS in label else {})
        url = case.formatted_path
        found = verdict(case, target, lambda: target.http.request(case.method, url, content=body, headers=headers))
        return {kind: f"{story}\n{headers}\n{body!r}" for kind, story in found.items()}

    fuzz(REQUESTS // WEIGHTS_OF_ALL, ask)


def test_it_is_well_after_all_that(target: Target) -> None:
    assert target.unfinished(seconds=60) == 0
    ready = target.http.get("/health/ready").json()
    assert (ready["status"], ready["reasons"]) == ("ready", [])
    log = target.log.read_text()
    assert "request.failed" not in log
    assert "Traceback" not in log
