"""Submitting messages, and reading the conversation."""

from uuid import uuid4

import pytest
from pydantic import SecretStr

from shared.audio.pool import AudioPool
from shared.config import Settings
from tests.conftest import SAMPLES
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live, live_parley


async def test_a_text_is_accepted_at_once_and_answered(parley: Live) -> None:
    session = await parley.session()
    submitted = await parley.http.post(f"{API}/message/text", json={"session_id": session["id"], "text": " Hi there. "})
    job = submitted.json()
    assert submitted.status_code == 202
    assert submitted.headers["location"] == job["links"]["self"] == f"{API}/job/{job['id']}"
    assert submitted.headers["retry-after"] == "1"
    assert (job["kind"], job["session_id"], job["error"]) == ("text", session["id"], None)

    job = await parley.done(job)
    assert job["status"] == "succeeded"
    assert (job["stage"], job["attempt"], job["queue_position"]) == (None, 1, 0)
    assert [step["name"] for step in job["steps"]] == ["reply"]
    assert job["steps"][0]["model"] == "openai/gpt-6-luna"
    assert job["result"]["transcript"] is None
    assert job["result"]["audio"] is None
    assert job["result"]["language"] == "en"
    assert job["finished_at"] >= job["started_at"] >= job["created_at"]

    asked, answered = await parley.conversation(session["id"])
    assert (asked["role"], asked["seq"], asked["text"], asked["id"]) == ("user", 1, " Hi there. ", job["message_id"])
    assert (answered["role"], answered["seq"], answered["kind"]) == ("assistant", 2, "text")
    assert (answered["id"], answered["text"]) == (job["result"]["message_id"], job["result"]["text"])
    assert asked["job_id"] == answered["job_id"] == job["id"]
    assert (await parley.http.get(f"{API}/message/{answered['id']}")).json() == answered
    older_spelling = await parley.http.get(f"{API}/message/conversion/{session['id']}")
    assert older_spelling.json()["items"] == [asked, answered]


async def test_the_model_sees_prompt_personality_history_and_the_unchanged_text(parley: Live, fake: FakeOpenAI) -> None:
    agent = await parley.agent(prompt="You are a lighthouse.", personality="Salty.")
    session = await parley.session(agent_id=agent["id"], prompt="It is night.", summary="A ship came.")
    for text in ("First thing.", "  second,\n unchanged  "):
        await parley.done(await parley.text(session["id"], text))
    first, second = fake.script.of("chat")
    system = first.messages[0]["content"]
    for piece in ("You are a lighthouse.", "Salty.", "It is night.", "A ship came.", "English"):
        assert piece in system
    assert [message["role"] for message in second.messages] == ["system", "user", "assistant", "user"]
    assert second.messages[-1]["content"] == "  second,\n unchanged  "


async def test_a_text_can_be_spoken_too(parley: Live) -> None:
    session = await parley.session()
    job = await parley.done(await parley.text(session["id"], reply_audio=True))
    audio = job["result"]["audio"]
    assert audio["url"] == job["links"]["audio"]
    assert audio["mime"] == "audio/mpeg"
    assert audio["duration_s"] > 0.3
    sound = await parley.http.get(audio["url"])
    assert sound.status_code == 200
    assert len(sound.content) == audio["size"]
    assert [s["name"] for s in job["steps"]][:2] == ["reply", "speak/1"]


async def test_a_voice_note_is_heard_answered_and_spoken(parley: Live, fake: FakeOpenAI) -> None:
    note = SAMPLES / "en_03_opus.ogg"
    fake.script.hear(note.read_bytes(), "Please remind me to call the dentist.", "en")
    session = await parley.session()
    job = await parley.done(await parley.voice(session["id"], note))
    assert job["status"] == "succeeded", job
    assert job["result"]["transcript"] == "Please remind me to call the dentist."
    assert job["result"]["language"] == "en"
    assert {step["name"] for step in job["steps"]} >= {"transcribe", "reply", "speak/1"}

    asked, answered = await parley.conversation(session["id"])
    assert (asked["kind"], asked["text"], asked["language"]) == ("voice", job["result"]["transcript"], "en")
    assert asked["audio"]["mime"] == "audio/ogg"
    original = await parley.http.get(asked["audio"]["url"])
    assert original.content == note.read_bytes()
    assert original.headers["content-type"] == "audio/ogg"
    assert original.headers["x-content-type-options"] == "nosniff"
    reply = await parley.http.get(answered["audio"]["url"])
    assert reply.content == (await parley.http.get(job["links"]["audio"])).content


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
async def test_a_spoken_turn_works_on_a_bucket(settings: Settings, audio_pool: AudioPool, bucket: str) -> None:
    on_s3 = settings.model_copy(update={"blob_url": SecretStr(bucket)})
    async with live_parley(on_s3, audio_pool) as live:
        session = await live.session()
        job = await live.done(await live.voice(session["id"], SAMPLES / "en_08_aac_faststart.m4a"))
        assert job["status"] == "succeeded", job
        asked, answered = await live.conversation(session["id"])
        original = await live.http.get(asked["audio"]["url"], headers={"Range": "bytes=10-19"})
        assert original.content == (SAMPLES / "en_08_aac_faststart.m4a").read_bytes()[10:20]
        assert len((await live.http.get(answered["audio"]["url"])).content) == answered["audio"]["size"]


async def test_arabic_goes_in_and_comes_out(parley: Live, fake: FakeOpenAI) -> None:
    note = SAMPLES / "ar_01_pcm16_16k.wav"
    fake.script.hear(note.read_bytes(), "مرحبا، كيف حالك اليوم؟")
    session = await parley.session()
    job = await parley.done(await parley.voice(session["id"], note))
    assert job["status"] == "succeeded", job
    assert job["result"]["language"] == "ar"
    asked, answered = await parley.conversation(session["id"])
    assert (asked["language"], answered["language"]) == ("ar", "ar")
    assert "Arabic" in fake.script.of("chat")[0].messages[0]["content"]
    assert (await parley.http.get(f"{API}/session/{session['id']}")).json()["language"] == "ar"
    typed = await parley.done(await parley.text(session["id"], "شكرا جزيلا"))
    assert typed["result"]["language"] == "ar"


async def test_silence_is_answered_without_asking_any_model(parley: Live, fake: FakeOpenAI) -> None:
    session = await parley.session(language="ar")
    job = await parley.done(await parley.voice(session["id"], SAMPLES / "odd_23_silence_2s.ogg"))
    assert job["status"] == "succeeded"
    assert job["result"]["transcript"] == ""
    assert "لم أسمع" in job["result"]["text"]
    assert fake.script.count("transcriptions") == fake.script.count("chat") == 0
    assert job["result"]["audio"]


async def test_messages_of_a_session_are_answered_in_order(parley: Live) -> None:
    session = await parley.session()
    jobs = [await parley.text(session["id"], f"Message number {n}.") for n in range(8)]
    assert jobs[0]["queue_position"] == 0
    for job in jobs:
        assert (await parley.done(job))["status"] == "succeeded"
    messages = await parley.conversation(session["id"])
    assert [message["seq"] for message in messages] == list(range(1, 17))
    assert [m["text"] for m in messages if m["role"] == "user"] == [f"Message number {n}." for n in range(8)]
    for n, message in enumerate(messages[1::2]):
        assert f"Message number {n}." in message["text"]
        assert f"{2 * n + 1} messages" in message["text"]  # each has seen the reply before


async def test_bad_texts_are_refused_and_change_nothing(parley_without_worker: Live) -> None:
    http = parley_without_worker.http
    session = await parley_without_worker.session()
    good = {"session_id": session["id"], "text": "Hello"}
    for body, field in (
        ({**good, "text": ""}, "text"),
        ({**good, "text": " \n\t "}, "text"),
        ({**good, "text": "x" * 32_001}, "text"),
        ({**good, "text": 5}, "text"),
        ({**good, "text": "nul\x00"}, "text"),
        ({**good, "colour": "red"}, "colour"),
        ({**good, "reply_audio": "perhaps"}, "reply_audio"),
        ({"text": "Hello"}, "session_id"),
        ({**good, "session_id": "12"}, "session_id"),
    ):
        answer = await http.post(f"{API}/message/text", json=body)
        assert answer.status_code == 422, body
        assert answer.json()["errors"][0]["field"] == field
    assert (await http.post(f"{API}/message/text", json={**good, "session_id": str(uuid4())})).status_code == 404
    assert await parley_without_worker.conversation(session["id"]) == []
    assert (await http.get(f"{API}/job")).json()["items"] == []


async def test_a_conversation_comes_in_pages(parley_without_worker: Live) -> None:
    session = await parley_without_worker.session()
    for n in range(5):
        await parley_without_worker.text(session["id"], f"n{n}")
    http, path = parley_without_worker.http, f"{API}/message/conversation/{session['id']}"
    first = (await http.get(path, params={"limit": 3})).json()
    rest = (await http.get(path, params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert [m["text"] for m in first["items"] + rest["items"]] == ["n0", "n1", "n2", "n3", "n4"]
    assert rest["next_cursor"] is None
    assert (await http.get(path, params={"cursor": "x"})).status_code == 422


async def test_a_conversation_can_be_read_from_its_end(parley_without_worker: Live) -> None:
    session = await parley_without_worker.session()
    for n in range(5):
        await parley_without_worker.text(session["id"], f"n{n}")
    http, path = parley_without_worker.http, f"{API}/message/conversation/{session['id']}"
    newest: dict[str, str | int] = {"limit": 3, "order": "newest"}
    first = (await http.get(path, params=newest)).json()
    assert [m["text"] for m in first["items"]] == ["n4", "n3", "n2"]
    await parley_without_worker.text(session["id"], "n5")  # what is said meanwhile moves no page
    rest = (await http.get(path, params={**newest, "cursor": first["next_cursor"]})).json()
    assert [m["text"] for m in rest["items"]] == ["n1", "n0"]
    assert rest["next_cursor"] is None
    refused = await http.get(path, params={"order": "loudest"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "order")


async def test_a_spoken_turn_can_be_waited_for_as_mp3(parley: Live) -> None:
    session = await parley.session()
    headers = {"Prefer": "wait=30", "Accept": "audio/mpeg"}
    answer = await parley.post_voice(session["id"], (SAMPLES / "en_13.flac").read_bytes(), headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["preference-applied"] == "wait=30"
    assert answer.headers["location"].startswith(f"{API}/job/")
    job = (await parley.http.get(answer.headers["location"])).json()
    assert len(answer.content) == job["result"]["audio"]["size"]
