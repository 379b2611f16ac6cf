"""What a user with a balance meets: 402 when it does not reach, and usage that adds up."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlmodel import col, update

from shared.models import User
from tests.conftest import SAMPLES
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live


async def customer(live: Live, name: str = "ann", **fields: Any) -> None:
    """Somebody with a balance, or other limits, who asks from now on."""
    live.http.headers.update(await live.sign_in(name, **fields))


async def give(live: Live, balance: Decimal) -> None:
    """Let who asks have another balance."""
    me = await account(live)
    async with live.resources.database.write() as db:
        await db.exec(update(User).where(col(User.id) == UUID(me["id"])).values(balance=balance))


async def account(live: Live) -> dict[str, Any]:
    return dict((await live.http.get(f"{API}/auth/me")).json())


async def usage(live: Live, **asked: str) -> dict[str, Any]:
    answer = await live.http.get(f"{API}/usage", params=asked)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def submit(live: Live, session_id: str, **fields: Any) -> httpx.Response:
    return await live.http.post(f"{API}/message/text", json={"session_id": session_id, "text": "Hello", **fields})


async def test_a_spoken_turn_is_held_back_paid_and_shown_as_usage(guarded: Live, fake: FakeOpenAI) -> None:
    await customer(guarded, balance=Decimal(5))
    session = await guarded.session()
    job = await guarded.done(await guarded.voice(session["id"], SAMPLES / "en_13.flac"))
    assert job["status"] == "succeeded"
    after = await account(guarded)
    assert after["reserved"] == "0"
    by_model = await usage(guarded, by="model")
    assert {item["model"] for item in by_model["items"]} == {
        "openai/gpt-6-luna",
        "openai/gpt-transcribe",
        "openai/gpt-4o-mini-tts",
    }
    spent = Decimal(by_model["total"]["cost"])
    assert spent > 0
    assert Decimal(after["balance"]) == 5 - spent
    assert sum(Decimal(item["cost"]) for item in by_model["items"]) == spent
    assert fake.script.of("chat")[-1].max_tokens == guarded.resources.settings.max_reply_tokens
    for by, key in (
        ("day", datetime.now(UTC).date().isoformat()),
        ("session", session["id"]),
        ("agent", session["agent_id"]),
    ):
        (item,) = (await usage(guarded, by=by))["items"]
        assert item["day" if by == "day" else f"{by}_id"] == key
        assert (item["cost"], item["jobs"]) == (by_model["total"]["cost"], 1)
    deleted = await guarded.http.delete(f"{API}/session/{session['id']}")
    assert deleted.status_code == 204
    assert (await usage(guarded))["total"]["cost"] == by_model["total"]["cost"]  # it is money


async def test_usage_is_found_by_day_and_page(guarded: Live) -> None:
    await customer(guarded, balance=Decimal(1))
    for _ in range(3):
        assert (await guarded.done(await guarded.text((await guarded.session())["id"])))["status"] == "succeeded"
    first = await usage(guarded, by="session", limit="2")
    second = await usage(guarded, by="session", limit="2", cursor=first["next_cursor"])
    found = [item["session_id"] for item in first["items"] + second["items"]]
    assert (len(found), len(set(found)), second["next_cursor"]) == (3, 3, None)
    assert found == sorted(found, reverse=True)
    assert first["total"] == second["total"]
    today = datetime.now(UTC).date()
    assert (await usage(guarded, **{"from": str(today - timedelta(days=1)), "to": str(today + timedelta(days=1))}))[
        "total"
    ]["jobs"] == 3
    assert (await usage(guarded, **{"from": str(today + timedelta(days=2))}))["items"] == []
    assert (await usage(guarded, to=str(today - timedelta(days=2))))["total"]["cost"] == "0"
    assert (await usage(guarded, to="9999-12-31"))["total"]["jobs"] == 3
    nul = {"by": "model", "cursor": "AA"}
    for wrong in ({"by": "colour"}, {"from": "yesterday"}, {"by": "agent", "cursor": "x"}, {"to": "0001-01-01x"}, nul):
        assert (await guarded.http.get(f"{API}/usage", params=wrong)).status_code == 422
    guarded.http.headers.update(await guarded.sign_in("bob"))
    assert (await usage(guarded))["items"] == []


async def test_without_enough_a_submit_is_a_402_and_nothing_is_kept(door: Live) -> None:
    await customer(door, balance=Decimal(0))
    session = await door.session()
    text = await submit(door, session["id"])
    voice = await door.post_voice(session["id"], (SAMPLES / "en_13.flac").read_bytes())
    for answer in (text, voice):
        assert answer.status_code == 402
        assert answer.json()["code"] == "insufficient_balance"
        assert answer.headers["content-type"] == "application/problem+json"
    assert await door.conversation(session["id"]) == []
    assert (await door.http.get(f"{API}/job")).json()["items"] == []
    free = await door.session(agent_id=(await door.agent(ai_chat="offline/offline"))["id"])
    assert (await submit(door, free["id"])).status_code == 202


async def test_of_100_submits_at_once_a_balance_for_10_makes_10_jobs(door: Live) -> None:
    await customer(door, balance=Decimal(10))
    probe = (await submit(door, (await door.session())["id"])).json()
    one = Decimal((await account(door))["reserved"])
    assert (await door.http.post(probe["links"]["cancel"])).status_code == 200
    await give(door, one * 10)
    agent = await door.agent()
    sessions = [await door.session(agent_id=agent["id"]) for _ in range(100)]
    before = (await account(door))["reserved"]

    async def patiently(session_id: str) -> int:
        while (answer := await submit(door, session_id)).status_code == 503:  # noqa: ASYNC110 - it is a server's answer
            await asyncio.sleep(0.5)
        return answer.status_code

    made = await asyncio.gather(*(patiently(session["id"]) for session in sessions))
    assert (before, made.count(202), made.count(402)) == ("0", 10, 90)
    after = await account(door)
    assert Decimal(after["reserved"]) == Decimal(after["balance"]) == one * 10
    queued = (await door.http.get(f"{API}/job", params={"status": "queued"})).json()["items"]
    assert len(queued) == 10


async def test_a_key_that_was_refused_for_money_may_be_used_when_there_is_some(door: Live) -> None:
    await customer(door, balance=Decimal(0))
    session, key = await door.session(), {"Idempotency-Key": "once"}
    body = {"session_id": session["id"], "text": "Hello"}
    assert (await door.http.post(f"{API}/message/text", json=body, headers=key)).status_code == 402
    await give(door, Decimal(1))
    made = await door.http.post(f"{API}/message/text", json=body, headers=key)
    held = (await account(door))["reserved"]
    again = await door.http.post(f"{API}/message/text", json=body, headers=key)
    assert (made.status_code, again.status_code) == (202, 202)
    assert again.headers["idempotent-replayed"] == "true"
    assert (await account(door))["reserved"] == held != "0"


async def test_a_retry_that_can_not_be_paid_is_a_402_and_the_job_stays_failed(guarded: Live, fake: FakeOpenAI) -> None:
    await customer(guarded, balance=Decimal(1))
    fake.script.always("chat", Answer(status=400))
    job = await guarded.done(await guarded.text((await guarded.session())["id"]))
    assert job["status"] == "failed"
    assert (await account(guarded))["balance"] == "1"
    await give(guarded, Decimal(0))
    refused = await guarded.http.post(f"{job['links']['self']}/retry")
    assert (refused.status_code, refused.json()["code"]) == (402, "insufficient_balance")
    fake.script.always("chat", None)
    await give(guarded, Decimal(1))
    assert (await guarded.http.post(f"{job['links']['self']}/retry")).status_code == 202
    assert (await guarded.done(job))["status"] == "succeeded"
    after = await account(guarded)
    assert Decimal(after["balance"]) == 1 - Decimal((await usage(guarded))["total"]["cost"]) < 1


async def test_an_agent_that_became_dearer_is_not_run_for_the_old_price(guarded: Live, fake: FakeOpenAI) -> None:
    await customer(guarded, balance=Decimal(1))
    agent = await guarded.agent()
    session = await guarded.session(agent_id=agent["id"])
    fake.script.add("chat", Answer(hold=True))
    first = await guarded.text(session["id"])
    await guarded.running(first)
    second = await guarded.text(session["id"])
    changed = await guarded.http.patch(
        f"{API}/agent/{agent['id']}", json={"prompt": "x" * 32_000, "ai_chat": "openai/gpt-4o"}
    )
    assert changed.status_code == 200
    fake.script.release()
    assert (await guarded.done(first))["status"] == "succeeded"
    job = await guarded.done(second)
    assert (job["status"], job["error"]["code"]) == ("failed", "insufficient_balance")
    assert len(fake.script.of("chat")) == 1
    assert (await guarded.http.post(f"{job['links']['self']}/retry")).status_code == 202
    assert (await guarded.done(job))["status"] == "succeeded"


async def test_usage_that_a_server_does_not_count_is_estimated_where_it_is_paid_for(
    guarded: Live, fake: FakeOpenAI
) -> None:
    await customer(guarded, balance=Decimal(1))
    fake.script.add("chat", Answer(text="Breakfast is at seven.", usage=False))
    await guarded.done(await guarded.text((await guarded.session())["id"]))
    total = (await usage(guarded))["total"]
    assert total["input_tokens"] > 10
    assert total["output_tokens"] > 3
    assert Decimal(total["cost"]) > 0


async def test_models_an_account_may_not_use_are_named_and_refused(door: Live) -> None:
    await customer(door, allowed_models=["openai/gpt-6-sol", "openai/gpt-transcribe"])
    shown = (await door.http.get(f"{API}/model")).json()["items"]
    assert {one["id"] for one in shown} == {"openai/gpt-6-sol", "openai/gpt-transcribe"}
    refused = await door.http.post(f"{API}/agent", json={"name": "Guide", "ai_chat": "openai/gpt-6-luna"})
    assert refused.status_code == 422
    assert refused.json()["errors"] == [{"field": "ai_chat", "message": "This account may not use openai/gpt-6-luna."}]
    agent = await door.agent(ai_chat="openai/gpt-6-sol")
    changed = await door.http.patch(f"{API}/agent/{agent['id']}", json={"ai_tts": "openai/tts-1"})
    assert changed.status_code == 422
    session = await door.session(agent_id=agent["id"])
    assert (await submit(door, session["id"])).status_code == 202
    spoken = await submit(door, session["id"], reply_audio=True)
    assert (spoken.status_code, spoken.json()["code"]) == (422, "model_not_allowed")
    default = await door.session(agent_id=(await door.agent())["id"])
    assert (await submit(door, default["id"])).json()["code"] == "model_not_allowed"


async def test_so_many_jobs_at_a_time_and_no_more(door: Live) -> None:
    await customer(door, jobs_at_a_time=2)
    session = await door.session()
    made = [await submit(door, session["id"]) for _ in range(3)]
    assert [answer.status_code for answer in made] == [202, 202, 429]
    assert made[2].json()["code"] == "rate_limited"
    assert int(made[2].headers["retry-after"]) > 0
    assert (await door.http.post(made[0].json()["links"]["cancel"])).status_code == 200
    assert (await submit(door, session["id"])).status_code == 202


async def test_the_tokens_of_a_day_are_counted_when_they_are_used(guarded: Live) -> None:
    await customer(guarded, tokens_per_day=1)
    session = await guarded.session()
    job = await guarded.done(await guarded.text(session["id"]))
    assert job["status"] == "succeeded"
    for _ in range(100):  # it is counted after the reply was saved
        refused = await submit(guarded, session["id"])
        if refused.status_code == 429:
            break
        await asyncio.sleep(0.05)
    assert refused.json()["code"] == "rate_limited"
    assert "tokens a day" in refused.json()["detail"]
    assert int(refused.headers["retry-after"]) > 60


async def test_who_followed_a_reply_and_cancels_pays_for_what_was_read(guarded: Live, fake: FakeOpenAI) -> None:
    await customer(guarded, balance=Decimal(1))
    said = Answer(pieces=["Breakfast ", "is ", "at seven."], stall_after=3)
    fake.script.add("chat", said)
    job = await guarded.text((await guarded.session())["id"])
    async with guarded.http.stream("GET", job["links"]["events"]) as events:
        async for line in events.aiter_lines():
            if line == "event: delta":
                break
    assert (await guarded.http.post(job["links"]["cancel"])).status_code == 200
    assert (await guarded.done(job))["status"] == "cancelled"
    spent = Decimal((await usage(guarded))["total"]["cost"])
    assert spent > 0
    after = await account(guarded)
    assert (Decimal(after["balance"]), after["reserved"]) == (1 - spent, "0")


async def test_a_spoken_reply_that_grows_beyond_what_was_held_back_ends_and_may_be_retried(
    guarded: Live, fake: FakeOpenAI
) -> None:
    await customer(guarded, balance=Decimal(1))
    long = " ".join(f"This is sentence number {number} of a reply that does not end." for number in range(600))
    fake.script.add("chat", Answer(text=long))
    job = await guarded.text((await guarded.session())["id"], reply_audio=True)
    job = await guarded.done(job)
    assert (job["status"], job["error"]["code"]) == ("failed", "insufficient_balance")
    by_model = (await usage(guarded, by="model"))["items"]
    assert "waived/waived" not in {item["model"] for item in by_model}
    spoken = fake.script.count("speech")
    assert 0 < spoken < 600
    assert (await account(guarded))["reserved"] == "0"


async def test_an_agent_moved_to_a_model_that_is_not_allowed_is_not_asked(guarded: Live, fake: FakeOpenAI) -> None:
    await customer(guarded, allowed_models=["openai/gpt-6-sol"])
    agent = await guarded.agent(ai_chat="openai/gpt-6-sol")
    session = await guarded.session(agent_id=agent["id"])
    fake.script.add("chat", Answer(hold=True))
    first = await guarded.text(session["id"])
    await guarded.running(first)
    second = await guarded.text(session["id"])
    assert (await guarded.http.patch(f"{API}/agent/{agent['id']}", json={"ai_chat": None})).status_code == 200
    fake.script.release()
    assert (await guarded.done(first))["status"] == "succeeded"
    job = await guarded.done(second)
    assert (job["status"], job["error"]["code"]) == ("failed", "model_not_allowed")
    assert len(fake.script.of("chat")) == 1


@pytest.mark.parametrize("told", [-1_000_000_000, 10**25, True, "12", 2**31])
async def test_what_a_model_server_miscounts_is_estimated(guarded: Live, fake: FakeOpenAI, told: Any) -> None:
    await customer(guarded, balance=Decimal(1))
    chunk = {"choices": [{"delta": {"content": "Seven."}, "finish_reason": "stop"}]}
    counted = {"choices": [], "usage": {"prompt_tokens": told, "completion_tokens": told}}
    body = [f"data: {json.dumps(part)}\n\n" for part in (chunk, counted)]
    fake.script.add("chat", Answer(raw=[*body, "data: [DONE]\n\n"], content_type="text/event-stream"))
    job = await guarded.done(await guarded.text((await guarded.session())["id"]))
    assert job["status"] == "succeeded"
    total = (await usage(guarded))["total"]
    assert 0 < total["input_tokens"] < 1_000
    assert 0 < Decimal(total["cost"]) < Decimal("0.001")
    assert Decimal((await account(guarded))["balance"]) == 1 - Decimal(total["cost"])


async def test_a_retried_job_that_is_tried_again_is_not_asked_to_pay_twice(guarded: Live, fake: FakeOpenAI) -> None:
    await customer(guarded, balance=Decimal(1))
    said = " ".join(f"This sentence has the number {number} and some more words." for number in range(1, 10))
    fake.script.add("chat", Answer(text=said))
    fake.script.always("speech", Answer(status=400))
    job = await guarded.done(await guarded.text((await guarded.session())["id"], reply_audio=True))
    assert job["status"] == "failed"
    fake.script.always("speech", None)
    fake.script.add("speech", Answer(status=500, when="number 9"))
    assert (await guarded.http.post(f"{job['links']['self']}/retry")).status_code == 202
    job = await guarded.done(job)
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert job["attempt"] == 3
    assert fake.script.count("chat") == 1
