"""What becomes of the jobs of a user who is disabled."""

import asyncio
from collections import Counter
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlmodel import col, select, update
from uuid_utils.compat import uuid7

from shared.errors import Unauthorized
from shared.models import Job, User, UserRole
from shared.services import message as messages
from shared.services import user as users
from shared.services.job import transitions as jobs
from shared.services.message import Submission
from shared.services.user import Account
from shared.sql.database import Database
from tests.api.test_open_requests import until
from tests.factories import BUDGET
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live
from tests.unit.services.test_balance import Purse

USERS = f"{API}/admin/user"


class Cast:
    """A user, and the administrator who disables them."""

    def __init__(self, live: Live, root: dict[str, str], ann: dict[str, str], ann_id: str) -> None:
        self.live = live
        self.root = root
        self.ann = ann
        self.ann_id = ann_id

    async def patch(self, **fields: Any) -> httpx.Response:
        return await self.live.http.patch(f"{USERS}/{self.ann_id}", json=fields, headers=self.root, timeout=60)

    async def states(self) -> Counter[str]:
        async with self.live.resources.database.read() as db:
            mine = select(Job).where(Job.owner_id == UUID(self.ann_id))
            found = (await db.exec(mine)).all()
        return Counter(
            "cancelling" if job.status == "running" and job.cancel_requested else job.status for job in found
        )


async def cast(live: Live, **fields: Any) -> Cast:
    root = await live.sign_in("root", role=UserRole.ADMIN)
    ann = await live.sign_in("ann", **fields)
    live.http.headers.update(ann)
    return Cast(live, root, ann, (await live.http.get(f"{API}/auth/me")).json()["id"])


async def test_queued_and_running_jobs_are_cancelled_and_nothing_stays_reserved(
    guarded: Live, fake: FakeOpenAI
) -> None:
    people = await cast(guarded, balance=Decimal(5))
    agent = (await guarded.agent(ai_chat="openai/gpt-6-luna"))["id"]
    fake.script.always("chat", Answer(delay_s=90))
    sessions = [(await guarded.session(agent_id=agent))["id"] for _ in range(2)]
    first, *_ = [await guarded.text(session) for session in sessions for _ in range(3)]
    await guarded.running(first)
    called = asyncio.create_task(until(lambda: calls(fake), 2))
    await called
    answer = await people.patch(disabled=True)
    assert answer.status_code == 200, answer.text
    assert (await people.states())["queued"] == 0
    await until(people.states, Counter(cancelled=6))
    assert await calls(fake) == 2, "those behind them did not begin"
    now = (await guarded.http.get(f"{USERS}/{people.ann_id}", headers=people.root)).json()
    assert (now["balance"], now["reserved"]) == ("5", "0")


async def calls(fake: FakeOpenAI) -> int:
    return fake.script.count("chat")


async def test_an_administrator_may_let_them_finish(guarded: Live, fake: FakeOpenAI) -> None:
    people = await cast(guarded)
    fake.script.always("chat", Answer(delay_s=1.5))
    session = (await guarded.session())["id"]
    for _ in range(2):
        await guarded.text(session)
    assert (await people.patch(disabled=True, jobs="finish")).status_code == 200
    await until(people.states, Counter(succeeded=2))


async def test_those_that_may_finish_are_cancelled_when_one_has_thought_again(door: Live) -> None:
    people = await cast(door)
    await door.text((await door.session())["id"])
    assert (await people.patch(disabled=True, jobs="finish")).status_code == 200
    assert await people.states() == Counter(queued=1)
    assert (await people.patch(disabled=True)).status_code == 200
    assert await people.states() == Counter(cancelled=1)


@pytest.mark.parametrize(
    "fields", [{"jobs": "finish"}, {"jobs": "cancel", "disabled": False}, {"jobs": "x", "disabled": True}]
)
async def test_what_becomes_of_jobs_is_asked_of_the_disabled_alone(door: Live, fields: dict[str, Any]) -> None:
    people = await cast(door)
    await door.text((await door.session())["id"])
    answer = await people.patch(**fields)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert await people.states() == Counter(queued=1)


async def test_however_many_there_are(door: Live) -> None:
    people = await cast(door, requests_per_minute=1_000_000, jobs_at_a_time=1_000)
    sessions = [(await door.session())["id"] for _ in range(5)]
    many = jobs.CANCELLED_AT_ONCE + 20
    for start in range(0, many, 20):
        await asyncio.gather(*[door.text(sessions[n % 5]) for n in range(start, start + 20)])
    other = await door.sign_in("bob")
    door.http.headers.update(other)
    bobs = await door.text((await door.session())["id"])
    assert (await people.patch(disabled=True)).status_code == 200
    assert await people.states() == Counter(cancelled=many)
    assert (await door.http.get(bobs["links"]["self"])).json()["status"] == "queued"


async def test_who_is_enabled_again_begins_anew(door: Live) -> None:
    people = await cast(door)
    session = (await door.session())["id"]
    await door.text(session)
    for disabled in (True, False):
        assert (await people.patch(disabled=disabled)).status_code == 200
    assert await people.states() == Counter(cancelled=1)
    async with door.resources.database.write() as db:
        account = Account(UUID(people.ann_id))
        await messages.submit(db, Submission(uuid7(), account, UUID(session), False, text="Hello"), BUDGET)
    assert await people.states() == Counter(cancelled=1, queued=1)


async def test_no_job_of_the_disabled_begins_anew(guarded: Live, fake: FakeOpenAI) -> None:
    people = await cast(guarded)
    fake.script.add("chat", Answer(status=400, error={"message": "no"}))
    failed = await guarded.done(await guarded.text((await guarded.session())["id"]))
    assert failed["status"] == "failed"
    assert (await people.patch(disabled=True)).status_code == 200
    url = f"{API}/admin/job/{failed['id']}/retry"
    answer = await guarded.http.post(url, headers=people.root)
    assert (answer.status_code, answer.json()["code"]) == (409, "user_disabled")
    assert (await people.patch(disabled=False)).status_code == 200
    assert (await guarded.http.post(url, headers=people.root)).status_code == 202


async def test_submits_under_way_leave_no_job_behind(door: Live) -> None:
    people = await cast(door, requests_per_minute=1_000_000, jobs_at_a_time=1_000_000)
    agent = (await door.agent())["id"]
    sessions = [(await door.session(agent_id=agent))["id"] for _ in range(8)]

    async def submit(session: str) -> int:
        accepted = 0
        while True:
            body = {"session_id": session, "text": "Hello"}
            answer = await door.http.post(f"{API}/message/text", json=body, headers=people.ann)
            if answer.status_code == 401:
                return accepted
            assert answer.status_code in {202, 503}, answer.text
            accepted += answer.status_code == 202

    submitting = [asyncio.create_task(submit(session)) for session in sessions]
    await asyncio.sleep(0.5)
    answer = await people.patch(disabled=True)
    while answer.status_code == 503:  # a busy database; as the documentation says
        answer = await people.patch(disabled=True)
    assert answer.status_code == 200
    assert set(await people.states()) == {"cancelled"}
    assert sum(await asyncio.gather(*submitting))
    assert set(await people.states()) == {"cancelled"}


async def test_a_submit_that_has_begun_is_waited_for_and_one_that_has_not_is_refused(postgres_url: str) -> None:
    purse = Purse(Database(postgres_url))
    await purse.open(None)
    session = await purse.session()

    async def disable() -> None:
        async with purse.database.write() as db:
            await db.exec(update(User).where(col(User.id) == purse.id).values(disabled=True))
        async with purse.database.write() as db:
            await users.await_begun(db, user_id=purse.id)
        async with purse.database.write() as db:
            await jobs.cancel_some(db, owner_id=purse.id)

    said = [Submission(uuid7(), purse.account, session, False, text="Hello") for _ in range(2)]
    async with purse.database.write() as db:
        await messages.submit(db, said[0], BUDGET)
        disabling = asyncio.create_task(disable())
        await asyncio.sleep(0.3)
        assert not disabling.done()
    await disabling
    assert (await purse.job(said[0].job_id)).status == "cancelled"
    with pytest.raises(Unauthorized):
        await purse.write(lambda db: messages.submit(db, said[1], BUDGET))
    assert await purse.write(lambda db: messages.submit_many(db, said[1:], BUDGET)) == [None]
    await purse.database.close()
