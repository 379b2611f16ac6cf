# ruff: noqa: RUF001 - letters and digits of other scripts are what is tried
"""Languages, names, models and numbers: what is not as documented is a 422 at once, everywhere."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from shared.iso_639 import LANGUAGES
from shared.models import Agent, Session, User
from tests.conftest import SAMPLES
from tests.live import API, Live

pytestmark = pytest.mark.parametrize("stack", ["embedded"], indirect=True)

NO_LANGUAGES = (
    "xx",
    "zz",
    "EN",
    "En",
    "en-US",
    "en_US",
    "zh_CN",
    "eng",
    "english",
    "e",
    "ｅｎ",
    " en",
    "en ",
    "iw",
    "sh",
)
UNSEEN = ("a\x1b[31mb", "a\x00b", "a\nb", "a\tb", "a\rb", "a\x7fb", "a\x9bb", "a\u2028b", "a\u202eb", "a\u2066b")
NO_NUMBERS: tuple[Any, ...] = (
    True,
    False,
    "5",
    "1_000",
    "１２",
    " 5 ",
    "1e3",
    1.0,
    1.5,
    "0x10",
    "",
    [5],
    {},
    -1,
    0,
    10**12,
)
NOTE = (SAMPLES / "en_13.flac").read_bytes()


async def refused(live: Live, method: str, path: str, body: Any, field: str) -> None:
    answer = await live.http.request(method, f"{API}/{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), (path, body, answer.text)
    assert answer.json()["errors"][0]["field"].startswith(field), (path, body, answer.text)


async def test_only_languages_of_iso_639_1_are_languages(parley_without_worker: Live) -> None:
    live = parley_without_worker
    session = await live.session()
    agent = session["agent_id"]
    for code in NO_LANGUAGES:
        for field, value in (("language", code), ("languages", ["en", code]), ("voices", {code: "alloy"})):
            await refused(live, "POST", "agent", {"name": "x", field: value}, field)
            await refused(live, "PUT", f"agent/{agent}", {"name": "x", field: value}, field)
            await refused(live, "PATCH", f"agent/{agent}", {field: value}, field)
        await refused(live, "POST", "session", {"agent_id": agent, "language": code}, "language")
        await refused(live, "PUT", f"session/{session['id']}", {"agent_id": agent, "language": code}, "language")
        await refused(live, "PATCH", f"session/{session['id']}", {"language": code}, "language")
        answer = await live.post_voice(session["id"], NOTE, language=code)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "language"), code
    assert await live.conversation(session["id"]) == []


async def test_every_language_of_iso_639_1_is_taken(parley_without_worker: Live) -> None:
    live = parley_without_worker
    session = await live.session()
    for code in sorted(LANGUAGES):
        answer = await live.http.patch(f"{API}/session/{session['id']}", json={"language": code})
        assert (answer.status_code, answer.json()["language"]) == (200, code)
    answer = await live.http.patch(f"{API}/agent/{session['agent_id']}", json={"languages": sorted(LANGUAGES)[:50]})
    assert answer.status_code == 200


async def test_the_code_that_was_meant_is_told(parley_without_worker: Live) -> None:
    for sent, meant in (("de-AT", "de"), ("ZH_cn", "zh"), ("ara", "ar"), ("iw", "he"), ("xx", "en")):
        answer = await parley_without_worker.http.post(f"{API}/agent", json={"name": "x", "language": sent})
        assert answer.json()["detail"].endswith(f"such as {meant}"), answer.text


async def test_no_language_is_no_language(parley_without_worker: Live) -> None:
    live = parley_without_worker
    for language in ("", "en"):
        answer = await live.post_voice((await live.session())["id"], NOTE, language=language)
        assert answer.status_code == 202, answer.text


async def test_names_hold_nothing_that_steers_a_terminal(parley_without_worker: Live) -> None:
    live = parley_without_worker
    login = await live.sign_in("ann")
    session = await live.session()
    agent = session["agent_id"]
    for name in UNSEEN:
        model = f"openai/{name}"
        await refused(live, "POST", "agent", {"name": name}, "name")
        await refused(live, "PATCH", f"agent/{agent}", {"name": name}, "name")
        await refused(live, "POST", "agent", {"name": "x", "voice": name}, "voice")
        await refused(live, "POST", "agent", {"name": "x", "voices": {"en": name}}, "voices")
        for role in ("ai_chat", "ai_stt", "ai_tts"):
            await refused(live, "POST", "agent", {"name": "x", role: model}, role)
            await refused(live, "POST", "agent", {"name": "x", role: f"openai/gpt-6-luna,{model}"}, role)
        await refused(live, "POST", "session", {"agent_id": agent, "name": name}, "name")
        await refused(live, "PATCH", f"session/{session['id']}", {"name": name}, "name")
        await refused(live, "POST", "auth/register", {"username": name, "password": "12345678"}, "username")
        await refused(live, "POST", "admin/user", {"username": name, "password": "12345678"}, "username")
        await refused(live, "PATCH", f"admin/user/{agent}", {"allowed_models": [model]}, "allowed_models")
        key = await live.http.post(f"{API}/auth/key", json={"name": name}, headers=login)
        assert (key.status_code, key.json()["errors"][0]["field"]) == (422, "name")
    for name in ("مرحبا", "نرم\u200cافزار", "👩\u200d💻 Ada", "日本", "O'Neil & Söhne <b>"):
        assert (await live.agent(name=name))["name"] == name
        assert (await live.session(agent_id=agent, name=name))["name"] == name
    for blank in ("\u200b", "\ufeff", "\u200e", "\u00a0", "\u3000"):
        await refused(live, "POST", "agent", {"name": blank}, "name")


async def test_models_that_are_known_not_to_be_there_are_refused(parley_without_worker: Live) -> None:
    live = parley_without_worker
    agent = await live.agent()
    for role in ("ai_chat", "ai_stt", "ai_tts"):
        for name in (
            "offline/x",
            "offline/offline,offline/x",
            "Offline/X",
            "nobody/model",
            "openai/gpt-6-luna,nobody/model",
            "groq/whisper-large-v3",
            "openai",
            "openai/",
            "/gpt-6-luna",
            "",
            ",",
            "openai/gpt-6-luna,",
            ",openai/gpt-6-luna",
            "openai/gpt-6-luna,,openai/gpt-6-luna",
            "openai/gpt 6",
        ):
            await refused(live, "POST", "agent", {"name": "x", role: name}, role)
            await refused(live, "PATCH", f"agent/{agent['id']}", {role: name}, role)
    for role, name in (
        ("ai_chat", "openai/gpt-transcribe"),
        ("ai_chat", "openai/gpt-4o-mini-tts"),
        ("ai_stt", "openai/gpt-6-luna"),
        ("ai_tts", "openai/gpt-transcribe"),
    ):
        await refused(live, "POST", "agent", {"name": "x", role: name}, role)
    for name in ("offline/offline", "OFFLINE/offline", "openai/gpt-6-luna , offline/offline", "openai/of-our-own"):
        assert (await live.agent(ai_chat=name))["ai_chat"] == name


async def test_an_administrators_numbers_are_numbers(parley_without_worker: Live) -> None:
    live = parley_without_worker
    await live.sign_in("ann")
    ann = (await live.http.get(f"{API}/admin/user", params={"username": "ann"})).json()["items"][0]["id"]
    for field in ("requests_per_minute", "jobs_at_a_time", "audio_minutes_per_day", "tokens_per_day"):
        for value in NO_NUMBERS:
            await refused(live, "PATCH", f"admin/user/{ann}", {field: value}, field)
        for limit in (1, 1_000, None):
            answer = await live.http.patch(f"{API}/admin/user/{ann}", json={field: limit})
            assert (answer.status_code, answer.json()[field]) == (200, limit)
    for value in (0, 1, "yes", "True", "1", "on", "", 1.0, [], {}):
        await refused(live, "PATCH", f"admin/user/{ann}", {"disabled": value}, "disabled")


async def test_money_is_plain_digits(parley_without_worker: Live) -> None:
    live = parley_without_worker
    await live.sign_in("ann")
    ann = (await live.http.get(f"{API}/admin/user", params={"username": "ann"})).json()["items"][0]["id"]
    wrong: tuple[Any, ...] = (True, False, "1_000", "１２", "٣", " 5 ", "5\n", "1e3", "+5", ".5", "5.", "", "NaN", "inf", "-1", -1, "0x1",
             "1,5", [], "0.00000000001", 10**9)  # fmt: skip
    for value in wrong:
        await refused(live, "PATCH", f"admin/user/{ann}", {"balance": value}, "balance")
        await refused(
            live, "POST", "admin/user", {"username": "x", "password": "12345678", "balance": value}, "balance"
        )
    for given, told in (
        ("20", "20"),
        ("0.0000000001", "0.0000000001"),
        (12.5, "12.5"),
        (7, "7"),
        ("007.50", "7.5"),
        (None, None),
    ):
        answer = await live.http.patch(f"{API}/admin/user/{ann}", json={"balance": given})
        assert (answer.status_code, answer.json()["balance"]) == (200, told)


async def test_a_querys_numbers_flags_and_days_are_plain(parley_without_worker: Live) -> None:
    live = parley_without_worker
    session = (await live.session())["id"]
    lists = (
        "agent",
        "session",
        "job",
        "usage",
        "auth/key",
        "admin/user",
        "admin/job",
        f"message/conversation/{session}",
    )
    for limit in ("1_0", "１２", " 5", "5 ", "+5", "5.0", "1e1", "true", "", "0", "101", "-1", "5,6"):
        for path in lists:
            answer = await live.http.get(f"{API}/{path}", params={"limit": limit})
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "limit"), (path, limit)
    for day in (
        "0",
        "1700000000",
        "2026-01-01T00:00:00",
        "２０２６-01-01",
        "2026-1-1",
        "20260101",
        "today",
        "2026-02-30",
    ):
        for end in ("from", "to"):
            answer = await live.http.get(f"{API}/usage", params={end: day})
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, end), day
    job = await live.text(session)
    for flag in ("yes", "on", "t", "y", "2", "１", "no"):
        answer = await live.http.get(job["links"]["audio"], params={"stream": flag})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "stream"), flag
        answer = await live.post_voice(session, NOTE, reply_audio=flag)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "reply_audio"), flag
    for flag in ("true", "True", "1", "false", "0"):
        assert (await live.post_voice(session, NOTE, reply_audio=flag)).status_code == 202
    for prefer in ("wait=1_0", "wait=2.5", "wait=1e1", "wait=3x", 'wait="4', "wait=-1"):
        answer = await live.http.get(job["links"]["self"], headers={"Prefer": prefer})
        assert (answer.status_code, answer.headers.get("preference-applied")) == (200, None), prefer


async def test_a_keys_end_is_a_moment(parley_without_worker: Live) -> None:
    login = await parley_without_worker.sign_in("ann")
    for moment in (1, 1.5, "1893456000", True, "2030-01-01", "2030-01-01T00:00", "２０３０-01-01T00:00:00Z", "+1 day"):
        body = {"name": "x", "expires_at": moment}
        answer = await parley_without_worker.http.post(f"{API}/auth/key", json=body, headers=login)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "expires_at"), moment
    for moment in ("2030-01-01T00:00:00Z", "2030-01-01 00:00:00.123+03:00"):
        body = {"name": "x", "expires_at": moment}
        assert (await parley_without_worker.http.post(f"{API}/auth/key", json=body, headers=login)).status_code == 201


async def test_a_cursor_is_taken_as_it_was_given_alone(parley_without_worker: Live) -> None:
    live = parley_without_worker
    for _ in range(3):
        await live.agent()
    cursor = (await live.http.get(f"{API}/agent", params={"limit": 1})).json()["next_cursor"]
    assert (await live.http.get(f"{API}/agent", params={"cursor": cursor})).status_code == 200
    for wrong in (f"{cursor}!", f" {cursor}", f"{cursor[:4]} {cursor[4:]}", f"{cursor}\n", f"{cursor}="):
        answer = await live.http.get(f"{API}/agent", params={"cursor": wrong})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor"), wrong


async def test_what_was_stored_by_older_rules_is_still_shown(parley_without_worker: Live) -> None:
    live = parley_without_worker
    session = await live.session()
    async with live.resources.database.write() as db:
        agent = await db.get_one(Agent, UUID(session["agent_id"]))
        agent.name, agent.languages, agent.language, agent.voices = "a\nb", ["xx"], "xx", {"xx": "\x1b"}
        agent.ai_chat = "offline/x"
        stored = await db.get_one(Session, UUID(session["id"]))
        stored.name, stored.language = "a\x1bb", "xx"
        db.add(User(username="a\x1bb", balance=Decimal(1)))
    for path in ("agent", f"agent/{session['agent_id']}", "session", f"session/{session['id']}", "admin/user"):
        assert (await live.http.get(f"{API}/{path}")).status_code == 200, path
    assert (await live.http.patch(f"{API}/agent/{session['agent_id']}", json={"prompt": "x"})).status_code == 200
