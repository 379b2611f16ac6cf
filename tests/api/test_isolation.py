"""Nobody gets at what is another's: every route of the schema, with every credential that is not good enough."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlmodel import col, delete, select, update

from api.auth.jwt import CLAIMS, REFRESH
from shared.models import ApiKey, User
from tests.api.matrix import ADMIN, BODIES, LOGIN, OPEN, OWN, SCHEMA, THINGS, filled, routes
from tests.api.world import NOTE, Headers, World, claims_of, forged, make_world, missing, same
from tests.conftest import CASES
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
GUARDED = OWN | THINGS | ADMIN


class Cases:
    """How many were tried."""

    number = 0


@pytest.fixture
def cases(record_property: Callable[[str, object], None]) -> Iterator[Cases]:
    cases = Cases()
    yield cases
    record_property(CASES, cases.number)


@pytest.fixture
async def world(guarded: Live, fake: FakeOpenAI) -> World:
    return await make_world(guarded, fake)


async def make_key(live: Live, headers: Headers, **fields: Any) -> tuple[str, str]:
    """A key of theirs, and its id."""
    made = await live.http.post(f"{API}/auth/key", json={"name": "x", **fields}, headers=headers)
    assert made.status_code == 201, made.text
    return made.json()["key"], made.json()["id"]


async def set_user(live: Live, name: str, **values: Any) -> None:
    async with live.resources.database.write() as db:
        await db.exec(update(User).where(col(User.username) == name).values(**values))


def refused(answer: httpx.Response) -> bool:
    """Whether nobody was recognised."""
    return answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"


async def bad_credentials(live: Live) -> dict[str, Headers]:
    """Everything that is not good, by its name; most were good once, or nearly are."""
    http, key = live.http, live.resources.settings.signing_key
    now = datetime.now(UTC)
    good = await live.sign_in("was-good", role="admin")
    gone, disabled, left = [await live.sign_in(name, role="admin") for name in ("gone", "disabled", "left")]
    keys = {
        name: (await make_key(live, headers, scopes=["read", "write", "admin"]))
        for name, headers in {
            "revoked": good,
            "expired": good,
            "good": good,
            "gone": gone,
            "disabled": disabled,
        }.items()
    }
    assert (await http.delete(f"{API}/auth/key/{keys['revoked'][1]}", headers=good)).status_code == 204
    assert (await http.post(f"{API}/auth/logout", headers=left)).status_code == 204
    await set_user(live, "disabled", disabled=True)
    async with live.resources.database.write() as db:
        past = update(ApiKey).where(col(ApiKey.id) == (await by_prefix(db, keys["expired"][0])))
        await db.exec(past.values(expires_at=now - timedelta(seconds=5)))
        await db.exec(delete(User).where(col(User.username) == "gone"))
    good_key = keys["good"][0]
    return {
        "nothing": {},
        "garbage": {"Authorization": "Bearer garbage"},
        "an empty token": {"Authorization": "Bearer"},
        "another scheme": {"Authorization": "Basic eDp5"},
        "a good token by another scheme": {"Authorization": good["Authorization"].replace("Bearer", "Token")},
        "a token in the cookies": {"Cookie": f"token={good['Authorization'].split()[1]}"},
        "a token as a key": {"X-API-Key": "garbage"},
        "expired": forged(good, key, {"exp": now - timedelta(seconds=5)}),
        "not yet good": forged(good, key, {"nbf": now + timedelta(hours=9)}),
        "a token to refresh": forged(good, key, {"aud": REFRESH}),
        "another audience": forged(good, key, {"aud": "other"}),
        "another issuer": forged(good, key, {"iss": "other"}),
        "not signed": forged(good, "", {}, algorithm="none"),
        "signed with another key": forged(good, "k" * 32, {}),
        "signed with nothing": {"Authorization": good["Authorization"].rpartition(".")[0] + "."},
        "signed in another way": forged(good, key * 2, {}, algorithm="HS512"),
        "of an unknown user": forged(good, key, {"sub": str(uuid4())}),
        "of another's login": forged(good, key, {"sub": claims_of(await live.sign_in("other"))["sub"]}),
        "of no login": forged(good, key, {"sid": "1"}),
        "of an unknown login": forged(good, key, {"sid": str(uuid4())}),
        "of a deleted user": gone,
        "of a disabled user": disabled,
        "of a login that has ended": left,
        "a revoked key": {"Authorization": f"Bearer {keys['revoked'][0]}"},
        "an expired key": {"X-API-Key": keys["expired"][0]},
        "a key of a deleted user": {"X-API-Key": keys["gone"][0]},
        "a key of a disabled user": {"X-API-Key": keys["disabled"][0]},
        "an unknown key": {"X-API-Key": f"parley_AAAAAAAA_{'x' * 43}"},
        "a key with another secret": {"X-API-Key": good_key[:16] + good_key[16:].swapcase()},
        "no key": {"X-API-Key": "parley_"},
        "half a key": {"X-API-Key": good_key[:16]},
        "a key and more": {"X-API-Key": good_key + "x"},
        "an id for a key": {"X-API-Key": keys["good"][1]},
        **{f"without {name}": forged(good, key, {name: None}) for name in CLAIMS},
    }


async def by_prefix(db: Any, key: str) -> Any:
    return (await db.exec(select(ApiKey.id).where(ApiKey.prefix == key[:15]))).one()


def test_the_matrix_knows_every_route() -> None:
    named = [OPEN, OWN, THINGS, ADMIN]
    assert sum(map(len, named)) == len(set().union(*named))
    assert OWN | THINGS >= LOGIN
    assert set().union(*named) == {route.name for route in routes()}
    for route in routes(GUARDED):
        assert list(route.variants())
        operation = SCHEMA["paths"][route.path][route.method.lower()]
        assert operation["security"], route.name
        assert ("requestBody" in operation) == (route.name in BODIES), route.name


async def test_bad_credentials_get_nothing(world: World, cases: Cases) -> None:
    bad = await bad_credentials(world.live)
    for route in routes(GUARDED):
        for name, headers in bad.items():
            answer = await world.ask(route.method, route.url(world.known), headers)
            assert refused(answer), (route.name, name, answer.text)
            assert answer.json()["code"] == "unauthorized"
            world.assert_no_leak(answer, (route.name, name))
            cases.number += 1
    for route in routes(OPEN):
        without = (await world.ask(route.method, route.path, {})).status_code
        for name, headers in bad.items():
            answer = await world.ask(route.method, route.path, headers)
            assert answer.status_code == without != 401, (route.name, name)
            world.assert_no_leak(answer, (route.name, name))
            cases.number += 1


async def test_no_method_and_no_spelling_is_a_way_around(world: World, cases: Cases) -> None:
    for path in {route.path for route in routes(GUARDED)} - {route.path for route in routes(OPEN)}:
        url = path.format(**world.known)
        for method in METHODS:
            answer = await world.ask(method, url, {})
            assert refused(answer), (method, path)
            cases.number += 1
        open_path = f"{API}/openapi.json"
        for spelled in (
            "/" + url,
            url + "/",
            url.replace("/", "//"),
            url.replace("/api/", "/./api/"),
            f"/x/..{url}",
            f"{open_path}/../{url.removeprefix(f'{API}/')}",
            f"{open_path}/%2e%2e/{url.removeprefix(f'{API}/')}",
            url.replace("/api/", "/%61pi/"),
            url.replace("/v1/", "%2fv1%2f"),
            url.upper(),
            url + "%00",
            url + ";/api/v1/docs",
        ):
            raw = httpx.URL(str(world.live.http.base_url)).copy_with(raw_path=spelled.encode())
            answer = await world.live.http.get(raw)
            assert answer.status_code in {401, 404}, spelled
            world.assert_no_leak(answer, spelled)
            cases.number += 1


async def test_anothers_is_not_there(world: World, cases: Cases) -> None:
    key, _ = await make_key(world.live, world.intruder)
    for route in routes(THINGS):
        nowhere = missing(world.known)
        for variant in route.variants():
            for headers in (world.intruder, {"X-API-Key": key}):
                if route.name in LOGIN and headers is not world.intruder:
                    continue
                answers = []
                for known in (world.known, nowhere):
                    sent = {what: {n: filled(v, known) for n, v in values.items()} for what, values in variant.items()}
                    if body := route.body(world.own):
                        sent["json"] = body
                    answers.append(await world.ask(route.method, route.url(known), headers, **sent))
                theirs, none = answers
                assert theirs.status_code == 404, (route.name, variant, theirs.text)
                assert same(theirs) == same(none), (route.name, variant)
                world.assert_no_leak(theirs, (route.name, variant))
                cases.number += 1
    await assert_untouched(world)


async def test_another_is_not_named_in_a_body(world: World, cases: Cases) -> None:
    for route in routes(OWN | THINGS):
        for field in [name for name, value in BODIES.get(route.name, {}).items() if value == f"{{{name}}}"]:
            answers = []
            for known in (world.known, missing(world.known)):
                body = {**(route.body(world.own) or {}), field: known[field]}
                files = {"data": body, "files": {"file": NOTE}} if "voice" in route.path else {"json": body}
                answers.append(await world.ask(route.method, route.url(world.own), world.intruder, **files))
            assert answers[0].status_code == 404, (route.name, field)
            assert same(answers[0]) == same(answers[1]), (route.name, field)
            world.assert_no_leak(answers[0], (route.name, field))
            cases.number += 1
    assert cases.number >= 5
    await assert_untouched(world)


async def test_lists_show_nothing_of_anothers_whatever_they_are_asked_for(world: World, cases: Cases) -> None:
    for route in routes(OWN):
        if route.method != "GET":
            continue
        for variant in route.variants():
            answers = []
            for known in (world.known, missing(world.known)):
                sent = {what: {n: filled(v, known) for n, v in values.items()} for what, values in variant.items()}
                answers.append(await world.ask("GET", route.path, world.intruder, **sent))
            assert answers[0].status_code in {200, 404, 422}, (route.name, variant)  # 422: another list's cursor
            assert same(answers[0]) == same(answers[1]), (route.name, variant)
            world.assert_no_leak(answers[0], (route.name, variant))
            cases.number += 1


async def test_anothers_idempotency_key_is_ones_own(world: World, cases: Cases) -> None:
    for route in routes(OWN):
        if not any(name.lower() == "idempotency-key" for name, _ in route.parameters):
            continue
        key = {"Idempotency-Key": f"{world.known['key']}-{route.path}"}
        body = {"data": route.body(world.own), "files": {"file": NOTE}}
        sent = body if "voice" in route.path else {"json": route.body(world.own)}
        theirs = {**sent, "data" if "data" in sent else "json": route.body(world.known)}
        first = await world.ask(route.method, route.path, world.owner, headers=key, **theirs)
        assert first.is_success, (route.name, first.text)
        mine = await world.ask(route.method, route.path, world.intruder, headers=key, **sent)
        assert mine.status_code == first.status_code, (route.name, mine.text)
        assert "idempotent-replayed" not in mine.headers
        assert mine.json()["id"] != first.json()["id"]
        world.assert_no_leak(mine, route.name)
        cases.number += 1
    assert cases.number == 4


async def test_scopes_and_roles(world: World, cases: Cases) -> None:
    admin = await world.live.sign_in("admin", role="admin")
    holders: dict[str, tuple[Headers, set[str]]] = {}
    for who, headers in (("user", world.intruder), ("admin", admin)):
        for given in (["read"], ["write"], ["read", "write"]):
            key, _ = await make_key(world.live, headers, scopes=given)
            holders[f"{who}'s {given}"] = ({"X-API-Key": key}, set(given))
    holders["admin's ['admin']"] = ({"X-API-Key": (await make_key(world.live, admin, scopes=["admin"]))[0]}, {"admin"})
    holders["user's login"] = (world.intruder, {"read", "write"})
    for route in routes(GUARDED):
        needed = {"read" if route.method == "GET" else "write"} | ({"admin"} if route.name in ADMIN else set())
        for name, (headers, scopes) in holders.items():
            if needed <= scopes:
                continue
            answers = [
                await world.ask(route.method, route.url(known), headers, json=route.body(known))
                for known in (world.known, missing(world.known))
            ]
            assert answers[0].status_code == 403, (route.name, name, answers[0].text)
            assert answers[0].json()["code"] == "insufficient_scope"
            assert same(answers[0]) == same(answers[1])
            world.assert_no_leak(answers[0], (route.name, name))
            cases.number += 1
    for route in routes(LOGIN):
        for known in (world.known, world.own, missing(world.known)):
            by_key = holders["user's ['read', 'write']"][0]
            answer = await world.ask(route.method, route.url(known), by_key, json=route.body(known))
            assert (answer.status_code, answer.json()["code"]) == (403, "login_required"), route.name
            cases.number += 1
    more = await world.ask("POST", f"{API}/auth/key", world.intruder, json={"name": "x", "scopes": ["read", "admin"]})
    assert more.status_code == 403
    await assert_untouched(world)


async def test_who_is_not_known_is_told_so_whatever_the_limits_say(world: World, cases: Cases) -> None:
    live = world.live
    key, key_id = await make_key(live, world.intruder)
    spare, _ = await make_key(live, world.intruder)
    await live.http.delete(f"{API}/auth/key/{key_id}", headers=world.intruder)
    await set_user(live, "bob", requests_per_minute=1)
    past = datetime.now(UTC) - timedelta(seconds=5)
    bad = [forged(world.intruder, live.resources.settings.signing_key, {"exp": past}), {"X-API-Key": key}, {}]
    for route in routes(GUARDED):
        for headers in (world.intruder, {"X-API-Key": spare}):
            answer = await world.ask(route.method, route.url(world.known), headers)
            assert answer.status_code == 429, route.name
            assert answer.json()["code"] == "rate_limited"
            world.assert_no_leak(answer, route.name)
        for headers in bad:
            assert refused(await world.ask(route.method, route.url(world.known), headers)), route.name
            cases.number += 1


async def test_what_is_ones_own_is_there(world: World) -> None:
    for route in routes(THINGS):
        if route.method == "GET" and not route.path.endswith("/events"):
            answer = await world.ask("GET", route.url(world.known), world.owner)
            assert answer.status_code == 200, route.name
    for path in ("agent", "session", "job", "auth/key"):
        assert (await world.ask("GET", f"{API}/{path}", world.owner)).json()["items"]


async def assert_untouched(world: World) -> None:
    """What is the owner's is as it was."""
    agent = await world.ask("GET", f"{API}/agent/{world.known['agent_id']}", world.owner)
    session = await world.ask("GET", f"{API}/session/{world.known['session_id']}", world.owner)
    job = await world.ask("GET", f"{API}/job/{world.known['job_id']}", world.owner)
    assert (agent.json()["name"], session.json()["name"], job.json()["status"]) == (
        "anns-agent",
        "anns-session",
        "succeeded",
    )
    keys = (await world.ask("GET", f"{API}/auth/key", world.owner)).json()["items"]
    assert [key["revoked_at"] for key in keys] == [None]
