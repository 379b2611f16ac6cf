"""Backpressure: beyond the limit a submit is refused at once."""

import asyncio

import pytest

from shared.audio.pool import AudioPool
from shared.config import Settings
from tests.conftest import SAMPLES
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live, live_parley

NOTE = (SAMPLES / "en_13.flac").read_bytes()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_unfinished_jobs": 3, "shutdown_grace": 0.1})


async def submit(live: Live, session_id: str, **headers: str) -> tuple[int, str | None, str | None]:
    answer = await live.http.post(
        f"{API}/message/text", json={"session_id": session_id, "text": "Hello"}, headers=headers
    )
    return answer.status_code, answer.json().get("code"), answer.headers.get("retry-after")


async def test_beyond_the_limit_submits_are_refused_and_change_nothing(parley_without_worker: Live) -> None:
    live = parley_without_worker
    session = (await live.session())["id"]
    answers = await asyncio.gather(*(submit(live, session) for _ in range(10)))
    assert sorted(answers, key=str).count((503, "overloaded", "5")) == 7
    assert [status for status, _, _ in answers].count(202) == 3
    assert len(await live.conversation(session)) == 3
    voice = await live.post_voice(session, NOTE)
    assert (voice.status_code, voice.json()["code"]) == (503, "overloaded")
    assert not (live.resources.settings.data_dir / "blobs" / "upload").exists()


async def test_a_replay_is_no_new_job(parley_without_worker: Live) -> None:
    live = parley_without_worker
    session = (await live.session())["id"]
    key = {"Idempotency-Key": "a"}
    assert (await submit(live, session, **key))[0] == 202
    voice = await live.post_voice(session, NOTE, headers={"Idempotency-Key": "b"})
    await submit(live, session)
    assert (await submit(live, session))[0] == 503
    assert (await submit(live, session, **key))[0] == 202
    again = await live.post_voice(session, NOTE, headers={"Idempotency-Key": "b"})
    assert again.json()["id"] == voice.json()["id"]
    assert (await live.post_voice(session, NOTE, headers={"Idempotency-Key": "c"})).status_code == 503


async def test_what_has_ended_makes_room(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.always("chat", Answer(delay_s=1.0))
    session = (await parley.session())["id"]
    jobs = [await parley.text(session) for _ in range(3)]
    assert (await submit(parley, session))[0] == 503
    fake.script.always("chat", None)
    await parley.done(jobs[-1])
    statuses = []
    for _ in range(100):
        statuses.append((await submit(parley, session))[0])
        if statuses[-1] == 202:
            break
        await asyncio.sleep(0.05)
    assert statuses[-1] == 202


async def test_a_retry_needs_room_too(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(status=400))
    failed = await parley.done(await parley.text((await parley.session())["id"]))
    assert failed["status"] == "failed"
    fake.script.always("chat", Answer(hang=True))
    for session in [(await parley.session())["id"] for _ in range(3)]:
        for _ in range(100):  # the failed one counts until the next count
            if (await submit(parley, session))[0] == 202:
                break
            await asyncio.sleep(0.05)
    answer = await parley.http.post(f"{API}/job/{failed['id']}/retry")
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")


@pytest.mark.parametrize("stack", ["servers"], indirect=True)
async def test_what_another_process_accepted_counts_too(settings: Settings, audio_pool: AudioPool) -> None:
    async with (
        live_parley(settings, audio_pool, work=False) as one,
        live_parley(settings, audio_pool, work=False, clean_queue=False) as two,
    ):
        session = (await one.session())["id"]
        for _ in range(3):
            await one.text(session)
        assert (await submit(two, session))[0] == 503
