"""Transcripts that no voice note can have: the job ends and says so, and can be read, whatever was stored."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func
from sqlmodel import col, update

from shared.models import Message, MessageRole
from shared.models.message import MAX_TEXT_CHARS
from tests.conftest import SAMPLES
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live
from worker.turn.transcribe import MAX_TRANSCRIPT_CHARS

NOTE = SAMPLES / "en_01_pcm16_16k.wav"


@pytest.mark.parametrize("size", [MAX_TRANSCRIPT_CHARS + 1_000, 2_000_000, 50_000_000])
async def test_a_transcript_that_is_too_long_fails_its_job_once_and_for_good(
    parley: Live, fake: FakeOpenAI, size: int
) -> None:
    fake.script.always("transcriptions", Answer(text="word " * (size // 5)))
    session = await parley.session()
    job = await parley.done(await parley.voice(session["id"], NOTE))
    assert (job["status"], job["error"]["code"]) == ("failed", "transcript_too_long")
    assert fake.script.count("transcriptions") == 1
    assert fake.script.count("chat") == 0
    assert job["result"] is None


async def test_a_long_transcript_is_kept_whole(parley: Live, fake: FakeOpenAI) -> None:
    said = "word " * 15_000 + "end"
    fake.script.add("transcriptions", Answer(text=said))
    fake.script.add("chat", Answer(text="I see."))
    job = await parley.done(await parley.voice((await parley.session())["id"], NOTE))
    assert (job["status"], job["result"]["transcript"]) == ("succeeded", said)


async def test_a_job_whose_transcript_was_stored_without_a_limit_is_read_and_its_conversation_goes_on(
    parley: Live, fake: FakeOpenAI, stack: str
) -> None:
    session = await parley.session()
    first = await parley.done(await parley.voice(session["id"], NOTE, reply_audio=True))
    heard = (col(Message.job_id) == UUID(first["id"])) & (col(Message.role) == MessageRole.USER)
    long: Any = "x" * 50_000_000
    if stack == "servers":
        long = func.repeat("x", 50_000_000)
    async with parley.resources.database.write() as db:
        await db.exec(update(Message).where(heard).values(text=long))
    job = (await parley.http.get(first["links"]["self"])).json()
    assert job["result"]["transcript"] == "x" * MAX_TEXT_CHARS
    listed = (await parley.http.get(f"{API}/job")).json()["items"]
    assert [len(one["result"]["transcript"]) for one in listed] == [MAX_TEXT_CHARS]
    assert max(len(message["text"]) for message in await parley.conversation(session["id"])) == MAX_TEXT_CHARS
    fake.script.add("chat", Answer(text="At seven."))
    assert (await parley.done(await parley.text(session["id"])))["status"] == "succeeded"
    assert len(str(fake.script.of("chat")[-1].messages)) < 2 * MAX_TEXT_CHARS
