"""A job of 1,334 steps and a long reply is read at the price of a small one: its text once, and 200 of its steps."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert
from uuid_utils.compat import uuid7

from shared.errors import AppError
from shared.models import Blob, BlobPurpose, BlobStatus, Step, StepStatus, table
from shared.services.job import lease as leases
from shared.services.job import step as steps
from shared.services.job import turn as turns
from shared.services.job.turn import StepDone, Turn
from shared.services.job.view import MOST_STEPS
from shared.sql.functions import db_now
from tests.live import API, Live
from tests.statements import recorded

STEPS = 1_334
TEXT = "a" * 51_000
MARGIN = 30_000  # bytes of 200 steps, of their job and of its messages
LIST = 12


@dataclass
class LongJobs:
    """A Parley with long jobs in one session; the last of them is still running."""

    live: Live
    session_id: str
    turn: Turn

    @property
    def path(self) -> str:
        return f"{API}/job/{self.turn.job.id}"

    async def read_by(self, path: str, **options: Any) -> tuple[Any, int, int]:
        """The answer to a GET, and how many rows and bytes it has read of SQL: its own statements, asked again."""
        with recorded() as visits:
            answer = await self.live.http.get(path, **options)
        assert answer.status_code < 400, answer.text
        rows: list[Any] = []
        async with self.live.resources.database.read() as db:
            connection = await db.connection()
            for sent in visits.sent:
                rows += (await connection.exec_driver_sql(sent.sql, sent.parameters)).all()
        return answer, len(rows), sum(len(str(value)) for row in rows for value in row)


async def claimed(live: Live, job_id: str) -> Turn:
    async with live.resources.database.write() as db:
        claim = await leases.claim(db, job_id=UUID(job_id), worker_id=uuid4(), lease_s=600)
        assert claim
        return await turns.load(db, claim, history=20)


async def long_turn(live: Live, session_id: str) -> Turn:
    """A claimed turn whose reply is saved with its sentences, as a worker saves them."""
    turn = await claimed(live, (await live.text(session_id, reply_audio=True))["id"])
    blob = {"owner_id": turn.job.owner_id, "session_id": turn.session.id, "purpose": BlobPurpose.SENTENCE}
    blobs = [
        {"id": uuid7(), "key": f"sentence/{uuid4()}", "status": BlobStatus.READY, **blob} for _ in range(STEPS - 1)
    ]
    done = {"status": StepStatus.SUCCEEDED, "attempt": 1, "duration_ms": 9, "provider": "openai", "model": "tts"}
    rows = [
        {"id": uuid7(), "job_id": turn.job.id, "name": f"speak/{n}", "blob_id": blob["id"], "input_hash": "0", **done}
        for n, blob in enumerate(blobs, start=1)
    ]
    async with live.resources.database.write() as db:
        await steps.save_reply(db, turn, text=TEXT, language="en", done=StepDone("reply", 1), spoken={})
        await db.exec(insert(table(Blob)), params=blobs)
        await db.exec(insert(table(Step)).values(started_at=db_now()), params=rows[::-1])
    return turn


@pytest.fixture
async def jobs(parley_without_worker: Live) -> LongJobs:
    live = parley_without_worker
    session_id = (await live.session())["id"]
    for _ in range(LIST - 1):
        turn = await long_turn(live, session_id)
        async with live.resources.database.write() as db:
            await leases.fence(db, turn.claim)
            await leases.fail(db, turn.claim, AppError("It broke."))
    return LongJobs(live, session_id, await long_turn(live, session_id))


async def test_it_shows_its_first_200_steps_in_order_and_their_number(jobs: LongJobs) -> None:
    job = (await jobs.live.http.get(jobs.path)).json()
    assert [step["name"] for step in job["steps"]] == ["reply", *[f"speak/{n}" for n in range(1, MOST_STEPS)]]
    assert job["step_count"] == STEPS
    assert job["steps"][-1] == {
        "name": "speak/199", "status": "succeeded", "attempt": 1, "duration_ms": 9, "model": "openai/tts"
    }  # fmt: skip
    assert job["result"]["text"] == TEXT


@pytest.mark.parametrize("how", ["poll", "stale etag", "wait", "events", "admin"])
async def test_its_text_is_read_once_and_not_once_a_step(jobs: LongJobs, how: str) -> None:
    if how != "admin":
        await jobs.live.http.post(f"{jobs.path}/cancel")
        async with jobs.live.resources.database.write() as db:
            await leases.cancelled(db, jobs.turn.claim)
    headers = {"stale etag": {"If-None-Match": '"0-0"'}, "wait": {"Prefer": "wait=9"}}.get(how, {})
    path = {"events": f"{jobs.path}/events", "admin": jobs.path.replace("/job", "/admin/job")}.get(how, jobs.path)
    _, rows, size = await jobs.read_by(path, headers=headers)
    assert rows <= 2
    assert len(TEXT) <= size <= len(TEXT) + MARGIN


async def test_an_etag_that_still_holds_costs_no_text_at_all(jobs: LongJobs) -> None:
    etag = (await jobs.live.http.get(jobs.path)).headers["etag"]
    answer, rows, size = await jobs.read_by(jobs.path, headers={"If-None-Match": etag})
    assert (answer.status_code, rows) == (304, 1)
    assert size < 200


@pytest.mark.parametrize("path", ["job", "admin/job"])
async def test_a_list_leaves_steps_out_unless_it_is_asked_for_them(jobs: LongJobs, path: str) -> None:
    answer, rows, size = await jobs.read_by(f"{API}/{path}")
    items = answer.json()["items"]
    assert [item["result"]["text"] for item in items] == [TEXT] * LIST
    assert not any({"steps", "step_count"} & item.keys() for item in items)
    assert rows == 2 * LIST
    assert size <= LIST * (len(TEXT) + 3_000)

    answer, rows, size = await jobs.read_by(f"{API}/{path}", params={"include": "steps"})
    assert [(len(item["steps"]), item["step_count"]) for item in answer.json()["items"]] == [(MOST_STEPS, STEPS)] * LIST
    assert rows == 2 * LIST
    assert size <= LIST * (len(TEXT) + MARGIN)
    assert (await jobs.live.http.get(f"{API}/{path}", params={"include": "text"})).status_code == 422


async def test_what_a_cancel_answers_and_what_events_tell_is_as_short(jobs: LongJobs) -> None:
    cancelled = await jobs.live.http.post(f"{jobs.path}/cancel")
    assert (len(cancelled.json()["steps"]), cancelled.json()["step_count"]) == (MOST_STEPS, STEPS)
    async with jobs.live.resources.database.write() as db:
        await leases.cancelled(db, jobs.turn.claim)
    told = await jobs.live.http.get(f"{jobs.path}/events")
    end = json.loads(next(line for line in told.text.splitlines() if line.startswith('data: {"id"'))[6:])
    assert told.text.count("event: end") == 1
    assert (len(end["steps"]), end["step_count"]) == (MOST_STEPS, STEPS)


async def test_its_sentences_are_looked_for_a_few_at_a_time(jobs: LongJobs) -> None:
    async with jobs.live.resources.database.read() as db:
        found = await turns.spoken(db, job_id=jobs.turn.job.id, numbers=range(1_300, 1_400))
    assert set(found) == {f"speak/{n}" for n in range(1_300, STEPS)}


async def test_an_attempt_that_goes_on_finds_every_step(jobs: LongJobs) -> None:
    async with jobs.live.resources.database.read() as db:
        again = jobs.turn.claim._replace(attempt=2)
        with recorded() as visits:
            turn = await turns.load(db, again, history=20)
        assert len(turn.steps) == STEPS
        assert len(turn.sentence_keys) == STEPS - 1
        connection, size = await db.connection(), 0
        for sent in visits.sent:
            rows = (await connection.exec_driver_sql(sent.sql, sent.parameters)).all()
            size += sum(len(str(value)) for row in rows for value in row)
    said_before = (LIST - 1) * (len(TEXT) + 100)
    assert size <= said_before + len(TEXT) + STEPS * 200
