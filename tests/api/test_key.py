"""API keys: what they are good for, and until when."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlmodel import col, select, update

from api.auth.public import is_public
from api.main import create_app
from shared.config import Settings
from shared.models import ApiKey, User, UserRole
from shared.sql.functions import db_now
from tests.live import API, Live

KEYS = f"{API}/auth/key"
ROUTES = [
    (method.upper(), path)
    for path, methods in create_app(Settings(_env_file=None)).openapi()["paths"].items()
    for method in methods
    if not is_public(path)
]


def bearer(key: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {key['key']}"}


async def make(live: Live, who: dict[str, str], **fields: Any) -> dict[str, Any]:
    answer = await live.http.post(KEYS, json={"name": "Front desk", **fields}, headers=who)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_a_key_is_shown_once_and_kept_as_a_hash(door: Live) -> None:
    ann = await door.sign_in("ann")
    answer = await door.http.post(KEYS, json={"name": " Front desk "}, headers=ann)
    made = answer.json()
    assert answer.headers["location"] == f"{KEYS}/{made['id']}"
    assert answer.headers["cache-control"] == "no-store"
    assert (made["name"], made["scopes"], made["expires_at"], made["revoked_at"]) == (
        "Front desk", ["read", "write"], None, None,
    )  # fmt: skip
    prefix, secret = made["key"][:15], made["key"][16:]
    assert made["key"] == f"{prefix}_{secret}"
    assert made["prefix"] == prefix
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    (listed,) = (await door.http.get(KEYS, headers=ann)).json()["items"]
    assert listed == {name: value for name, value in made.items() if name != "key"}
    async with door.resources.database.read() as db:
        row = (await db.exec(select(ApiKey))).one()
    assert row.hash == hashlib.sha256(made["key"].encode()).hexdigest()
    assert secret not in str(row)


async def test_a_key_asks_in_its_makers_name_by_either_header(guarded: Live) -> None:
    ann = await guarded.sign_in("ann")
    key = await make(guarded, ann)
    for headers in (bearer(key), {"X-API-Key": key["key"]}, {"X-API-Key": key["key"], "Authorization": "Basic eDp5"}):
        assert (await guarded.http.get(f"{API}/auth/me", headers=headers)).json()["username"] == "ann"
    guarded.http.headers.update(bearer(key))
    session = await guarded.session()
    assert (await guarded.done(await guarded.text(session["id"])))["status"] == "succeeded"
    guarded.http.headers.update(await guarded.sign_in("bob"))
    assert (await guarded.http.get(f"{API}/session/{session['id']}")).status_code == 404


async def test_a_key_that_is_nearly_right_is_not(door: Live) -> None:
    ann = await door.sign_in("ann")
    key, other = (await make(door, ann))["key"], (await make(door, ann))["key"]
    wrong = [
        key[:-1],
        f"{key}x",
        key[:-1] + ("A" if key[-1] != "A" else "B"),
        key[:16] + other[16:],
        key[:15],
        key.upper(),
    ]
    for one in wrong:
        answer = await door.http.get(f"{API}/auth/me", headers={"Authorization": f"Bearer {one}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), one


async def test_a_revoked_key_is_refused_at_once_and_stays_in_the_list(door: Live) -> None:
    ann = await door.sign_in("ann")
    keys = [await make(door, ann, name=f"Desk {n}") for n in range(3)]
    revoked = [(await door.http.delete(f"{KEYS}/{keys[1]['id']}", headers=ann)).status_code for _ in range(2)]
    assert revoked == [204, 204]
    assert (await door.http.get(f"{API}/auth/me", headers=bearer(keys[1]))).status_code == 401
    assert (await door.http.get(f"{API}/auth/me", headers=bearer(keys[0]))).status_code == 200
    first = (await door.http.get(KEYS, params={"limit": 2}, headers=ann)).json()
    rest = (await door.http.get(KEYS, params={"cursor": first["next_cursor"]}, headers=ann)).json()
    listed = first["items"] + rest["items"]
    assert [one["name"] for one in listed] == ["Desk 2", "Desk 1", "Desk 0"]
    assert [bool(one["revoked_at"]) for one in listed] == [False, True, False]


async def test_anothers_key_is_not_there(door: Live) -> None:
    ann, bob = await door.sign_in("ann"), await door.sign_in("bob", role=UserRole.ADMIN)
    key = await make(door, ann)
    for key_id in (key["id"], uuid4()):
        answer = await door.http.delete(f"{KEYS}/{key_id}", headers=bob)
        assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such key.")
    assert (await door.http.get(KEYS, headers=bob)).json()["items"] == []
    assert (await door.http.get(f"{API}/auth/me", headers=bearer(key))).status_code == 200


async def test_a_key_ends_by_the_databases_clock(door: Live) -> None:
    ann = await door.sign_in("ann")
    later = datetime.now(UTC) + timedelta(hours=1)
    key = await make(door, ann, expires_at=later.isoformat())
    assert datetime.fromisoformat(key["expires_at"]) == later
    assert (await door.http.get(f"{API}/auth/me", headers=bearer(key))).status_code == 200
    async with door.resources.database.write() as db:
        await db.exec(update(ApiKey).where(col(ApiKey.id) == UUID(key["id"])).values(expires_at=db_now(-0.001)))
    assert (await door.http.get(f"{API}/auth/me", headers=bearer(key))).status_code == 401


@pytest.mark.parametrize(
    "fields",
    [
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "2030-01-01T00:00:00"},
        {"expires_at": "9999-12-31T23:59:59-14:00"},
        {"expires_at": "0001-01-01T00:00:00+14:00"},
        {"scopes": []},
        {"scopes": ["root"]},
        {"name": " "},
        {"name": "x" * 101},
        {"key": "mine"},
    ],
)
async def test_a_key_that_makes_no_sense_is_not_made(door: Live, fields: dict[str, Any]) -> None:
    ann = await door.sign_in("ann")
    answer = await door.http.post(KEYS, json={"name": "Front desk", **fields}, headers=ann)
    assert (answer.status_code, answer.json()["errors"][0]["field"].split(".")[0]) == (422, next(iter(fields)))
    assert (await door.http.get(KEYS, headers=ann)).json()["items"] == []


async def test_the_key_of_a_disabled_user_is_good_for_nothing(door: Live) -> None:
    key = await make(door, await door.sign_in("ann"))
    async with door.resources.database.write() as db:
        await db.exec(update(User).where(col(User.username) == "ann").values(disabled=True))
    assert (await door.http.get(f"{API}/auth/me", headers=bearer(key))).status_code == 401


async def test_a_missing_scope_is_told_from_the_credential_alone(door: Live) -> None:
    """Whatever the path names, and whatever the body is."""
    ann, root = await door.sign_in("ann"), await door.sign_in("root", role=UserRole.ADMIN)
    has = {
        "read": bearer(await make(door, ann, scopes=["read"])),
        "write": bearer(await make(door, ann, scopes=["write", "write"])),
        "read write": ann,
        "read write by its admin": bearer(await make(door, root)),
        "admin": bearer(await make(door, root, scopes=["admin"])),
        "read admin": bearer(await make(door, root, scopes=["admin", "read"])),
        "read write admin": root,
    }
    for method, path in ROUTES:
        needed = {"read" if method == "GET" else "write"} | ({"admin"} if "/admin/" in path else set())
        url = path.replace("{", "").replace("}", "")
        for scopes, headers in has.items():
            if needed <= set(scopes.split()):
                continue
            answer = await door.http.request(method, url, headers=headers, content=b"{")
            assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope"), (method, path, scopes)
            assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'
    for path in ("job", "agent", "auth/me"):
        assert (await door.http.get(f"{API}/{path}", headers=has["read"])).status_code == 200
        assert (await door.http.head(f"{API}/{path}", headers=has["write"])).status_code == 403
    assert (await door.http.post(f"{API}/agent", json={"name": "x"}, headers=has["write"])).status_code == 201
    assert (await door.http.get(f"{API}/admin/user", headers=has["read admin"])).status_code == 200


async def test_no_key_can_do_more_than_its_maker(door: Live) -> None:
    ann, root = await door.sign_in("ann"), await door.sign_in("root", role=UserRole.ADMIN)
    for scopes in (["admin"], ["read", "admin"]):
        answer = await door.http.post(KEYS, json={"name": "More", "scopes": scopes}, headers=ann)
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    everything = await make(door, root, scopes=["read", "write", "admin"])
    assert everything["scopes"] == ["admin", "read", "write"]


async def test_a_key_neither_makes_keys_nor_revokes_them(door: Live) -> None:
    root = await door.sign_in("root", role=UserRole.ADMIN)
    key, other = [await make(door, root, scopes=["read", "write", "admin"]) for _ in range(2)]
    for method, url, json in (
        ("POST", KEYS, {"name": "More", "scopes": ["read"]}),
        ("DELETE", f"{KEYS}/{other['id']}", None),
        ("DELETE", f"{KEYS}/{key['id']}", None),
        ("DELETE", f"{KEYS}/{uuid4()}", None),
    ):
        answer = await door.http.request(method, url, json=json, headers=bearer(key))
        assert (answer.status_code, answer.json()["code"]) == (403, "login_required"), method
    listed = (await door.http.get(KEYS, headers=bearer(key))).json()["items"]
    assert [(one["id"], one["revoked_at"]) for one in listed] == [(other["id"], None), (key["id"], None)]


async def test_whoever_is_no_admin_any_more_has_no_key_that_is(door: Live) -> None:
    root = await door.sign_in("root", role=UserRole.ADMIN)
    key = bearer(await make(door, root, scopes=["read", "admin"]))
    assert (await door.http.get(f"{API}/admin/user", headers=key)).status_code == 200
    async with door.resources.database.write() as db:
        await db.exec(update(User).where(col(User.username) == "root").values(role=UserRole.USER))
    assert (await door.http.get(f"{API}/admin/user", headers=key)).status_code == 403
    assert (await door.http.get(f"{API}/admin/user", headers=root)).status_code == 403
    assert (await door.http.get(f"{API}/auth/me", headers=key)).status_code == 200


async def test_a_key_neither_changes_a_password_nor_signs_out(door: Live) -> None:
    ann = await door.sign_in("ann")
    key = bearer(await make(door, ann))
    body = {"current_password": "correct horse", "new_password": "battery horse"}
    for path, json in (("password", body), ("logout", None)):
        answer = await door.http.post(f"{API}/auth/{path}", json=json, headers=key)
        assert (answer.status_code, answer.json()["code"]) == (403, "login_required")
    assert (await door.http.get(f"{API}/auth/me", headers=ann)).status_code == 200
