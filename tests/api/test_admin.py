"""What administrators may do, and nobody else."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlmodel import col, select, update

from api.main import create_app
from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.errors import AppError
from shared.models import LOCAL_USER_ID, Login, User, UserRole
from shared.money import ZERO
from shared.services import api_key as keys
from shared.services import user as users
from shared.services.job import lease as leases
from tests.api.test_login import PASSWORD, bearer, login, me, register
from tests.conftest import migrate
from tests.live import API, Live, live_parley

USERS, JOBS = f"{API}/admin/user", f"{API}/admin/job"
ADMIN_ROUTES = [
    (method.upper(), path)
    for path, methods in create_app(Settings(_env_file=None)).openapi()["paths"].items()
    for method in methods
    if path.startswith(f"{API}/admin/")
]


async def root_of(live: Live) -> str:
    """The id of an administrator, who asks from now on."""
    live.http.headers.update(await live.sign_in("root", role=UserRole.ADMIN))
    return str((await live.http.get(f"{API}/auth/me")).json()["id"])


async def patch(live: Live, user_id: object, **fields: Any) -> httpx.Response:
    return await live.http.patch(f"{USERS}/{user_id}", json=fields)


async def set_columns(live: Live, user_id: str, **values: Any) -> None:
    async with live.resources.database.write() as db:
        await db.exec(update(User).where(col(User.id) == UUID(user_id)).values(**values))


async def test_nobody_else_gets_anywhere(door: Live) -> None:
    ann = await door.sign_in("ann")
    mine = (await door.http.get(f"{API}/auth/me", headers=ann)).json()["id"]
    assert len(ADMIN_ROUTES) == 8
    for method, path in [
        *ADMIN_ROUTES,
        ("GET", f"{API}/admin"),
        ("GET", f"{API}/admin/x"),
        ("PUT", f"{API}/admin/user"),
    ]:
        for there in (mine, str(uuid4()), "x"):
            url = path.replace("{user_id}", there).replace("{job_id}", there)
            answer = await door.http.request(method, url, headers=ann, content=b"{")
            assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope"), (method, path)
            assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'
            answer = await door.http.request(method, url, content=b"{")
            assert answer.status_code == 401


async def test_users_are_listed_newest_first_and_found_by_name(door: Live) -> None:
    await root_of(door)
    for number in range(5):
        await register(door, f"user{number}")
    names, cursor = [], None
    for _ in range(4):
        page = (await door.http.get(USERS, params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        names += [user["username"] for user in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names == ["user4", "user3", "user2", "user1", "user0", "root", "local"]
    (found,) = (await door.http.get(USERS, params={"username": " USER3"})).json()["items"]
    assert found == (await door.http.get(f"{USERS}/{found['id']}")).json()
    assert "hash" not in str(found)
    assert (await door.http.get(USERS, params={"username": "nobody"})).json() == {"items": [], "next_cursor": None}
    assert (await door.http.get(f"{USERS}/{uuid4()}")).status_code == 404
    assert (await patch(door, uuid4(), disabled=True)).status_code == 404
    assert (await patch(door, uuid4(), balance="1")).status_code == 404
    assert (await patch(door, uuid4())).status_code == 404


async def test_what_a_user_may_is_changed_field_by_field(door: Live) -> None:
    await root_of(door)
    ann = await register(door, "ann")
    fields = {
        "balance": "12.3400000001",
        "allowed_models": ["openai/gpt-6-luna", "groq/llama/4"],
        "requests_per_minute": 7,
        "jobs_at_a_time": 1,
        "audio_minutes_per_day": 30,
        "tokens_per_day": 1_000_000,
    }
    changed = await patch(door, ann["id"], **fields)
    assert changed.status_code == 200, changed.text
    assert changed.json() == ann | fields | {"updated_at": changed.json()["updated_at"]}
    assert (await patch(door, ann["id"])).json() == changed.json()
    nothing = dict.fromkeys(fields)
    again = (await patch(door, ann["id"], **nothing)).json()
    assert {name: again[name] for name in fields} == nothing
    assert (await patch(door, ann["id"], balance=0.1)).json()["balance"] == "0.1"


@pytest.mark.parametrize(
    "fields",
    [
        {"balance": "-1"}, {"balance": "NaN"}, {"balance": "1e99"}, {"balance": "0.00000000001"}, {"balance": "100000001"},
        {"allowed_models": ["gpt"]}, {"allowed_models": "openai/gpt"}, {"role": "root"}, {"role": None},
        {"disabled": None}, {"requests_per_minute": 0}, {"jobs_at_a_time": 2**40}, {"tokens_per_day": "many"},
        {"username": "other"}, {"reserved": "0"}, {"password_hash": "x"}, {"password": "seven77"}, {"password": None},
    ],
)  # fmt: skip
async def test_what_makes_no_sense_changes_nothing(door: Live, fields: dict[str, Any]) -> None:
    await root_of(door)
    ann = await register(door, "ann")
    answer = await patch(door, ann["id"], **fields)
    assert (answer.status_code, answer.json()["errors"][0]["field"].split(".")[0]) == (422, next(iter(fields)))
    assert (await door.http.get(f"{USERS}/{ann['id']}")).json() == ann


async def test_where_registration_is_closed_an_admin_makes_accounts(
    guarded_settings: Settings, audio_pool: AudioPool
) -> None:
    settings = guarded_settings.model_copy(update={"registration": "closed", "default_balance": Decimal("0.25")})
    async with live_parley(settings, audio_pool, work=False) as live:
        await root_of(live)

        async def make(name: str, **fields: Any) -> httpx.Response:
            return await live.http.post(USERS, json={"username": name, "password": PASSWORD, **fields})

        made = await make(" Ann ")
        ann = made.json()
        assert (made.status_code, made.headers["location"]) == (201, f"{USERS}/{ann['id']}")
        assert (ann["username"], ann["role"], ann["balance"]) == ("ann", "user", "0.25")
        assert "password" not in made.text
        assert (await live.http.get(made.headers["location"])).json() == ann
        assert await me(live, await login(live, "ann")) == 200
        for name, given, balance in (("rich", "5", "5"), ("free", None, None), ("poor", 0, "0")):
            assert (await make(name, balance=given)).json()["balance"] == balance
        assert (await make("boss", role="admin")).json()["role"] == "admin"
        assert (await live.http.get(USERS, headers=bearer(await login(live, "boss")))).status_code == 200
        for name in ("ANN", "local"):
            taken = await make(name)
            assert (taken.status_code, taken.json()["code"]) == (409, "username_taken")
        for field, value in (("password", "seven77"), ("balance", "-1"), ("role", None), ("disabled", True)):
            refused = await make("other", **{field: value})
            assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
            assert "seven77" not in refused.text


async def test_another_password_by_an_admin_ends_every_login(door: Live) -> None:
    await root_of(door)
    ann, bob = await register(door, "ann"), await register(door, "bob")
    pairs, other = [await login(door, "ann") for _ in range(2)], await login(door, "bob")
    answer = await patch(door, ann["id"], password="another horse", balance="2")
    assert (answer.status_code, answer.json()["balance"]) == (200, "2")
    assert "horse" not in answer.text
    assert [await me(door, pair) for pair in (*pairs, other)] == [401, 401, 200]
    for pair in pairs:
        refreshed = await door.http.post(f"{API}/auth/refresh", json={"refresh_token": pair["refresh_token"]})
        assert refreshed.status_code == 401
    old = await door.http.post(f"{API}/auth/login", json={"username": "ann", "password": PASSWORD})
    assert (old.status_code, old.json()["code"]) == (401, "bad_credentials")
    assert await me(door, await login(door, "ann", "another horse")) == 200
    assert await me(door, await login(door, bob["username"])) == 200
    assert (await patch(door, uuid4(), password=PASSWORD)).status_code == 404
    built_in = await patch(door, LOCAL_USER_ID, password=PASSWORD)
    assert (built_in.status_code, built_in.json()["code"]) == (409, "built_in")
    local = await door.http.post(f"{API}/auth/login", json={"username": "local", "password": PASSWORD})
    assert local.status_code == 401


async def test_a_balance_never_falls_below_what_is_reserved(door: Live) -> None:
    await root_of(door)
    ann = await register(door, "ann")
    await patch(door, ann["id"], balance="5")
    await set_columns(door, ann["id"], reserved=Decimal("2.5"))
    low = await patch(door, ann["id"], balance="2.4999999999", jobs_at_a_time=3)
    assert (low.status_code, low.json()["code"]) == (409, "reserved")
    kept = (await door.http.get(f"{USERS}/{ann['id']}")).json()
    assert (kept["balance"], kept["reserved"], kept["jobs_at_a_time"]) == ("5", "2.5", None)
    assert (await patch(door, ann["id"], balance="2.5")).status_code == 200
    assert (await patch(door, ann["id"], balance=None)).json()["balance"] is None


async def test_an_account_has_its_own_limits_or_the_servers(guarded_settings: Settings, audio_pool: AudioPool) -> None:
    settings = guarded_settings.model_copy(update={"user_jobs_at_a_time": 9, "user_tokens_per_day": 99})
    async with live_parley(settings, audio_pool, work=False) as live:
        own = await live.sign_in("ann", jobs_at_a_time=3, allowed_models=["openai/a"], balance=Decimal(4))
        token = await live.http.post(f"{API}/auth/key", json={"name": "Key"}, headers=own)
        async with live.resources.database.read() as db:
            account = await keys.account(db, key=token.json()["key"], settings=settings)
        assert account
        assert (account.jobs_at_a_time, account.tokens_per_day, account.requests_per_minute) == (3, 99, 600)
        assert (account.audio_minutes_per_day, account.allowed_models) == (None, frozenset({"openai/a"}))
        assert (account.balance, account.reserved, account.login_id) == (Decimal(4), ZERO, None)


async def test_whom_an_admin_disables_is_out_at_once_everywhere(door: Live) -> None:
    await root_of(door)
    ann = await register(door, "ann")
    pairs = [await login(door, "ann") for _ in range(2)]
    key = (await door.http.post(f"{API}/auth/key", json={"name": "Key"}, headers=bearer(pairs[0]))).json()["key"]
    assert (await patch(door, ann["id"], disabled=True)).json()["disabled"] is True
    assert [await me(door, pair) for pair in (*pairs, {"access_token": key})] == [401, 401, 401]
    for pair in pairs:
        answer = await door.http.post(f"{API}/auth/refresh", json={"refresh_token": pair["refresh_token"]})
        assert answer.status_code == 401
    async with door.resources.database.read() as db:
        assert (await db.exec(select(Login).where(Login.owner_id == UUID(ann["id"])))).all() == []
    refused = await door.http.post(f"{API}/auth/login", json={"username": "ann", "password": PASSWORD})
    assert (refused.status_code, refused.json()["code"]) == (401, "bad_credentials")
    await patch(door, ann["id"], disabled=False)
    assert [await me(door, pair) for pair in pairs] == [401, 401]
    assert await me(door, await login(door, "ann")) == 200


async def test_whom_an_admin_promotes_is_one_with_the_next_request(door: Live) -> None:
    await root_of(door)
    ann = await door.sign_in("ann")
    ann_id = (await door.http.get(f"{API}/auth/me", headers=ann)).json()["id"]
    for role, status in (("admin", 200), ("user", 403)):
        assert (await patch(door, ann_id, role=role)).json()["role"] == role
        assert (await door.http.get(USERS, headers=ann)).status_code == status


async def test_the_last_admin_stays_one(door: Live) -> None:
    root = await root_of(door)
    off = await register(door, "off")
    await patch(door, off["id"], role="admin", disabled=True)
    for fields in ({"disabled": True}, {"role": "user"}, {"role": "user", "balance": "1"}):
        answer = await patch(door, root, **fields)
        assert (answer.status_code, answer.json()["code"]) == (409, "last_admin")
    assert (await patch(door, root, balance="1", disabled=False, role="admin")).status_code == 200
    await patch(door, off["id"], disabled=False)
    assert (await patch(door, root, role="user")).status_code == 200
    assert (await door.http.get(USERS)).status_code == 403


async def test_two_admins_who_part_at_once_leave_one(door: Live) -> None:
    for number in range(5):
        both = [await door.sign_in(f"admin{number}{side}", role=UserRole.ADMIN) for side in "ab"]
        ids = [(await door.http.get(f"{API}/auth/me", headers=one)).json()["id"] for one in both]
        answers = await asyncio.gather(
            *(
                door.http.patch(f"{USERS}/{whom}", json={"role": "user"}, headers=one)
                for one, whom in zip(both, ids if number % 2 else reversed(ids), strict=True)
            )
        )
        assert min(answer.status_code for answer in answers) == 200
        async with door.resources.database.read() as db:
            left = (await db.exec(select(User).where(User.role == UserRole.ADMIN, User.id != LOCAL_USER_ID))).all()
        assert len(left) == 1
        await set_columns(door, str(left[0].id), role=UserRole.USER)


async def failed_job(live: Live) -> dict[str, Any]:
    job = await live.text((await live.session())["id"])
    async with live.resources.database.write() as db:
        claim = await leases.claim(db, job_id=UUID(job["id"]), worker_id=uuid4(), lease_s=60)
        assert claim
    async with live.resources.database.write() as db:
        await leases.fence(db, claim)
        await leases.fail(db, claim, AppError("It broke."))
    return job


async def test_jobs_of_all_are_seen_and_steered_by_their_owners_rules(door: Live) -> None:
    ann, bob = await door.sign_in("ann"), await door.sign_in("bob")
    ann_id = (await door.http.get(f"{API}/auth/me", headers=ann)).json()["id"]
    door.http.headers.update(ann)
    failed = await failed_job(door)
    queued = await door.text((await door.session())["id"])
    door.http.headers.update(bob)
    bobs = await door.text((await door.session())["id"])
    await root_of(door)
    assert (await door.http.get(f"{API}/job")).json()["items"] == []

    async def listed(**params: Any) -> list[str]:
        found, cursor = [], None
        while True:
            page = (
                await door.http.get(JOBS, params={"limit": 1, **params} | ({"cursor": cursor} if cursor else {}))
            ).json()
            found += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    assert await listed() == [bobs["id"], queued["id"], failed["id"]]
    assert await listed(user_id=ann_id) == [queued["id"], failed["id"]]
    assert await listed(status="queued") == [bobs["id"], queued["id"]]
    assert await listed(status="failed", user_id=ann_id) == [failed["id"]]
    assert await listed(status="running") == await listed(status="cancelling") == await listed(user_id=uuid4()) == []
    one = (await door.http.get(f"{JOBS}/{queued['id']}")).json()
    own = (await door.http.get(f"{API}/job/{queued['id']}", headers=ann)).json()
    assert one == own | {"user_id": ann_id, "links": links_of(queued["id"])}
    assert (await door.http.get(JOBS, params={"include": "steps"})).json()["items"][1] == one
    retried = await door.http.post(links_of(failed["id"])["retry"])
    assert (retried.status_code, retried.json()["status"]) == (202, "queued")
    assert (retried.json()["user_id"], retried.json()["links"]) == (ann_id, links_of(failed["id"]))
    assert (await door.http.post(f"{JOBS}/{failed['id']}/retry")).json()["code"] == "not_failed"
    for _ in range(2):
        cancelled = await door.http.post(one["links"]["cancel"])
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert cancelled.json() == (await door.http.get(one["links"]["self"])).json()
    for path in ("", "/cancel", "/retry"):
        missing = await door.http.request("POST" if path else "GET", f"{JOBS}/{uuid4()}{path}")
        assert (missing.status_code, missing.json()["detail"]) == (404, "There is no such job.")
    broken = await door.http.get(JOBS, params={"cursor": "x"})
    assert (broken.status_code, broken.json()["errors"][0]["field"]) == (422, "cursor")


async def test_an_admin_reads_what_came_out_and_is_sent_nowhere_that_is_not_there(guarded: Live) -> None:
    live = guarded
    live.http.headers.update(await live.sign_in("ann"))
    own = await live.done(await live.text((await live.session())["id"], reply_audio=True))
    assert own["result"]["audio"]["url"] == f"{own['links']['self']}/audio"
    await root_of(live)
    answer = await live.http.get(f"{JOBS}/{own['id']}")
    seen = answer.json()
    assert seen["result"] == {name: value for name, value in own["result"].items() if name != "audio"}
    assert seen["links"] == links_of(own["id"])
    assert f"{API}/job/" not in answer.text
    assert (await live.http.get(seen["links"]["self"])).json() == seen


def links_of(job_id: str) -> dict[str, str]:
    here = f"{JOBS}/{job_id}"
    return {"self": here, "cancel": f"{here}/cancel", "retry": f"{here}/retry"}


async def test_the_first_admin_is_made_at_the_start_once_by_however_many(
    guarded_settings: Settings, audio_pool: AudioPool
) -> None:
    settings = Settings.model_validate(
        {**guarded_settings.model_dump(), "admin_username": "Root", "admin_password": PASSWORD}
    )

    async def started() -> int:
        async with live_parley(settings, audio_pool, work=False, clean_queue=False) as live:
            pair = await login(live, "root")
            return (await live.http.get(USERS, headers=bearer(pair))).status_code

    assert await asyncio.gather(*(started() for _ in range(3))) == [200] * 3
    async with live_parley(settings, audio_pool, work=False) as live, live.resources.database.write() as db:
        user = await users.find(db, username="root")
        assert user
        await users.change(db, user_id=user.id, fields={"disabled": True}, by=LOCAL_USER_ID)
    async with live_parley(settings, audio_pool, work=False) as live, live.resources.database.read() as db:
        kept = await users.find(db, username="root")
        assert kept
        assert kept.disabled  # what an administrator did is not undone by a restart


async def test_the_api_starts_without_sql_and_makes_the_first_admin_when_it_can(
    guarded_settings: Settings, audio_pool: AudioPool, tmp_path: Path
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/empty.db"
    changes = {"database_url": url, "admin_username": "root", "admin_password": PASSWORD}
    settings = Settings.model_validate(guarded_settings.model_dump() | changes)
    async with live_parley(settings, audio_pool, work=False) as live:
        assert (await live.http.get("/health")).status_code == 200
        assert (await live.http.get("/health/ready")).status_code == 503
        await asyncio.to_thread(migrate, url)
        for _ in range(200):
            async with live.resources.database.read() as db:
                if await users.find(db, username="root"):
                    break
            await asyncio.sleep(0.1)
        assert (await live.http.get(USERS, headers=bearer(await login(live, "root")))).status_code == 200
