"""The Postman collection: as whole as the schema, and green."""

import re
from collections import Counter
from typing import Any

import pytest

from api.auth.public import PATHS
from api.doors.v1.schemas.auth import NewUser
from api.main import create_app
from shared.config import Settings
from tests.postman.collection import COLLECTION, ENVIRONMENT, FOLDER, entries, load, requests, scripts
from tests.postman.run import Auth, Role, newman_missing, run_collection
from tests.services import missing

BESIDE_THE_SCHEMA = {
    "The OpenAPI schema",
    "404: a path that isn't there",
    "405: a method that isn't there",
}
VARIABLE = re.compile(r"\{\{(\w+)\}\}")
SET = re.compile(r"(?:collectionVariables|variables)\.set\('(\w+)'")

Route = tuple[str, str]


def routes() -> list[Route]:
    paths = create_app(Settings(_env_file=None)).openapi()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def route_of(request: dict[str, Any], known: list[Route]) -> Route | None:
    """The route that serves a request; a path without a parameter wins over one with."""
    sent = request["url"]["path"]
    found = [
        (method, path)
        for method, path in known
        if method == request["method"] and _fits(path.strip("/").split("/"), sent)
    ]
    return min(found, key=lambda route: route[1].count("{"), default=None)


def _fits(template: list[str], sent: list[str]) -> bool:
    return len(template) == len(sent) and all(
        want == have or want.startswith("{") for want, have in zip(template, sent, strict=True)
    )


def uploads() -> list[str]:
    forms = [entry["request"].get("body", {}).get("formdata", []) for entry in requests()]
    return [field["src"] for form in forms for field in form if field["type"] == "file"]


def test_every_route_of_the_schema_is_asked() -> None:
    known = routes()
    asked = {route_of(entry["request"], known) for entry in requests()}
    assert set(known) - asked == set()


def test_every_route_succeeds_at_least_once() -> None:
    known = routes()
    well = {route_of(entry["request"], known) for entry in requests() if not re.match(r"[45]\d\d:", entry["name"])}
    assert set(known) - well == set()


def test_every_request_is_one_of_the_schema() -> None:
    known = routes()
    assert {entry["name"] for entry in requests() if not route_of(entry["request"], known)} == BESIDE_THE_SCHEMA


def test_names_are_unique() -> None:
    names = Counter(entry["name"] for entry in entries(load(COLLECTION)))
    assert [name for name, count in names.items() if count > 1] == []


def test_everything_is_described_and_every_request_tested() -> None:
    for entry in entries(load(COLLECTION)):
        assert entry.get("description") or entry["request"]["description"], entry["name"]
    for entry in requests():
        assert "pm.test" in scripts(entry, "test"), entry["name"]


def test_addresses_agree_with_their_parts() -> None:
    for entry in requests():
        url = entry["request"]["url"]
        query = "&".join(f"{item['key']}={item['value']}" for item in url.get("query", []))
        assert url["raw"] == "/".join([*url["host"], *url["path"]]) + (f"?{query}" if query else "")
        assert url["host"] == ["{{base_url}}"]


def test_every_variable_that_is_used_is_set() -> None:
    collection = load(COLLECTION)
    known = {item["key"] for item in collection["variable"]} | set(SET.findall("\n".join(_all_scripts(collection))))
    assert set(VARIABLE.findall(COLLECTION.read_text(encoding="utf-8"))) - known == set()


def _all_scripts(collection: dict[str, Any]) -> list[str]:
    return [scripts(entry, listen) for entry in entries(collection) for listen in ("prerequest", "test")]


def test_every_upload_is_there() -> None:
    assert uploads()
    assert [name for name in uploads() if not (FOLDER / name).is_file()] == []


def test_samples_are_used() -> None:
    samples = {path.relative_to(FOLDER).as_posix() for path in (FOLDER / "files").iterdir()}
    assert samples == set(uploads())


def test_it_starts_with_a_local_server_and_an_account_that_it_can_register() -> None:
    for values in (load(COLLECTION)["variable"], load(ENVIRONMENT)["values"]):
        defaults = {item["key"]: item["value"] for item in values}
        assert defaults["base_url"] == "http://127.0.0.1:8000"
        NewUser(username=defaults["username"], password=defaults["password"])


def test_everything_after_the_sign_in_sends_its_token_or_says_so() -> None:
    collection = load(COLLECTION)
    assert collection["auth"] == {
        "type": "bearer",
        "bearer": [{"key": "token", "value": "{{token}}", "type": "string"}],
    }
    assert "Authorization" not in COLLECTION.read_text(encoding="utf-8")
    alive, sign_in, *others = collection["item"]
    assert [entry["name"] for entry in sign_in["item"]] == ["Register", "Sign in", "Who am I?"]
    assert all(_has_no_token(entry) for entry in alive["item"])
    without = {entry["request"]["url"]["raw"] for folder in others for entry in folder["item"] if _has_no_token(entry)}
    signing_in = {f"{{{{base_url}}}}{path}" for path in PATHS}
    assert without - signing_in == {"{{base_url}}/api/v1/auth/me"}


def _has_no_token(entry: dict[str, Any]) -> bool:
    return bool(entry["request"].get("auth") == {"type": "noauth"})


def test_folders_are_numbered() -> None:
    names = [folder["name"] for folder in load(COLLECTION)["item"]]
    assert [name.split(". ")[0] for name in names] == [str(number) for number in range(1, len(names) + 1)]


def test_no_environment_holds_what_a_run_saves() -> None:
    """Postman would prefer it: a token there, even an empty one, would hide the one that was saved."""
    saved = set(SET.findall("\n".join(_all_scripts(load(COLLECTION)))))
    assert {item["key"] for item in load(ENVIRONMENT)["values"]} & saved == set()


@pytest.mark.timeout(480)
@pytest.mark.parametrize("role", ["admin", "user"])
@pytest.mark.parametrize("auth", ["off", "on"])
def test_newman_runs_it_green(auth: Auth, role: Role) -> None:
    if what := newman_missing():
        missing(what)
    run_collection(auth=auth, role=role)
