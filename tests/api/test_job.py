"""Polling, waiting, listing, cancelling and retrying jobs."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlmodel import select, update

from shared.models import Agent, Blob, BlobStatus, Usage
from shared.redis.queue import JOB_CHANNEL
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live

KEYS = {
    "id", "kind", "status", "stage", "attempt", "queue_position", "session_id", "message_id", "steps", "step_count", "result",
    "error", "created_at", "started_at", "finished_at", "links",
}  # fmt: skip


async def test_a_queued_job_looks_as_designed(parley_without_worker: Live) -> None:
    session = await parley_without_worker.session()
    job = await parley_without_worker.text(session["id"])
    second = await parley_without_worker.text(session["id"])
    assert set(job) == KEYS
    assert set(job["links"]) == {"self", "events", "audio", "cancel"}
    assert (job["status"], job["stage"], job["attempt"], job["steps"], job["result"]) == ("queued", None, 0, [], None)
    assert (job["queue_position"], second["queue_position"]) == (0, 1)
    assert (job["started_at"], job["finished_at"], job["error"]) == (None, None, None)


async def test_a_poll_of_an_unchanged_job_is_304(parley_without_worker: Live) -> None:
    http = parley_without_worker.http
    job = await parley_without_worker.text((await parley_without_worker.session())["id"])
    path = job["links"]["self"]
    first = await http.get(path)
    assert first.headers["retry-after"] == "1"
    etag = first.headers["etag"]
    again = await http.get(path, headers={"If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert (await http.get(path, headers={"If-None-Match": '"other"'})).status_code == 200
    await http.post(job["links"]["cancel"])
    changed = await http.get(path, headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag
    assert "retry-after" not in changed.headers


async def test_the_etag_changes_with_the_place_in_line(parley_without_worker: Live) -> None:
    http = parley_without_worker.http
    session = await parley_without_worker.session()
    first, second = [await parley_without_worker.text(session["id"]) for _ in range(2)]
    before = await http.get(second["links"]["self"])
    behind = {"If-None-Match": before.headers["etag"]}
    assert (await http.get(second["links"]["self"], headers=behind)).status_code == 304
    await http.post(first["links"]["cancel"])
    after = await http.get(second["links"]["self"], headers=behind)
    assert (after.status_code, after.json()["queue_position"]) == (200, 0)


async def unchanged(live: Live, job: dict[str, Any], status: str) -> str:
    """Its ETag, when a poll with it is told no more than a whole one, but for the body."""
    whole = await live.http.get(job["links"]["self"])
    assert whole.json()["status"] == status
    etag = whole.headers["etag"]
    again = await live.http.get(job["links"]["self"], headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    ours = ("etag", "cache-control", "retry-after", "preference-applied")
    assert [again.headers.get(name) for name in ours] == [whole.headers.get(name) for name in ours]
    return etag


async def test_a_304_has_the_headers_of_the_200_in_every_state(parley: Live, fake: FakeOpenAI) -> None:
    session = await parley.session()
    fake.script.add("chat", Answer(delay_s=2.0))
    first, second = [await parley.text(session["id"]) for _ in range(2)]
    await parley.running(first)
    etags = [await unchanged(parley, second, "queued"), await unchanged(parley, first, "running")]
    await parley.http.post(first["links"]["cancel"])
    etags += [await unchanged(parley, first, "cancelling")]
    await parley.done(second)
    etags += [await unchanged(parley, second, "succeeded"), await unchanged(parley, first, "cancelled")]
    assert [etag.partition("-")[2] for etag in etags] == ['1"', '0"', '0"', '0"', '0"']
    assert len({etags[0], etags[3]}) == 2
    assert len({etags[1], etags[2], etags[4]}) == 3


@pytest.mark.parametrize("named", ["{etag}", "W/{etag}", '"x", {etag}', '"x",W/{etag} , "y"', "*"])
async def test_a_poll_may_name_its_etag_as_http_allows(parley_without_worker: Live, named: str) -> None:
    http = parley_without_worker.http
    job = await parley_without_worker.text((await parley_without_worker.session())["id"])
    etag = (await http.get(job["links"]["self"])).headers["etag"]
    for wait in ({}, {"Prefer": "wait=1"}):
        answer = await http.get(job["links"]["self"], headers={"If-None-Match": named.format(etag=etag), **wait})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
        assert answer.headers.get("preference-applied") == wait.get("Prefer")
        assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("named", ["", '""', '"x", "y"', "1-0", '"1-00"', "x", ",", '* , "x"'])
async def test_a_poll_that_names_another_etag_gets_the_job(parley_without_worker: Live, named: str) -> None:
    http = parley_without_worker.http
    job = await parley_without_worker.text((await parley_without_worker.session())["id"])
    answer = await http.get(job["links"]["self"], headers={"If-None-Match": named})
    assert (answer.status_code, answer.json()["id"]) == (200, job["id"])


async def test_no_etag_tells_of_a_job_that_is_not_there(parley_without_worker: Live) -> None:
    live = parley_without_worker
    job = await live.text((await live.session())["id"])
    etag = (await live.http.get(job["links"]["self"])).headers["etag"]
    await live.http.delete(f"{API}/session/{job['session_id']}")
    for job_id in (job["id"], uuid4()):
        for named in (etag, "*", '"x"'):
            answer = await live.http.get(f"{API}/job/{job_id}", headers={"If-None-Match": named})
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
            assert "etag" not in answer.headers


async def test_waiting_on_submit_and_on_poll_returns_the_finished_job(parley: Live, fake: FakeOpenAI) -> None:
    session = await parley.session()
    submitted = await parley.http.post(
        f"{API}/message/text", json={"session_id": session["id"], "text": "Hi"}, headers={"Prefer": "wait=30"}
    )
    assert submitted.status_code == 200
    assert submitted.headers["preference-applied"] == "wait=30"
    assert submitted.json()["status"] == "succeeded"
    fake.script.add("chat", Answer(delay_s=0.5))
    job = await parley.text(session["id"])
    polled = await parley.http.get(job["links"]["self"], headers={"Prefer": "respond-async, wait=30"})
    assert polled.json()["status"] == "succeeded"


async def test_waiting_in_vain_returns_the_unfinished_job_and_cancels_nothing(parley_without_worker: Live) -> None:
    live = parley_without_worker
    session = await live.session()
    submitted = await live.http.post(
        f"{API}/message/text", json={"session_id": session["id"], "text": "Hi"}, headers={"Prefer": "wait=1"}
    )
    assert submitted.status_code == 202
    assert submitted.json()["status"] == "queued"
    polled = await live.http.get(submitted.headers["location"], headers={"Prefer": "wait=1"})
    assert (polled.status_code, polled.json()["status"]) == (200, "queued")
    for odd in ("wait=", "wait=-1", "wait=abc", "wait", ""):
        answer = await live.http.get(submitted.headers["location"], headers={"Prefer": odd})
        assert "preference-applied" not in answer.headers


async def test_a_waiter_is_woken_by_a_cancel(parley_without_worker: Live) -> None:
    live = parley_without_worker
    job = await live.text((await live.session())["id"])
    waiting = asyncio.create_task(live.http.get(job["links"]["self"], headers={"Prefer": "wait=20"}))
    await asyncio.sleep(0.2)
    assert (await live.http.post(job["links"]["cancel"])).json()["status"] == "cancelled"
    assert (await waiting).json()["status"] == "cancelled"


async def test_a_queued_job_is_cancelled_at_once_and_the_next_one_goes_on(parley: Live, fake: FakeOpenAI) -> None:
    session = await parley.session()
    fake.script.add("chat", Answer(delay_s=1.0))
    first, second, third = [await parley.text(session["id"], f"number {n}") for n in range(3)]
    cancelled = await parley.http.post(second["links"]["cancel"])
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert (await parley.http.post(second["links"]["cancel"])).json()["status"] == "cancelled"
    assert (await parley.done(first))["status"] == (await parley.done(third))["status"] == "succeeded"
    assert (await parley.http.post(first["links"]["cancel"])).status_code == 409
    roles = [(m["seq"], m["role"]) for m in await parley.conversation(session["id"])]
    assert roles == [(1, "user"), (2, "assistant"), (3, "user"), (5, "user"), (6, "assistant")]
    assert fake.script.count("chat") == 2


async def test_a_running_job_is_cancelled_without_a_reply(parley: Live, fake: FakeOpenAI) -> None:
    session = await parley.session()
    fake.script.add("chat", Answer(delay_s=3.0))
    job = await parley.text(session["id"])
    await parley.running(job)
    assert (await parley.http.post(job["links"]["cancel"])).json()["status"] == "cancelling"
    listed = (await parley.http.get(f"{API}/job", params={"status": "cancelling"})).json()["items"]
    assert [item["id"] for item in listed] == [job["id"]]
    assert (await parley.done(job))["status"] == "cancelled"
    assert [m["role"] for m in await parley.conversation(session["id"])] == ["user"]


async def test_jobs_are_listed_by_status_and_session(parley_without_worker: Live) -> None:
    live = parley_without_worker
    one, two = await live.session(), await live.session()
    a, b, c = await live.text(one["id"]), await live.text(one["id"]), await live.text(two["id"])
    await live.http.post(a["links"]["cancel"])

    async def ids(**params: str) -> list[str]:
        return [job["id"] for job in (await live.http.get(f"{API}/job", params=params)).json()["items"]]

    assert await ids() == [c["id"], b["id"], a["id"]]
    assert await ids(status="queued") == [c["id"], b["id"]]
    assert await ids(session_id=one["id"]) == [b["id"], a["id"]]
    assert await ids(status="cancelled", session_id=one["id"]) == [a["id"]]
    assert await ids(session_id=str(uuid4())) == []
    assert (await live.http.get(f"{API}/job", params={"status": "sleeping"})).status_code == 422


async def test_a_failing_model_fails_the_job_and_keeps_what_was_saved(parley: Live, fake: FakeOpenAI) -> None:
    session = await parley.session()
    fake.script.always("speech", Answer(status=401))
    job = await parley.done(await parley.text(session["id"], reply_audio=True))
    assert job["status"] == "failed"
    assert job["error"]["code"] == "upstream_unauthorized"
    assert "sk-test-canary" not in str(job)
    assert job["result"]["text"]
    assert job["result"]["audio"] is None
    assert len(await parley.conversation(session["id"])) == 2
    no_sound = await parley.http.get(job["links"]["audio"])
    assert (no_sound.status_code, no_sound.json()["code"]) == (404, "no_audio")

    fake.script.always("speech", None)
    retried = await parley.http.post(f"{API}/job/{job['id']}/retry")
    assert retried.status_code == 202
    job = await parley.done(job)
    assert job["status"] == "succeeded"
    assert job["result"]["audio"]
    assert fake.script.count("chat") == 1
    assert (await parley.http.post(f"{API}/job/{job['id']}/retry")).status_code == 409


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_transient_failure_is_retried_from_its_step(parley: Live, fake: FakeOpenAI, status: int) -> None:
    session = await parley.session()
    fake.script.add("speech", Answer(status=status))
    job = await parley.done(await parley.text(session["id"], "One.", reply_audio=True))
    assert job["status"] == "succeeded"
    assert job["attempt"] == 2
    assert fake.script.count("chat") == 1


async def test_attempts_run_out(parley: Live, fake: FakeOpenAI) -> None:
    session = await parley.session()
    fake.script.always("chat", Answer(status=500, headers={"retry-after": "0"}))
    job = await parley.done(await parley.text(session["id"]))
    assert (job["status"], job["attempt"], job["error"]["code"]) == ("failed", 4, "upstream_error")
    assert fake.script.count("chat") == 4
    assert job["steps"][0]["status"] == "failed"
    assert job["steps"][0]["model"] == "openai/gpt-6-luna"


async def test_a_model_that_nobody_serves_fails_the_job_at_once(parley: Live) -> None:
    agent = await parley.agent()
    async with parley.resources.database.write() as db:  # no agent may name it any more
        (await db.get_one(Agent, UUID(agent["id"]))).ai_chat = "offline/no-such-model"
    job = await parley.done(await parley.text((await parley.session(agent_id=agent["id"]))["id"]))
    assert (job["status"], job["attempt"], job["error"]["code"]) == ("failed", 1, "model_not_found")


async def test_retry_after_is_honoured(parley: Live, fake: FakeOpenAI) -> None:
    session = await parley.session()
    fake.script.add("chat", Answer(status=429, headers={"retry-after": "2"}))
    await parley.done(await parley.text(session["id"]))
    first, second = fake.script.of("chat")
    assert second.at - first.at >= 2.0


async def test_a_failed_turn_does_not_block_the_ones_behind_it(parley: Live, fake: FakeOpenAI) -> None:
    session = await parley.session()
    fake.script.add("chat", Answer(status=401, delay_s=0.3))
    first, second = await parley.text(session["id"]), await parley.text(session["id"])
    assert (await parley.done(first))["status"] == "failed"
    assert (await parley.done(second))["status"] == "succeeded"


async def test_audio_of_an_unfinished_job_is_not_ready(parley_without_worker: Live) -> None:
    job = await parley_without_worker.text((await parley_without_worker.session())["id"], reply_audio=True)
    answer = await parley_without_worker.http.get(job["links"]["audio"])
    assert answer.status_code == 409
    assert answer.json()["code"] == "not_ready"
    assert answer.headers["retry-after"] == "1"


async def test_unknown_jobs_are_404_everywhere(parley_without_worker: Live) -> None:
    http, missing = parley_without_worker.http, f"{API}/job/{uuid4()}"
    for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry"), ("GET", "/audio"), ("GET", "/events")):
        assert (await http.request(method, missing + path)).status_code == 404


async def test_deleting_the_session_ends_the_wait_for_its_job(parley_without_worker: Live) -> None:
    live = parley_without_worker
    session = await live.session()
    job = await live.text(session["id"])
    waiting = asyncio.create_task(live.http.get(job["links"]["self"], headers={"Prefer": "wait=20"}))
    await asyncio.sleep(0.2)
    await live.http.delete(f"{API}/session/{session['id']}")
    assert (await waiting).status_code == 404


SIX = " ".join(f"This is sentence number {n} of the reply." for n in range(6))


async def test_a_failed_sentence_costs_the_others_nothing(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.always("chat", Answer(text=SIX))
    fake.script.add("speech", Answer(status=500))
    job = await parley.done(await parley.text((await parley.session())["id"], reply_audio=True))
    assert (job["status"], job["attempt"]) == ("succeeded", 2)
    assert len([step for step in job["steps"] if step["name"].startswith("speak/")]) == 6
    assert fake.script.count("speech") == 7


async def test_words_that_no_database_can_hold_are_mended(parley: Live, fake: FakeOpenAI) -> None:
    pieces = ["He\x00llo ", "\ud83d", "\ude00", " and \ud800 bye."]
    chunks = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    raw = [f"data: {json.dumps({'id': 'x', **chunk})}\n\n" for chunk in chunks]
    fake.script.add("chat", Answer(raw=[*raw, "data: [DONE]\n\n"], content_type="text/event-stream"))
    job = await parley.done(await parley.text((await parley.session())["id"]))
    assert job["status"] == "succeeded", job
    assert job["result"]["text"] == "Hello 😀 and \ufffd bye."
    assert fake.script.count("chat") == 1


async def test_a_retried_turn_fills_its_own_place_and_sees_only_what_came_before(
    parley: Live, fake: FakeOpenAI
) -> None:
    session = (await parley.session())["id"]
    fake.script.add("chat", Answer(status=401))
    first = await parley.done(await parley.text(session, "The first."))
    await parley.done(await parley.text(session, "مرحبا، كيف حالك؟"))
    await parley.http.post(f"{API}/job/{first['id']}/retry")
    assert (await parley.done(first))["status"] == "succeeded"
    assert [message["content"] for message in fake.script.of("chat")[-1].messages[1:]] == ["The first."]
    assert [message["seq"] for message in await parley.conversation(session)] == [1, 2, 3, 4]
    assert (await parley.http.get(f"{API}/session/{session}")).json()["language"] == "ar"  # the newest turn's


async def failed_at_its_second_sentence(parley: Live, fake: FakeOpenAI, agent_id: str) -> dict[str, Any]:
    fake.script.add("chat", Answer(text="This is the first sentence. This is the second one."))
    fake.script.add("speech", Answer(status=401, when="second"))
    session = await parley.session(agent_id=agent_id)
    job = await parley.done(await parley.text(session["id"], reply_audio=True))
    assert (job["status"], fake.script.count("speech")) == ("failed", 2)
    return job


async def test_a_voice_changed_before_the_retry_is_used_for_all_of_the_reply(parley: Live, fake: FakeOpenAI) -> None:
    agent = await parley.agent(voice="alloy")
    job = await failed_at_its_second_sentence(parley, fake, agent["id"])
    await parley.http.patch(f"{API}/agent/{agent['id']}", json={"voice": "onyx"})
    await parley.http.post(f"{API}/job/{job['id']}/retry")
    assert (await parley.done(job))["status"] == "succeeded"
    assert [call.voice for call in fake.script.of("speech")[2:]] == ["onyx", "onyx"]
    async with parley.resources.database.read() as db:
        used = (await db.exec(select(Usage.characters).where(Usage.step == "speak/1"))).one()
    assert used == 2 * len("This is the first sentence.")  # it was spoken, and is to be paid for, twice


async def test_a_sentence_whose_bytes_went_missing_is_spoken_again(parley: Live, fake: FakeOpenAI) -> None:
    job = await failed_at_its_second_sentence(parley, fake, (await parley.agent())["id"])
    async with parley.resources.database.read() as db:
        (sentence,) = (await db.exec(select(Blob).where(Blob.status == BlobStatus.READY))).all()
    await parley.resources.blobs.delete(sentence.key)
    await parley.http.post(f"{API}/job/{job['id']}/retry")
    assert (await parley.done(job))["status"] == "succeeded"
    assert fake.script.count("speech") == 4


async def test_a_finished_sentence_is_not_spoken_again(parley: Live, fake: FakeOpenAI) -> None:
    job = await failed_at_its_second_sentence(parley, fake, (await parley.agent())["id"])
    await parley.http.post(f"{API}/job/{job['id']}/retry")
    assert (await parley.done(job))["status"] == "succeeded"
    assert fake.script.count("speech") == 3


async def test_a_model_whose_provider_is_gone_fails_the_job_and_not_the_poll(parley: Live) -> None:
    agent = await parley.agent()
    async with parley.resources.database.write() as db:
        await db.exec(update(Agent).values(ai_tts="vanished/model"))
    job = await parley.done(await parley.text((await parley.session(agent_id=agent["id"]))["id"], reply_audio=True))
    assert (job["status"], job["error"]["code"]) == ("failed", "model_not_found")
    assert (await parley.http.get(f"{API}/job")).json()["items"][0]["id"] == job["id"]


async def test_garbage_on_the_channel_does_not_deafen_the_waiters(parley_without_worker: Live) -> None:
    live = parley_without_worker
    job = await live.text((await live.session())["id"])
    async with live.resources.events.watch(UUID(job["id"])) as told:
        while not told.is_set():  # until the subscription stands
            await live.resources.queue.redis.publish(JOB_CHANNEL, job["id"])
            await asyncio.sleep(0.05)
        await live.resources.queue.redis.publish(JOB_CHANNEL, "garbage")
        told.clear()
        await live.http.post(job["links"]["cancel"])
        await told.wait()
