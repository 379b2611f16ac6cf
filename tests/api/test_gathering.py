"""What many clients do at once: reading, submitting and waiting."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlmodel import col, delete, select, update
from uuid_utils.compat import uuid7

from api.usecases.admission import Admission
from api.usecases.batching import Submits
from api.usecases.wait import AWAY_S
from shared.errors import NotFound
from shared.models import LOCAL_USER_ID, Blob, BlobPurpose, BlobStatus, Job, JobStatus
from shared.services import blob as blobs
from shared.services import session as sessions
from shared.services.blob import BlobContent
from shared.services.job.view import JobView
from shared.services.message import Submission
from shared.services.user import LOCAL, Account
from tests.conftest import SAMPLES
from tests.live import API, Live
from tests.locks import database_locked
from tests.statements import recorded


async def watched(live: Live, *jobs: dict[str, Any]) -> None:
    """Wait until somebody waits for them."""
    for _ in range(500):
        if {UUID(job["id"]) for job in jobs} <= set(live.resources.events.watched):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


@pytest.mark.parametrize("what", ["views", "states"])
async def test_jobs_that_are_asked_for_in_the_same_moment_are_one_query(parley_without_worker: Live, what: str) -> None:
    live = parley_without_worker
    session = await live.session()
    known = [UUID((await live.text(session["id"]))["id"]) for _ in range(5)]
    asked = [(LOCAL_USER_ID, job_id) for job_id in known * 3] + [(LOCAL_USER_ID, uuid4()), (uuid4(), known[0])]
    read = live.resources.jobs.get if what == "views" else live.resources.jobs.state
    with recorded() as visits:
        told: list[Any] = await asyncio.gather(
            *[read(owner_id=owner_id, job_id=job_id) for owner_id, job_id in asked], return_exceptions=True
        )
    *found, missing, anothers = told
    assert len(visits.sent) == 1  # whoever asks
    assert [type(one) for one in (missing, anothers)] == [NotFound, NotFound]
    if what == "views":
        assert [view.job.id for view in found] == known * 3
    assert [one.queue_position for one in found] == [*range(5)] * 3


async def test_a_state_is_that_of_the_view(parley_without_worker: Live) -> None:
    live = parley_without_worker
    first, second = [UUID((await live.text((await live.session())["id"]))["id"]) for _ in range(2)]
    await live.http.post(f"{API}/job/{second}/cancel")
    for job_id in (first, second):
        view = await live.resources.jobs.get(owner_id=LOCAL_USER_ID, job_id=job_id)
        assert await live.resources.jobs.state(owner_id=LOCAL_USER_ID, job_id=job_id) == view.state


async def submit(live: Live, session_id: str) -> tuple[int, int]:
    """Status, and the place in line."""
    answer = await live.http.post(f"{API}/message/text", json={"session_id": session_id, "text": "Hello"})
    return answer.status_code, answer.json().get("queue_position", -1)


async def test_texts_that_are_submitted_in_the_same_moment_are_few_transactions(parley_without_worker: Live) -> None:
    live = parley_without_worker
    ids = [(await live.session())["id"] for _ in range(4)]
    asked = [Submission(uuid7(), LOCAL, UUID(one), False, "Hello") for one in [*ids * 5, str(uuid4())]]
    asked.append(Submission(uuid7(), Account(uuid4()), UUID(ids[0]), False, "Let me in"))
    with recorded() as visits:
        told: list[Any] = await asyncio.gather(
            *[live.resources.submits.add(one) for one in asked], return_exceptions=True
        )
    *views, missing, anothers = told
    assert visits.commits == 1
    assert len(visits.sent) <= 10  # with two for each that found nothing, and a count of the backlog
    assert [type(one) for one in (missing, anothers)] == [NotFound, NotFound]
    assert [view.queue_position for view in views if isinstance(view, JobView)] == sorted([*range(5)] * 4)
    for session in ids:
        said = (await live.http.get(f"{API}/message/conversation/{session}")).json()["items"]
        assert [message["seq"] for message in said] == [1, 3, 5, 7, 9]
        waiting = [(await live.http.get(f"{API}/job/{message['job_id']}")).json() for message in said]
        assert [job["queue_position"] for job in waiting] == [0, 1, 2, 3, 4]


async def test_two_processes_that_submit_to_the_same_sessions_take_each_number_once(
    parley_without_worker: Live,
) -> None:
    live = parley_without_worker
    ids = [(await live.session())["id"] for _ in range(8)]
    resources = live.resources
    processes = [resources.submits, Submits(resources.database, Admission(1_000), resources.budget)]
    asked = [Submission(uuid7(), LOCAL, UUID(one), False, "Hello") for _ in range(10) for one in ids]
    views = await asyncio.gather(*[processes[n % 3 % 2].add(one) for n, one in enumerate(asked)])
    assert [view.job.id for view in views] == [one.job_id for one in asked]
    for session in ids:
        jobs = {view.job.id: view.queue_position for view in views if str(view.job.session_id) == session}
        assert sorted(jobs.values()) == [*range(10)]
        said = (await live.http.get(f"{API}/message/conversation/{session}")).json()["items"]
        assert [message["seq"] for message in said] == [*range(1, 21, 2)]
        assert [jobs[UUID(message["job_id"])] for message in said] == [*range(10)]


async def test_notes_that_come_in_the_same_moment_are_few_transactions(parley_without_worker: Live) -> None:
    database, uploads = parley_without_worker.resources.database, parley_without_worker.resources.uploads
    new = [blobs.new(owner_id=LOCAL_USER_ID, session_id=uuid4(), purpose=BlobPurpose.UPLOAD) for _ in range(20)]
    with recorded() as visits:
        await asyncio.gather(*map(uploads.announce, new))
    assert visits.commits == 1
    pointed_at = new[7]
    async with database.write() as db:
        content = BlobContent("audio/ogg", "opus", 1.0, 1_000, "0" * 64)
        await blobs.ready(db, blob_id=pointed_at.id, session_id=uuid4(), content=content)
    with recorded() as visits:
        buried = await asyncio.gather(*map(uploads.mark_deleted, new))
    assert (visits.commits, len(visits.sent)) == (1, 2)
    assert [blob for blob, gone in zip(new, buried, strict=True) if not gone] == [pointed_at]
    with recorded() as visits:
        await asyncio.gather(*(uploads.purge(blob) for blob in new if blob is not pointed_at))
    assert visits.commits == 1
    async with database.read() as db:
        assert [(blob.id, blob.status) for blob in (await db.exec(select(Blob))).all()] == [
            (pointed_at.id, BlobStatus.READY)
        ]


async def test_a_submit_is_answered_with_what_a_poll_shows(parley_without_worker: Live) -> None:
    live = parley_without_worker
    one, other = [(await live.session())["id"] for _ in range(2)]
    jobs = [await live.text(one)]
    jobs += await asyncio.gather(live.text(one), live.text(one, reply_audio=True), live.text(other), live.text(other))
    jobs += [await live.voice(other, SAMPLES / "en_13.flac", language="en")]
    for job in jobs:
        assert (await live.http.get(job["links"]["self"])).json() == job


@pytest.mark.parametrize("stack", ["servers"], indirect=True)  # SQLite has one lock for all
async def test_nobody_waits_for_a_session_that_somebody_else_has(parley_without_worker: Live) -> None:
    live = parley_without_worker
    held, *free = [(await live.session())["id"] for _ in range(6)]
    async with live.resources.database.write() as db:
        await sessions.lock(db, UUID(held))
        late = asyncio.create_task(submit(live, held))
        answers = await asyncio.gather(
            *[submit(live, session) for session in free * 3]
        )  # else 503, by the lock's timeout
        assert {status for status, _ in answers} == {202}
        assert not late.done()
    assert await late == (202, 0)


async def test_whoever_waits_is_not_refused_when_sql_goes_away_meanwhile(parley_without_worker: Live) -> None:
    live = parley_without_worker
    job = await live.text((await live.session())["id"])
    waiting = asyncio.create_task(live.http.get(job["links"]["self"], headers={"Prefer": "wait=4"}))
    await watched(live, job)
    async with database_locked(str(live.resources.settings.embedded_database_url)):
        live.resources.events.wake(UUID(job["id"]), ended=True)
        await asyncio.sleep(2.5)  # longer than a request waits for SQL
    answer = await waiting
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")


async def test_an_end_that_sql_could_not_show_is_seen_soon_after(parley_without_worker: Live) -> None:
    live = parley_without_worker
    job = await live.text((await live.session())["id"])
    follow = asyncio.create_task(live.http.get(job["links"]["events"]))
    waiting = asyncio.create_task(live.http.get(job["links"]["self"], headers={"Prefer": "wait=30"}, timeout=40))
    await watched(live, job)
    await asyncio.sleep(0.2)  # both have looked
    async with live.resources.database.write() as db:
        await db.exec(update(Job).where(col(Job.id) == UUID(job["id"])).values(status=JobStatus.FAILED, version=2))
    async with database_locked(str(live.resources.settings.embedded_database_url)):
        live.resources.events.wake(UUID(job["id"]), ended=True)
        await asyncio.sleep(4)  # longer than a look waits for SQL, and than it takes until all are looked at
    async with asyncio.timeout(AWAY_S + 1):
        assert (await waiting).json()["status"] == "failed"
        assert "event: end" in (await follow).text


async def test_an_end_that_nobody_told_is_found(parley_without_worker: Live) -> None:
    """As when Redis was away just then."""
    live = parley_without_worker
    ended, deleted = [await live.text((await live.session())["id"]) for _ in range(2)]
    waiting = [
        asyncio.create_task(live.http.get(job["links"]["self"], headers={"Prefer": "wait=30"}, timeout=40))
        for job in (ended, deleted)
    ]
    await watched(live, ended, deleted)
    async with live.resources.database.write() as db:
        await db.exec(update(Job).where(col(Job.id) == UUID(ended["id"])).values(status=JobStatus.FAILED, version=2))
        await db.exec(delete(Job).where(col(Job.id) == UUID(deleted["id"])))
    answers = await asyncio.gather(*waiting)
    assert [answer.status_code for answer in answers] == [200, 404]
    assert answers[0].json()["status"] == "failed"
