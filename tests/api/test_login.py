"""Signing up, in and out, and how slowly passwords can be guessed."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import SecretStr
from sqlmodel import col, select, update

from api.auth import password_check
from api.auth.jwt import ACCESS, REFRESH
from api.auth.password_check import REGISTRATIONS_FROM_AN_ADDRESS, SIGN_INS_FROM_AN_ADDRESS
from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.models import LOCAL_USER_ID, Login, User
from shared.redis.rate_limits import PREFIX as COUNTED
from shared.services import login as logins
from shared.sql.functions import db_now
from tests.conftest import SAMPLES
from tests.live import API, Live, live_parley
from tests.services import RedisServer, private
from worker.main import serve as serve_worker

PASSWORD = "correct horse battery"
AUTH = f"{API}/auth"
FORM = "application/x-www-form-urlencoded"


async def register(live: Live, username: str, password: str = PASSWORD) -> dict[str, Any]:
    answer = await live.http.post(f"{AUTH}/register", json={"username": username, "password": password})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def try_login(live: Live, username: str, password: str = PASSWORD) -> httpx.Response:
    return await live.http.post(f"{AUTH}/login", json={"username": username, "password": password})


async def login(live: Live, username: str, password: str = PASSWORD) -> dict[str, Any]:
    answer = await try_login(live, username, password)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def refresh(live: Live, token: str) -> httpx.Response:
    return await live.http.post(f"{AUTH}/refresh", json={"refresh_token": token})


async def post_ascii(live: Live, path: str, body: dict[str, Any]) -> httpx.Response:
    """With half surrogate pairs, if there are: JSON can have them where UTF-8 can't."""
    headers = {"Content-Type": "application/json"}
    return await live.http.post(f"{AUTH}/{path}", content=json.dumps(body), headers=headers)


def bearer(pair: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {pair['access_token']}"}


async def me(live: Live, pair: dict[str, Any]) -> int:
    return (await live.http.get(f"{AUTH}/me", headers=bearer(pair))).status_code


def same_but_for_the_id(answer: httpx.Response) -> tuple[int, dict[str, Any], dict[str, str]]:
    headers = {name: value for name, value in answer.headers.items() if name not in {"date", "x-request-id"}}
    return answer.status_code, {**answer.json(), "request_id": None}, headers


async def test_from_nobody_to_a_spoken_reply_and_out_again(guarded: Live) -> None:
    made = await guarded.http.post(f"{AUTH}/register", json={"username": "Ann", "password": PASSWORD})
    assert (made.status_code, made.headers["location"]) == (201, f"{AUTH}/me")
    user = made.json()
    assert (user["username"], user["role"], user["balance"], user["reserved"]) == ("ann", "user", None, "0")
    assert not {"password", "password_hash"} & set(user)
    pair = await login(guarded, "ann")
    assert (pair["token_type"], pair["expires_in"]) == ("bearer", 3_600)
    guarded.http.headers.update(bearer(pair))
    assert (await guarded.http.get(f"{AUTH}/me")).json() == user
    session = await guarded.session()
    assert (await guarded.done(await guarded.voice(session["id"], SAMPLES / "en_13.flac")))["status"] == "succeeded"
    assert (await guarded.http.post(f"{AUTH}/logout")).status_code == 204
    assert await me(guarded, pair) == 401
    assert (await refresh(guarded, pair["refresh_token"])).status_code == 401


async def test_what_signing_in_answers_stays_out_of_caches(door: Live) -> None:
    await register(door, "ann")
    body = {"username": "ann", "password": PASSWORD}
    answers = [await door.http.post(path, json=body) for path in (f"{AUTH}/login", "/login")]
    answers += [
        await door.http.post(f"{AUTH}/token", data=body),
        await refresh(door, answers[0].json()["refresh_token"]),
    ]
    change = {"current_password": PASSWORD, "new_password": PASSWORD}
    answers.append(await door.http.post(f"{AUTH}/password", json=change, headers=bearer(answers[3].json())))
    for answer in answers:
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


async def test_all_ways_in_take_what_they_say(door: Live) -> None:
    await register(door, "ann")
    body = {"username": "ANN ", "password": PASSWORD}
    oauth = body | {"grant_type": "password", "scope": "", "client_id": "swagger", "client_secret": ""}
    for path, way, key in (
        (f"{AUTH}/login", {"json": body}, "access_token"),
        (f"{AUTH}/login", {"data": body}, "access_token"),
        (f"{AUTH}/token", {"data": oauth}, "access_token"),
        ("/login", {"json": body}, "token"),
        ("/login", {"data": oauth}, "token"),
    ):
        answer = await door.http.post(path, **way)  # type: ignore[arg-type]  # both are keywords of it
        assert answer.status_code == 200, answer.text
        headers = {"authorization": f"bearer {answer.json()[key]}"}
        assert (await door.http.get(f"{AUTH}/me", headers=headers)).json()["username"] == "ann"
    assert (await door.http.post("/login", json=body)).json().keys() == {"token"}


async def test_what_is_no_credentials_is_refused_as_such(door: Live) -> None:
    token, form = f"{AUTH}/token", {"Content-Type": FORM}
    for path, way, status, code in (
        (token, {"json": {"username": "ann", "password": PASSWORD}}, 415, "unsupported_media"),
        (token, {"data": {"username": "ann"}}, 422, "invalid"),
        (token, {"data": {"username": "ann", "password": PASSWORD, "grant_type": "implicit"}}, 422, "invalid"),
        (token, {"content": b"username=%ff\xff", "headers": form}, 400, "malformed"),
        (token, {"content": b"&".join([b"a=b"] * 99), "headers": form}, 400, "malformed"),
        (f"{AUTH}/login", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "malformed"),
        (f"{AUTH}/login", {}, 400, "malformed"),
        (f"{AUTH}/login", {"json": []}, 422, "invalid"),
        (f"{AUTH}/login", {"content": b'{"username": "ann", "password": "\\ud800"}'}, 400, "malformed"),
        (f"{AUTH}/login", {"json": {"username": "ann", "password": PASSWORD, "more": 1}}, 422, "invalid"),
        (f"{AUTH}/login", {"files": {"username": b"ann"}}, 415, "unsupported_media"),
        (f"{AUTH}/register", {"data": {"username": "ann", "password": PASSWORD}}, 415, "unsupported_media"),
        (f"{AUTH}/refresh", {"data": {"refresh_token": "x"}}, 415, "unsupported_media"),
    ):
        answer = await door.http.post(path, **way)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (path, way)
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("first", "again"),
    [("Ann", "aNN"), (" ann ", "ann"), ("Straße", "STRASSE"), ("ﬁn", "fin"), ("ليلى", "ليلى"), ("É", "e\u0301")],
)
async def test_a_name_is_taken_however_it_is_written(door: Live, first: str, again: str) -> None:
    await register(door, first)
    taken = await door.http.post(f"{AUTH}/register", json={"username": again, "password": PASSWORD})
    assert (taken.status_code, taken.json()["code"]) == (409, "username_taken")
    await login(door, again)


async def test_a_name_is_given_once_to_many_who_ask_at_once(door: Live) -> None:
    body = {"username": "ann", "password": PASSWORD}
    answers = await asyncio.gather(*(door.http.post(f"{AUTH}/register", json=body) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5


@pytest.mark.parametrize(
    "username", ["", " ", "a\nb", "a\x00", "\u200b", "a\u202eb", "\u2028", "x" * 101, "ﷺ" * 30, "\ud800", 5, None]
)
async def test_a_name_that_nobody_could_read_is_refused(door: Live, username: object) -> None:
    answer = await post_ascii(door, "register", {"username": username, "password": PASSWORD})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "username")


async def test_a_password_is_taken_as_it_was_typed(door: Live) -> None:
    for number, password in enumerate((" 8 chars", "y" * 200, "كلمة السر", "\u0000\t\n\r\u202e🔑e\u0301")):
        await register(door, f"user{number}", password)
        await login(door, f"user{number}", password)
        for other in (f"x{password}"[:200], password[:-1] + "?"):
            assert (await try_login(door, f"user{number}", other)).status_code == 401
    for wrong in ("seven77", "", "x" * 201, "\ud800xxxxxxxx", None):
        answer = await post_ascii(door, "register", {"username": "bob", "password": wrong})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "password")
        assert "seven77" not in answer.text


async def test_where_registration_is_closed_nobody_is_made_nor_hashed(
    guarded_settings: Settings, audio_pool: AudioPool
) -> None:
    settings = guarded_settings.model_copy(update={"registration": "closed"})
    async with live_parley(settings, audio_pool, work=False) as live:
        turn = live.resources.passwords.turn
        async with turn, turn:  # nobody else could hash now
            for username in ("ann", "local"):
                body = {"username": username, "password": PASSWORD}
                answer = await live.http.post(f"{AUTH}/register", json=body)
                assert (answer.status_code, answer.json()["code"]) == (403, "registration_closed")


async def test_a_new_account_has_the_balance_that_is_set(guarded_settings: Settings, audio_pool: AudioPool) -> None:
    settings = guarded_settings.model_copy(update={"default_balance": Decimal("0.10")})
    async with live_parley(settings, audio_pool, work=False) as live:
        assert (await register(live, "ann"))["balance"] == "0.1"


async def test_the_built_in_user_can_neither_sign_in_nor_be_taken(door: Live) -> None:
    taken = await door.http.post(f"{AUTH}/register", json={"username": "Local", "password": PASSWORD})
    assert (taken.status_code, taken.json()["code"]) == (409, "username_taken")
    for password in (PASSWORD, "", " "):
        assert (await try_login(door, "local", password)).status_code in {401, 422}


async def test_tokens_say_what_they_are_and_neither_passes_for_the_other(door: Live) -> None:
    user = await register(door, "ann")
    pair = await login(door, "ann")
    claims = {
        name: jwt.decode(pair[name], door.resources.settings.signing_key, ["HS256"], audience=audience)
        for name, audience in (("access_token", ACCESS), ("refresh_token", REFRESH))
    }
    for said in claims.values():
        assert said.keys() == {"exp", "iat", "iss", "aud", "sub", "jti", "sid"}
        assert said["sub"] == user["id"]
    assert claims["access_token"]["sid"] == claims["refresh_token"]["sid"]
    assert claims["access_token"]["jti"] != claims["refresh_token"]["jti"]
    assert await me(door, {"access_token": pair["refresh_token"]}) == 401
    assert (await refresh(door, pair["access_token"])).status_code == 401
    assert await me(door, pair) == 200
    assert (await refresh(door, pair["refresh_token"])).status_code == 200


async def test_a_refresh_token_is_good_once_and_sent_again_it_ends_the_login(door: Live) -> None:
    await register(door, "ann")
    first, other = await login(door, "ann"), await login(door, "ann")
    second = (await refresh(door, first["refresh_token"])).json()
    assert second.keys() == first.keys()
    assert await me(door, first) == await me(door, second) == 200
    third = (await refresh(door, second["refresh_token"])).json()
    stolen = await refresh(door, first["refresh_token"])
    assert (stolen.status_code, stolen.json()["code"]) == (401, "unauthorized")
    assert [await me(door, pair) for pair in (first, second, third)] == [401] * 3
    assert (await refresh(door, third["refresh_token"])).status_code == 401
    assert await me(door, other) == 200


async def test_of_two_refreshes_at_once_one_is_given(door: Live) -> None:
    await register(door, "ann")
    pair = await login(door, "ann")
    answers = await asyncio.gather(*(refresh(door, pair["refresh_token"]) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 401]


async def test_a_login_ends_by_the_databases_clock_and_is_swept(guarded: Live) -> None:
    await register(guarded, "ann")
    over, good = await login(guarded, "ann"), await login(guarded, "ann")
    over_id = jwt.decode(over["access_token"], options={"verify_signature": False})["sid"]
    async with guarded.resources.database.write() as db:
        past = update(Login).where(col(Login.id) == UUID(over_id)).values(expires_at=db_now(-1))
        await db.exec(past)
    assert await me(guarded, over) == 401
    assert (await refresh(guarded, over["refresh_token"])).status_code == 401
    async with guarded.resources.database.write() as db:
        await logins.begin(db, owner_id=LOCAL_USER_ID, seconds=-1)
        assert await logins.forget_expired(db) >= 1
        assert len((await db.exec(select(Login))).all()) == 1
    assert await me(guarded, good) == 200


async def test_another_password_ends_every_login_and_begins_one(door: Live) -> None:
    await register(door, "ann")
    here, there = await login(door, "ann"), await login(door, "ann")
    body = {"current_password": PASSWORD, "new_password": "another horse battery"}
    wrong = await door.http.post(
        f"{AUTH}/password", json=body | {"current_password": "wrong horse"}, headers=bearer(here)
    )
    assert (wrong.status_code, wrong.json()["code"]) == (401, "bad_credentials")
    assert await me(door, here) == 200
    answer = await door.http.post(f"{AUTH}/password", json=body, headers=bearer(here))
    assert answer.status_code == 200, answer.text
    fresh = answer.json()
    assert [await me(door, pair) for pair in (here, there, fresh)] == [401, 401, 200]
    for pair in (here, there):
        assert (await refresh(door, pair["refresh_token"])).status_code == 401
    assert (await try_login(door, "ann")).status_code == 401
    await login(door, "ann", "another horse battery")
    assert (await refresh(door, fresh["refresh_token"])).status_code == 200


async def test_of_two_changes_at_once_one_is_made_and_no_login_outlives_it(door: Live) -> None:
    await register(door, "ann")
    pairs = [await login(door, "ann") for _ in range(2)]

    async def change(pair: dict[str, Any], new: str) -> httpx.Response:
        body = {"current_password": PASSWORD, "new_password": new}
        return await door.http.post(f"{AUTH}/password", json=body, headers=bearer(pair))

    answers = await asyncio.gather(
        change(pairs[0], "number one 1"),
        change(pairs[1], "number two 2"),
        try_login(door, "ann"),
        try_login(door, "ann"),
    )
    changed = [answer for answer in answers[:2] if answer.status_code == 200]
    assert len(changed) == 1, [answer.text for answer in answers]
    async with door.resources.database.read() as db:
        assert len((await db.exec(select(Login))).all()) == 1
    assert await me(door, changed[0].json()) == 200


async def disable(live: Live, username: str) -> None:
    async with live.resources.database.write() as db:
        await db.exec(update(User).where(col(User.username) == username).values(disabled=True))


async def test_whoever_can_not_sign_in_is_told_the_same(door: Live) -> None:
    await register(door, "ann")
    await register(door, "bob")
    await disable(door, "bob")
    await door.sign_in("carl")  # without a password
    answers = [
        await try_login(door, "ann", "wrong horse battery"),
        await try_login(door, "nobody"),
        await try_login(door, "bob"),
        await try_login(door, "carl"),
        await try_login(door, "local"),
    ]
    for answer in answers:
        assert same_but_for_the_id(answer) == same_but_for_the_id(answers[0])
    assert (answers[0].status_code, answers[0].json()["code"]) == (401, "bad_credentials")


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
async def test_no_delay_tells_whether_a_name_exists(guarded_settings: Settings, audio_pool: AudioPool) -> None:
    """Each kind in turn and from a new address, and a name four times at most: a limit is quicker than any hash."""
    settings = guarded_settings.model_copy(update={"trusted_proxies": "127.0.0.0/8"})
    async with live_parley(settings, audio_pool, work=False) as live:
        for number in range(5):
            await register(live, f"known{number}")
            await register(live, f"off{number}")
            await disable(live, f"off{number}")
        taken: dict[str, list[float]] = {"known": [], "off": [], "unknown": []}
        await try_login(live, "warm-up")
        for number in range(20):
            for kind, times in taken.items():
                body = {"username": f"{kind}{number % 5}", "password": "wrong horse battery"}
                began = time.perf_counter()
                answer = await live.http.post(
                    f"{AUTH}/login", json=body, headers={"X-Forwarded-For": f"203.0.113.{number}"}
                )
                times.append(time.perf_counter() - began)
                assert answer.status_code == 401
    quickest = {kind: min(times) for kind, times in taken.items()}  # the rest is the machine's noise
    for kind in ("off", "unknown"):
        assert 0.7 < quickest[kind] / quickest["known"] < 1.4, taken


async def until_refused(ask: Callable[[], Awaitable[httpx.Response]], most: int) -> int:
    """How many wrong passwords were looked at before one was not."""
    for number in range(most):
        answer = await ask()
        if answer.status_code == 429:
            assert answer.json()["code"] == "rate_limited"
            assert 0 < int(answer.headers["retry-after"]) <= 120
            return number
        assert answer.status_code == 401, answer.text
    raise AssertionError("nothing was refused")


async def test_a_name_can_be_guessed_at_five_times_a_minute_whether_or_not_it_exists(door: Live) -> None:
    await register(door, "ann")
    for username in ("ann", "nobody"):
        assert 5 <= await until_refused(partial(try_login, door, username, "wrong horse"), 9) <= 6
    refused = [await try_login(door, "Ann"), await try_login(door, "nobody")]
    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    bodies = [{**answer.json(), "request_id": None} for answer in refused]
    assert bodies[0] == bodies[1]
    await register(door, "bob")
    await login(door, "bob")


async def test_guesses_at_once_are_no_more(door: Live) -> None:
    await register(door, "ann")
    answers = await asyncio.gather(*(try_login(door, "ann", f"wrong horse {n}") for n in range(25)))
    looked_at = sum(answer.status_code == 401 for answer in answers)
    assert 5 <= looked_at <= 7  # as many more as there are turns, and the turn of a minute
    assert {answer.status_code for answer in answers} == {401, 429}


async def test_the_right_password_is_not_counted(door: Live) -> None:
    await register(door, "ann")
    for _ in range(8):
        await login(door, "ann")


async def test_an_address_can_sign_in_sixty_times_a_minute_with_whatever_password(door: Live) -> None:
    await register(door, "ann")
    while await door.resources.limits.hit(SIGN_INS_FROM_AN_ADDRESS, "127.0.0.1") is None:
        pass
    turn = door.resources.passwords.turn
    async with turn, turn:  # nobody could hash now
        for password in (PASSWORD, "wrong horse"):
            refused = await try_login(door, "ann", password)
            assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
            assert 0 < int(refused.headers["retry-after"]) <= 120


async def test_the_right_password_counts_as_a_sign_in(door: Live) -> None:
    await register(door, "ann")
    for _ in range(SIGN_INS_FROM_AN_ADDRESS.amount - 1):
        await door.resources.limits.hit(SIGN_INS_FROM_AN_ADDRESS, "127.0.0.1")
    answers = [(await try_login(door, "ann")).status_code for _ in range(6)]
    assert answers[0] == 200
    assert 429 in answers


async def test_a_user_has_a_hundred_logins_and_one_more_ends_the_one_that_would_end_first(door: Live) -> None:
    ann, bob = UUID((await register(door, "ann"))["id"]), UUID((await register(door, "bob"))["id"])
    async with door.resources.database.write() as db:
        others = [await logins.begin(db, owner_id=bob, seconds=1_000) for _ in range(3)]
        begun = [await logins.begin(db, owner_id=ann, seconds=2_000 + number) for number in range(logins.MOST)]
        short = await logins.begin(db, owner_id=ann, seconds=1_000)
    begun[1] = await renewed(door, begun[1])
    async with door.resources.database.write() as db:
        last = [await logins.begin(db, owner_id=ann, seconds=9_000) for _ in range(2)]
    async with door.resources.database.read() as db:
        left = set((await db.exec(select(Login.id))).all())
    assert left == {login.id for login in (*others, *begun[1:2], *begun[3:], *last)}
    assert short.id not in left  # it was good until others came


async def renewed(live: Live, login: Login) -> Login:
    async with live.resources.database.write() as db:
        new = await logins.renew(
            db, owner_id=login.owner_id, login_id=login.id, refresh_id=login.refresh_id, seconds=5_000
        )
    assert new
    return new


async def test_the_current_password_can_not_be_guessed_faster(door: Live) -> None:
    await register(door, "ann")
    pair = await login(door, "ann")

    async def change(current: str) -> httpx.Response:
        body = {"current_password": current, "new_password": "another horse"}
        return await door.http.post(f"{AUTH}/password", json=body, headers=bearer(pair))

    assert 5 <= await until_refused(lambda: change("wrong horse"), 9) <= 6
    assert (await change(PASSWORD)).status_code == 429
    assert await me(door, pair) == 200


async def test_an_address_can_guess_thirty_times_a_minute_and_only_a_trusted_proxy_names_it(
    guarded_settings: Settings, audio_pool: AudioPool
) -> None:
    settings = guarded_settings.model_copy(update={"trusted_proxies": "127.0.0.0/8, 10.0.0.0/8"})
    async with live_parley(settings, audio_pool, work=False) as live:

        async def guess(forwarded: str, number: int) -> httpx.Response:
            body = {"username": f"nobody{number}", "password": "wrong horse"}
            return await live.http.post(f"{AUTH}/login", json=body, headers={"X-Forwarded-For": forwarded})

        numbers = iter(range(1_000))
        guessed = await until_refused(lambda: guess(f"{next(numbers)}.1.1.1, 203.0.113.7, 10.0.0.9", next(numbers)), 40)
        assert 30 <= guessed <= 31
        assert (await guess("203.0.113.7", next(numbers))).status_code == 429
        assert (await guess("203.0.113.8", next(numbers))).status_code == 401
        assert (await guess("2001:db8::1", next(numbers))).status_code == 401
        for _ in range(31):
            await live.resources.limits.hit(password_check.FAILURES_FROM_AN_ADDRESS, "2001:db8::/64")
        assert (await guess("2001:db8::ffff", next(numbers))).status_code == 429
        assert (await guess("2001:db8:0:1::1", next(numbers))).status_code == 401


async def test_without_a_trusted_proxy_nobody_says_where_they_are(door: Live) -> None:
    for _ in range(31):
        await door.resources.limits.hit(password_check.FAILURES_FROM_AN_ADDRESS, "127.0.0.1")
    body = {"username": "ann", "password": PASSWORD}
    answer = await door.http.post(f"{AUTH}/login", json=body, headers={"X-Forwarded-For": "203.0.113.9"})
    assert answer.status_code == 429


@pytest.mark.parametrize("stack", ["servers"], indirect=True)
async def test_api_processes_count_together_and_redis_learns_no_name(
    door: Live, guarded_settings: Settings, audio_pool: AudioPool
) -> None:
    await until_refused(lambda: try_login(door, "ann-of-the-hills", "wrong horse"), 9)
    async with live_parley(guarded_settings, audio_pool, work=False, clean_queue=False) as other:
        assert (await try_login(other, "ann-of-the-hills")).status_code == 429
    keys = [key.decode() for key in await door.resources.queue.redis.keys(f"{COUNTED}:*")]
    assert keys
    assert not [key for key in keys if "hills" in key or "127.0.0.1" in key]


@pytest.mark.parametrize("stack", ["servers"], indirect=True)
async def test_with_redis_paused_signing_in_works_and_guessing_is_still_slow(
    guarded_settings: Settings, audio_pool: AudioPool
) -> None:
    with private(RedisServer) as server:
        settings = guarded_settings.model_copy(update={"redis_url": SecretStr(server.url)})
        async with live_parley(settings, audio_pool, work=False) as live:
            await register(live, "ann")
            server.stall()
            try:
                began = time.monotonic()
                await login(live, "ann")
                assert time.monotonic() - began < 10
                assert 5 <= await until_refused(lambda: try_login(live, "ann", "wrong horse"), 20) <= 12
            finally:
                server.resume()


async def test_an_old_hash_is_renewed_by_the_password(door: Live) -> None:
    await register(door, "ann")
    weak = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8_192, parallelism=1),)).hash(PASSWORD)

    async def kept() -> str | None:
        async with door.resources.database.read() as db:
            return (await db.exec(select(User.password_hash).where(User.username == "ann"))).one()

    async with door.resources.database.write() as db:
        await db.exec(update(User).where(col(User.username) == "ann").values(password_hash=weak))
    assert (await try_login(door, "ann", "wrong horse")).status_code == 401
    assert await kept() == weak
    await login(door, "ann")
    renewed = await kept()
    assert renewed
    assert renewed != weak
    assert renewed.startswith("$argon2id$")
    await login(door, "ann")
    assert await kept() == renewed


async def test_with_auth_off_accounts_work_and_nobody_needs_one(parley_without_worker: Live) -> None:
    live = parley_without_worker
    assert (await live.http.get(f"{AUTH}/me")).json()["id"] == str(LOCAL_USER_ID)
    assert (await live.http.get(f"{API}/admin/user")).status_code == 200
    for path, body in (
        ("logout", None),
        ("password", {"current_password": PASSWORD, "new_password": PASSWORD}),
        ("key", {"name": "Front desk"}),
    ):
        answer = await live.http.post(f"{AUTH}/{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "login_required")
    await register(live, "ann")
    pair = await login(live, "ann")
    assert (await live.http.get(f"{AUTH}/me", headers=bearer(pair))).json()["username"] == "ann"
    assert (await live.http.get(f"{API}/admin/user", headers=bearer(pair))).status_code == 403
    assert (await live.http.post(f"{AUTH}/logout", headers=bearer(pair))).status_code == 204
    assert await me(live, pair) == 401
    for harmless in ({"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}):
        assert (await live.http.get(f"{AUTH}/me", headers=harmless)).status_code == 200


async def test_a_stranger_is_answered_before_the_body_and_open_paths_are_open(door: Live) -> None:
    for path in ("register", "login", "token", "refresh"):
        answer = await door.http.post(f"{AUTH}/{path}", headers={"Authorization": "Bearer garbage"})
        assert answer.status_code in {400, 415, 422}
    for path in ("logout", "password", "key"):
        answer = await door.http.post(f"{AUTH}/{path}", content=b"{", headers={"Content-Type": "text/plain"})
        assert answer.status_code == 401


async def test_the_worker_sweeps_logins(guarded_settings: Settings, audio_pool: AudioPool) -> None:
    async with live_parley(guarded_settings, audio_pool, work=False) as live:
        async with live.resources.database.write() as db:
            await logins.begin(db, owner_id=LOCAL_USER_ID, seconds=-1)
        stopping = asyncio.Event()
        working = asyncio.create_task(
            serve_worker(
                guarded_settings,
                live.resources.queue,
                stopping=stopping,
                audio=audio_pool,
                database=live.resources.database,
            )
        )
        try:
            for _ in range(200):
                async with live.resources.database.read() as db:
                    left = (await db.exec(select(Login))).all()
                if not left:
                    break
                await asyncio.sleep(0.1)
            assert not left
        finally:
            stopping.set()
            await working


async def test_accounts_are_not_made_by_the_dozen(door: Live) -> None:
    await register(door, "ann")
    while await door.resources.limits.hit(REGISTRATIONS_FROM_AN_ADDRESS, "127.0.0.1") is None:
        pass
    refused = await door.http.post(f"{AUTH}/register", json={"username": "bob", "password": PASSWORD})
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) > 0
    await login(door, "ann")
