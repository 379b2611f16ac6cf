"""What a worker reads of a turn, on both databases."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Self
from uuid import uuid4

import pytest
from sqlmodel import col, select, update

from shared.errors import Unavailable
from shared.models import LOCAL_USER_ID, Blob, BlobPurpose, BlobStatus, Message, Session, Step, Usage
from shared.services import blob as blobs
from shared.services import session as sessions
from shared.services.job import lease as leases
from shared.services.job import step as steps
from shared.services.job import turn as turns
from shared.services.job.lease import Claim, LeaseLostError
from shared.services.job.turn import StepDone, Used
from shared.sql.database import Database
from tests.factories import make_job, make_session
from tests.statements import recorded


async def test_a_turn_knows_what_was_said_before_it(database_url: str) -> None:
    database = Database(database_url)
    async with database.write() as db:
        session = await make_session(db)
        for _ in range(3):
            job = await make_job(db, session)
        claim = Claim(job.id, session.id, uuid4(), attempt=1, attempts_left=4)
        turn = await turns.load(db, claim, history=20)
        assert [(said.role, said.text) for said in turn.history] == [("user", "Hello")] * 2
        assert len((await turns.load(db, claim, history=1)).history) == 1
        await sessions.delete(db, owner_id=LOCAL_USER_ID, session_id=session.id)
        with pytest.raises(LeaseLostError):
            await turns.load(db, claim, history=20)
    await database.close()


async def test_many_turns_are_read_in_one_statement_each_with_its_own_past(database_url: str) -> None:
    database = Database(database_url)
    async with database.write() as db:
        claims = []
        for earlier in range(4):
            session = await make_session(db)
            for _ in range(earlier + 1):
                job = await make_job(db, session)
            claims.append(Claim(job.id, session.id, uuid4(), attempt=1, attempts_left=4))
        texts = update(Message).where(col(Message.seq) == 3)
        await db.exec(texts.values(text='"Zwölf", \\ said he\n\u200f'))
        with recorded() as visits:
            read = await turns.load_many(db, claims, history=2)
        assert len(visits.sent) == 1
        past = {turn.claim.job_id: [said.text for said in turn.history] for turn in read}
        new = '"Zwölf", \\ said he\n\u200f'
        assert [past[claim.job_id] for claim in claims] == [[], ["Hello"], ["Hello", new], [new, "Hello"]]
    await database.close()


class Running:
    """A claimed turn of a spoken reply, and a sentence of it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.turn: turns.Turn

    async def begin(self) -> Self:
        async with self.database.write() as db:
            job = await make_job(db, reply_audio=True)
            claim = await leases.claim(db, job_id=job.id, worker_id=uuid4(), lease_s=30)
            assert claim
            self.turn = await turns.load(db, claim, history=20)
        return self

    async def announce(self) -> Blob:
        async with self.database.write() as db:
            return await steps.announce_sound(db, self.turn, purpose=BlobPurpose.SENTENCE)

    async def speak(self, blob: Blob, text: str = "one") -> None:
        done = StepDone("speak/1", 1, "openai", "tts", input_hash=text, used=Used(characters=3))
        content = blobs.BlobContent("audio/mpeg", "mp3", 1.0, 3, "0")
        async with self.database.write() as db:
            await steps.save_sentence(db, self.turn, blob=blob, content=content, done=done)

    async def fail(self) -> None:
        async with self.database.write() as db:
            await steps.save_failed_step(db, self.turn.claim, done=StepDone("speak/1", 1), code="unavailable")

    def again(self) -> None:
        """The next attempt: what the one before has written may be in its way."""
        claim = self.turn.claim
        self.turn.claim = claim._replace(attempt=claim.attempt + 1)

    async def found(self, column: Any) -> list[Any]:
        async with self.database.read() as db:
            return list((await db.exec(select(column))).all())


@pytest.fixture
async def running(database_url: str) -> AsyncIterator[Running]:
    database = Database(database_url)
    yield await Running(database).begin()
    await database.close()


async def test_what_was_committed_without_an_answer_is_saved_once(running: Running) -> None:
    blob = await running.announce()
    for _ in range(2):
        await running.speak(blob)
    assert await running.found(Usage.characters) == [3]
    assert await running.found(Blob.status) == [BlobStatus.READY]
    done = StepDone("transcribe", 1, "openai", "stt", input_hash="note", used=Used(audio_s=2.0))
    for _ in range(2):
        async with running.database.write() as db:
            await steps.save_transcript(db, running.turn, text="Hello", language="en", done=done)
    assert sorted(await running.found(Usage.step)) == ["speak/1", "transcribe"]
    assert 2.0 in await running.found(Usage.audio_s)


async def test_what_was_heard_is_saved_when_a_try_before_was_not_committed(running: Running) -> None:
    done = StepDone("transcribe", 1)
    for away in (True, False):
        with suppress(Unavailable):
            async with running.database.write() as db:
                await steps.save_transcript(db, running.turn, text="مرحبا", language="ar", done=done)
                if away:
                    raise Unavailable("The commit fails.")
    assert await running.found(Message.text) == ["مرحبا"]
    assert await running.found(Session.language) == ["ar"]


async def test_sound_of_other_words_goes_with_the_reply_also_when_a_try_before_was_not_committed(
    running: Running,
) -> None:
    await running.speak(await running.announce(), "one")
    running.again()
    done = StepDone("reply", 1)
    for away in (True, False):
        with suppress(Unavailable):
            async with running.database.write() as db:
                spoken = {"speak/1": "another"}
                await steps.save_reply(db, running.turn, text="Another.", language="en", done=done, spoken=spoken)
                if away:
                    raise Unavailable("The commit fails.")
    async with running.database.read() as db:
        assert await turns.spoken(db, job_id=running.turn.job.id, numbers=range(1, 33)) == {}


async def test_a_step_that_succeeded_is_not_lost_to_a_later_failure(running: Running) -> None:
    await running.speak(await running.announce())
    await running.fail()
    assert await running.found(Step.status) == ["succeeded"]


async def test_a_failure_is_noted_and_replaced_by_a_success(running: Running) -> None:
    await running.fail()
    assert await running.found(Step.error_code) == ["unavailable"]
    running.again()
    await running.speak(await running.announce())
    assert await running.found(Step.status) == ["succeeded"]


async def test_sound_of_other_words_is_buried(running: Running) -> None:
    first, second = await running.announce(), await running.announce()
    await running.speak(first, "one")
    running.again()
    await running.speak(second, "another")
    async with running.database.read() as db:
        ready = (await db.exec(select(Blob.id).where(Blob.status == BlobStatus.READY))).all()
    assert ready == [second.id]
    assert await running.found(Usage.characters) == [6]  # both were spoken
