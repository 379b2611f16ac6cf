"""The schema says everything, and its pages need no other host."""

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis

from api.auth.public import is_public
from api.main import create_app
from shared.config import Settings
from tests.live import API, Live

SCHEMA: dict[str, Any] = create_app(Settings(_env_file=None)).openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in SCHEMA["paths"].items()
    for method, operation in methods.items()
}
PROBLEM = {"schema": {"$ref": "#/components/schemas/Problem"}}
ERRORS = {str(status) for status in (*range(400, 600), "4XX", "5XX", "default")}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return dict(SCHEMA["components"]["schemas"][name]) if name else schema


def bodies() -> Iterator[tuple[str, dict[str, Any]]]:
    for label, operation in OPERATIONS.items():
        for content in operation.get("requestBody", {}).get("content", {}).values():
            yield label, content


def test_the_schema_is_an_openapi_schema() -> None:
    schema = copy.deepcopy(SCHEMA)
    for flow in schema["components"]["securitySchemes"]["password"]["flows"].values():
        flow["tokenUrl"] = (
            f"https://parley.example.com{flow['tokenUrl']}"  # OpenAPI lets it be relative, its schema not
        )
    schemathesis.openapi.from_dict(schema).validate()


def test_every_operation_has_a_summary_and_a_description() -> None:
    for label, operation in OPERATIONS.items():
        assert operation["summary"], label
        assert operation["description"], label


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)


def test_every_request_body_has_an_example_of_itself() -> None:
    assert len(list(bodies())) >= 6
    for label, content in bodies():
        schema = resolved(content["schema"])
        examples = schema["examples"]
        assert examples, label
        for example in examples:
            assert set(example) <= set(schema["properties"]), label


def test_every_error_is_a_problem() -> None:
    for label, operation in OPERATIONS.items():
        for status in ERRORS & set(operation["responses"]):
            if (label, status) != ("GET /health/ready", "503"):  # a readiness with its reasons
                assert operation["responses"][status]["content"] == {"application/problem+json": PROBLEM}, label
    assert SCHEMA["components"]["schemas"]["Problem"]["required"] == ["title", "status", "detail", "instance", "code"]


def test_every_operation_on_what_is_the_users_says_who_may_not() -> None:
    for label, operation in OPERATIONS.items():
        if API in label:
            assert {"401", "404", "405", "422", "503"} <= set(operation["responses"]), label
            assert bool(operation["security"]) != is_public(label.split()[1]), label


def test_health_is_in_the_schema() -> None:
    assert {"/health", "/health/live", "/health/ready"} <= set(SCHEMA["paths"])


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
@pytest.mark.parametrize("page", [f"{API}/docs", f"{API}/redoc"])
async def test_pages_need_no_other_host(parley_without_worker: Live, page: str) -> None:
    http = parley_without_worker.http
    answer = await http.get(page)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+", answer.text) == []
    assert answer.headers["content-security-policy"].startswith("default-src 'self' 'unsafe-inline' data: blob:;")
    files = re.findall(r"""(?:src|href)=["'](/static/[^"']+)["']""", answer.text)
    assert len(files) > 1
    for path in files:
        served = await http.get(path)
        assert served.status_code == 200, path
        assert served.headers["content-type"].startswith(TYPES[path[path.rindex(".") :]]), path
        assert served.content, path
        assert b"cdn.redoc.ly" not in served.content


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
async def test_the_served_schema_is_this_one(parley_without_worker: Live) -> None:
    answer = await parley_without_worker.http.get(f"{API}/openapi.json")
    assert answer.json() == SCHEMA
    page = await parley_without_worker.http.get(f"{API}/docs")
    assert f"{API}/openapi.json" in page.text


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
async def test_any_other_method_is_405_and_names_those_there_are(parley_without_worker: Live) -> None:
    for path, operations in SCHEMA["paths"].items():
        if "/message/" in path and "{" not in path:
            continue  # GET reads these words as an id
        url = re.sub(r"\{\w+\}", "01936b2e-0000-7000-8000-000000000000", path)
        there = {method.upper() for method in operations}
        there |= {"HEAD"} if "GET" in there else set()
        for method in set(METHODS) - there:
            answer = await parley_without_worker.http.request(method, url)
            assert answer.status_code == 405, (method, path)
            assert answer.headers["content-type"] == "application/problem+json"
            assert set(answer.headers["allow"].split(", ")) == there, (method, path)
