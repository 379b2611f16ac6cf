"""Several models for a role: whatever the first one does, the answer comes, once, and says whose it is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from shared.audio.pool import AudioPool
from shared.config import Settings
from tests.api.test_balance import account, customer, usage
from tests.api.test_events import Event, all_of, follow, text_of
from tests.conftest import SAMPLES
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import Live, live_parley

CATALOGUE = """
[[model]]
id = "openai/first"
kind = "chat"
per_million_input_tokens = 1
per_million_output_tokens = 1

[[model]]
id = "other/second"
kind = "chat"
per_million_input_tokens = 3
per_million_output_tokens = 5
"""
SHORT = {"connect_timeout_s": 1, "first_byte_timeout_s": 1, "idle_timeout_s": 1, "total_timeout_s": 3}
BREAKS = {
    "refuses the key": Answer(status=401),
    "has no such model": Answer(status=404),
    "is limited": Answer(status=429, headers={"retry-after": "30"}),
    "has no quota": Answer(status=429, error={"code": "insufficient_quota"}),
    "fails": Answer(status=500),
    "drops the connection": Answer(drop=True),
    "says nothing": Answer(hang=True),
    "stalls": Answer(stall_after=3),
    "breaks off": Answer(cut_after=3),
    "gives an empty reply": Answer(pieces=[]),
    "wants a tool": Answer(tool_call=True),
    "sends garbage": Answer(raw=["<html>"]),
}


@pytest.fixture(params=["embedded"])
def stack(request: pytest.FixtureRequest) -> str:
    """Models are chosen alike with any stores."""
    return str(request.param)


@pytest.fixture
def other() -> Iterator[FakeOpenAI]:
    """Another model server, healthy until it is told otherwise."""
    with FakeOpenAI() as server:
        yield server


@pytest.fixture
def settings(settings: Settings, other: FakeOpenAI, request: pytest.FixtureRequest) -> Settings:
    """Two servers for each role."""
    catalogue = settings.data_dir / "models.toml"
    catalogue.write_text(CATALOGUE)
    two = {
        "model_catalogue": catalogue,
        "providers": {"other": {"base_url": other.url}},
        "ai_chat": "openai/first,other/second",
        "ai_stt": "openai/gpt-transcribe,other/whisper",
        "ai_tts": "openai/gpt-4o-mini-tts,other/kokoro",
    }
    known = settings.model_dump(exclude_unset=True)
    return Settings(_env_file=None, **{**known, **SHORT, **two, **getattr(request, "param", {})})


@pytest.fixture
async def live(settings: Settings, audio_pool: AudioPool) -> AsyncIterator[Live]:
    async with live_parley(settings, audio_pool) as running:
        yield running


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - the server lives in another thread
        await asyncio.sleep(0.02)


def models_of(job: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["model"] for step in job["steps"]}


@pytest.mark.parametrize("answer", BREAKS.values(), ids=BREAKS)
async def test_whatever_the_first_model_does_the_second_answers_in_the_same_attempt(
    live: Live, fake: FakeOpenAI, other: FakeOpenAI, answer: Answer
) -> None:
    fake.script.always("chat", answer)
    other.script.always("chat", Answer(text="Here I am."))
    job = await live.done(await live.text((await live.session())["id"]))
    assert (job["status"], job["attempt"], job["result"]["text"]) == ("succeeded", 1, "Here I am.")
    assert models_of(job) == {"reply": "other/second"}
    assert (fake.script.count("chat"), other.script.count("chat")) == (1, 1)


async def test_who_failed_is_passed_over_by_the_next_messages(live: Live, fake: FakeOpenAI, other: FakeOpenAI) -> None:
    fake.script.always("chat", Answer(status=429, error={"code": "insufficient_quota"}))
    for _ in range(3):
        assert (await live.done(await live.text((await live.session())["id"])))["status"] == "succeeded"
    assert (fake.script.count("chat"), other.script.count("chat")) == (1, 3)


async def test_when_none_answers_the_job_is_tried_again_and_then_told(
    live: Live, fake: FakeOpenAI, other: FakeOpenAI
) -> None:
    fake.script.always("chat", Answer(status=401))
    other.script.add("chat", Answer(status=500))
    job = await live.done(await live.text((await live.session())["id"]))
    assert (job["status"], job["attempt"]) == ("succeeded", 2)
    other.script.always("chat", Answer(status=403))
    job = await live.done(await live.text((await live.session())["id"]))
    assert (job["status"], job["error"]["code"]) == ("failed", "upstream_unauthorized")


async def test_words_of_a_model_that_broke_off_are_taken_back(live: Live, fake: FakeOpenAI, other: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(pieces=["It ", "begins ", "one way, "], chunk_delay_s=0.1, cut_after=4))
    other.script.add("chat", Answer(text="It goes another way."))
    job = await live.text((await live.session())["id"])
    events = await all_of(live, job)
    names = [event.name for event in events]
    assert text_of(events[: names.index("reset")]).startswith("It begins")
    assert text_of(events) == events[-1].data["result"]["text"] == "It goes another way."
    assert {event.id.partition("-")[0] for event in events if event.name != "status"} == {"1"}


@pytest.mark.parametrize("stack", ["embedded", "servers"], indirect=True)
async def test_words_that_were_taken_back_while_redis_was_lost_do_not_stay(
    live: Live, fake: FakeOpenAI, other: FakeOpenAI
) -> None:
    fake.script.add("chat", Answer(pieces=["It ", "begins ", "one way, "], chunk_delay_s=0.1, stall_after=4))
    other.script.add("chat", Answer(text="It ends well. " * 5, hold=True))
    job = await live.text((await live.session())["id"])
    seen: list[Event] = []
    async for event in follow(live, job):
        seen.append(event)
        if event.name == "delta" and "one way" in text_of(seen):
            await until(lambda: bool(other.script.of("chat")))  # the reset is on its way
            await asyncio.sleep(0.2)
            await live.resources.queue.redis.flushall()
            late = asyncio.create_task(all_of(live, job, **{"Last-Event-ID": event.id}))
            other.script.release()
    whole = seen[-1].data["result"]["text"]
    assert text_of(seen) == whole
    assert text_of(await late, "It begins one way,") == whole


async def test_a_reply_that_breaks_off_before_its_first_sentence_is_spoken_begins_anew(
    live: Live, fake: FakeOpenAI, other: FakeOpenAI
) -> None:
    fake.script.add("chat", Answer(pieces=["It ", "begins "], cut_after=3))
    other.script.add("chat", Answer(text="It goes another way."))
    job = await live.done(await live.text((await live.session())["id"], reply_audio=True))
    assert (job["status"], job["attempt"], job["result"]["text"]) == ("succeeded", 1, "It goes another way.")
    assert [call.text for call in fake.script.of("speech")] == ["It goes another way."]


async def test_a_reply_that_breaks_off_while_it_is_spoken_is_the_others_in_the_next_attempt(
    live: Live, fake: FakeOpenAI, other: FakeOpenAI
) -> None:
    """Another worker would have no circuit that is open: the failed step says whom to ask last."""
    pieces = ["The first sentence is here. ", "And then ", "it "]
    fake.script.always("chat", Answer(pieces=pieces, chunk_delay_s=0.2, cut_after=4))
    other.script.always("chat", Answer(text="The first sentence is here. The second one is another."))
    job = await live.done(await live.text((await live.session())["id"], reply_audio=True))
    assert (job["status"], job["attempt"]) == ("succeeded", 2)
    assert job["result"]["text"] == "The first sentence is here. The second one is another."
    assert models_of(job)["reply"] == "other/second"
    spoken = [call.text for call in fake.script.of("speech")]
    assert spoken == ["The first sentence is here.", "The second one is another."], "what was spoken is not paid twice"
    sound = await live.http.get(job["links"]["audio"])
    assert sound.headers["content-type"] == "audio/mpeg"


async def test_a_reply_that_is_ended_for_good_while_it_is_spoken_is_the_others_too(
    live: Live, fake: FakeOpenAI, other: FakeOpenAI
) -> None:
    begun = 'data: {"choices": [{"index": 0, "delta": {"content": "The first sentence is here. And "}}]}\n\n'
    ended = 'data: {"error": {"code": "insufficient_quota", "message": "No money."}}\n\n'
    fake.script.always("chat", Answer(raw=[begun, ended], content_type="text/event-stream", chunk_delay_s=0.2))
    other.script.always("chat", Answer(text="It goes another way."))
    job = await live.done(await live.text((await live.session())["id"], reply_audio=True))
    assert (job["status"], job["attempt"], job["result"]["text"]) == ("succeeded", 2, "It goes another way.")


async def test_an_agents_voice_is_the_first_models_and_another_one_speaks_with_its_own(
    live: Live, fake: FakeOpenAI, other: FakeOpenAI
) -> None:
    agent = await live.agent(voice="nova")
    session = await live.session(agent_id=agent["id"])
    fake.script.add("speech", Answer(status=503))
    job = await live.done(await live.text(session["id"], reply_audio=True))
    assert job["status"] == "succeeded"
    assert fake.script.of("speech")[0].voice == "nova"
    assert "nova" not in {call.voice for call in other.script.of("speech")}


async def test_hearing_and_speaking_fall_back_as_well(live: Live, fake: FakeOpenAI, other: FakeOpenAI) -> None:
    fake.script.always("transcriptions", Answer(status=503))
    fake.script.add("chat", Answer(text="This is the first sentence. This is the second sentence."))
    fake.script.add("speech", Answer(status=500, when="second"))
    other.script.always("transcriptions", Answer(text="Good morning to you all.", language="english"))
    job = await live.done(await live.voice((await live.session())["id"], SAMPLES / "en_13.flac"))
    assert (job["status"], job["attempt"]) == ("succeeded", 1)
    assert job["result"]["transcript"] == "Good morning to you all."
    assert models_of(job) == {
        "transcribe": "other/whisper",
        "reply": "openai/first",
        "speak/1": "openai/gpt-4o-mini-tts",
        "speak/2": "other/kokoro",
    }


async def test_a_reply_is_spoken_to_its_end_by_the_model_that_began_it(live: Live, fake: FakeOpenAI) -> None:
    pieces = [f"This is sentence number {number}. And " for number in ["one", "two", "three", "four"]]
    fake.script.add("chat", Answer(pieces=pieces, chunk_delay_s=0.4))  # longer than who failed is passed over
    fake.script.add("speech", Answer(status=500, when="one"))
    job = await live.done(await live.text((await live.session())["id"], reply_audio=True))
    speakers = [model for name, model in models_of(job).items() if name.startswith("speak/")]
    assert speakers == ["other/kokoro"] * len(speakers)
    assert len(speakers) > len(pieces) / 2
    assert fake.script.count("speech") == 1


async def test_a_retried_reply_is_spoken_to_its_end_by_the_model_that_began_it(
    live: Live, fake: FakeOpenAI, other: FakeOpenAI
) -> None:
    fake.script.add("chat", Answer(text="This is the first sentence. This is the second sentence."))
    fake.script.add("speech", Answer(status=500, when="first"), Answer(status=400, when="second"))
    other.script.add("speech", Answer(status=400, when="second"))
    session = (await live.session())["id"]
    job = await live.done(await live.text(session, reply_audio=True))
    assert job["status"] == "failed"
    while fake.script.count("speech") < 3:  # until its time has come again
        await live.done(await live.text(session, reply_audio=True))
    await live.http.post(f"{job['links']['self']}/retry")
    assert {**models_of(await live.done(job)), "reply": ""} == {
        "reply": "", "speak/1": "other/kokoro", "speak/2": "other/kokoro"
    }  # fmt: skip


async def test_an_agents_own_list_is_walked_too(live: Live, fake: FakeOpenAI, other: FakeOpenAI) -> None:
    fake.script.always("chat", Answer(status=500))
    agent = await live.agent(ai_chat="openai/of-mine, other/of-theirs")
    assert agent["ai_chat"] == "openai/of-mine, other/of-theirs"
    job = await live.done(await live.text((await live.session(agent_id=agent["id"]))["id"]))
    assert models_of(job) == {"reply": "other/of-theirs"}
    assert [call.model for call in (*fake.script.of("chat"), *other.script.of("chat"))] == ["of-mine", "of-theirs"]


@pytest.mark.parametrize(
    "named", ["openai/x,", ",openai/x", "openai/x,,other/y", "openai/x,nobody/y", "openai/x other/y"]
)
async def test_a_list_with_a_model_that_nobody_serves_is_refused(live: Live, named: str) -> None:
    answer = await live.http.post("/api/v1/agent", json={"name": "A", "ai_chat": named})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "ai_chat")


@pytest.mark.parametrize("settings", [{"auth": "on", "jwt_secret": "0123456789abcdef" * 2}], indirect=True)
async def test_who_answered_is_paid_and_the_dearest_is_held_back(
    live: Live, fake: FakeOpenAI, other: FakeOpenAI
) -> None:
    await customer(live, balance=Decimal(5))
    session = await live.session()
    other.script.add("chat", Answer(hold=True))
    fake.script.add("chat", Answer(status=500))
    job = await live.text(session["id"])
    await live.running(job)
    held = Decimal((await account(live))["reserved"])
    assert held > 5 * Decimal(live.resources.settings.max_reply_tokens) / 1_000_000  # at the second one's price
    await until(lambda: bool(other.script.of("chat")))
    other.script.release()
    assert (await live.done(job))["status"] == "succeeded"
    by_model = await usage(live, by="model")
    assert [item["model"] for item in by_model["items"]] == ["other/second"]
    assert Decimal(by_model["total"]["cost"]) == (11 * Decimal(3) + 7 * Decimal(5)) / 1_000_000


@pytest.mark.parametrize("settings", [{"auth": "on", "jwt_secret": "0123456789abcdef" * 2}], indirect=True)
async def test_models_that_an_account_may_not_use_are_left_out_of_its_lists(
    live: Live, fake: FakeOpenAI, other: FakeOpenAI
) -> None:
    await customer(live, allowed_models=["other/second"])
    job = await live.done(await live.text((await live.session())["id"]))
    assert models_of(job) == {"reply": "other/second"}
    assert (fake.script.count("chat"), other.script.count("chat")) == (0, 1)
    refused = await live.http.post("/api/v1/agent", json={"name": "A", "ai_chat": "other/second,openai/first"})
    assert refused.status_code == 422


GONE = {
    "404": Answer(status=404, error={"code": "model_not_found", "message": "It was shut down."}),
    "410": Answer(status=410),
    "405": Answer(status=405),
    "400": Answer(status=400, error={"code": "model_deprecated", "message": "It was shut down."}),
}


@pytest.mark.parametrize("gone", GONE.values(), ids=GONE)
async def test_the_default_voice_outlives_the_speech_endpoint(parley: Live, fake: FakeOpenAI, gone: Answer) -> None:
    """`parley` has the two servers; its agent names what is the default."""
    fake.script.always("speech", gone)
    agent = await parley.agent(ai_tts="openai/gpt-4o-mini-tts", voice="nova")
    fake.script.add("chat", Answer(text="This is the first sentence. This is the second sentence."))
    session = await parley.session(agent_id=agent["id"])
    for _ in range(2):
        job = await parley.done(await parley.text(session["id"], reply_audio=True))
        assert (job["status"], job["attempt"]) == ("succeeded", 1)
        assert {model for name, model in models_of(job).items() if name.startswith("speak")} == {
            "openai/gpt-realtime-2.1-mini"
        }
    assert fake.script.count("speech") <= 2, "that it is gone is asked once, by those that speak at the same time"
    spoken = {call.text for call in fake.script.of("realtime")}
    assert spoken >= {"This is the first sentence.", "This is the second sentence."}
