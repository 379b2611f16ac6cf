"""Whose job is next: of the account with the fewest running jobs, then the oldest, against a model that knows all."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID, uuid4

import pytest
from sqlmodel import col, select, update
from uuid_utils.compat import uuid7

from shared.errors import AppError
from shared.models import POISON_LEASES, Agent, Job, JobStatus, Session, User
from shared.services import fairness
from shared.services import message as messages
from shared.services import session as sessions
from shared.services.job import lease as leases
from shared.services.job import reaper
from shared.services.job import transitions as jobs
from shared.services.job.lease import Claim
from shared.services.message import Submission
from shared.services.user import LOCAL
from shared.sql.database import Database
from shared.sql.functions import db_now
from tests.factories import BUDGET
from tests.reads import few_jobs_read

WORKER = uuid4()


@dataclass
class Fleet:
    """Accounts with sessions, and the claims of their jobs; every rule is Parley's own."""

    database: Database
    owners: list[UUID] = field(default_factory=list)
    agents: dict[UUID, UUID] = field(default_factory=dict)
    running: dict[UUID, Claim] = field(default_factory=dict)

    async def add_accounts(self, number: int) -> list[UUID]:
        async with self.database.write() as db:
            new = [User(username=f"user-{uuid4().hex}") for _ in range(number)]
            db.add_all(new)
            await db.flush()
            for user in new:
                agent = Agent(owner_id=user.id, name="Guide")
                db.add(agent)
                await db.flush()
                self.agents[user.id] = agent.id
        self.owners += [user.id for user in new]
        return [user.id for user in new]

    async def submit(self, owner_id: UUID, session_id: UUID | None = None, *, number: int = 1) -> list[UUID]:
        """Jobs of an account: each in a session of its own, or all in one."""
        ids = [uuid7() for _ in range(number)]
        async with self.database.write() as db:
            for job_id in ids:
                session = session_id or uuid7()
                if session_id is None:
                    db.add(Session(id=session, owner_id=owner_id, agent_id=self.agents[owner_id]))
                    await db.flush()
                said = Submission(job_id, replace(LOCAL, id=owner_id), session, reply_audio=False, text="Hello")
                await messages.submit(db, said, BUDGET)
        return ids

    async def claim(self, number: int = 1) -> list[UUID]:
        """Claim with entries of jobs that are none; the owners of what was claimed."""
        async with self.database.write() as db:
            wanted = [uuid4() for _ in range(number)]
            claims = await leases.claim_next(db, job_ids=wanted, worker_id=WORKER, lease_s=600)
        self.running |= {claim.job_id: claim for claim in claims}
        return [claim.job_id for claim in claims]

    async def owners_of(self, job_ids: list[UUID]) -> list[UUID]:
        async with self.database.read() as db:
            rows = (await db.exec(select(Job.id, Job.owner_id).where(col(Job.id).in_(job_ids)))).all()
        return [dict(rows)[job_id] for job_id in job_ids]

    async def end(self, job_id: UUID, how: str = "succeed") -> None:
        claim = self.running.pop(job_id)
        async with self.database.write() as db:
            await leases.fence(db, claim)
            match how:
                case "succeed":
                    await leases.succeed(db, claim)
                case "fail":
                    await leases.fail(db, claim, AppError("It broke."))
                case "hand back":
                    await leases.hand_back(db, claim)
                case "give back":
                    await leases.give_back(db, claim, delay_s=0)
                case "retry later":
                    await leases.give_back(db, claim, delay_s=600)

    async def expected(self, number: int) -> set[UUID]:
        """What a plain look at everything would choose, one place after another."""
        async with self.database.read() as db:
            everything = (await db.exec(select(Job).order_by(col(Job.created_at), col(Job.id)))).all()
            now: datetime = (await db.exec(select(db_now()))).one()
        places = Counter(job.owner_id for job in everything if job.status == JobStatus.RUNNING)
        unfinished = [job for job in everything if job.status in {JobStatus.QUEUED, JobStatus.RUNNING}]
        first: dict[UUID | None, int] = {}
        for job in unfinished:
            first[job.session_id] = min(first.get(job.session_id, 2**31), job.seq or 0)
        waiting = [
            job
            for job in unfinished
            if job.status == JobStatus.QUEUED and job.seq == first[job.session_id] and (job.run_at or now) <= now
        ]
        chosen: set[UUID] = set()
        while waiting and len(chosen) < number:
            one = min(waiting, key=lambda job: (places[job.owner_id], job.created_at, job.id))
            waiting.remove(one)
            places[one.owner_id] += 1
            chosen.add(one.id)
        return chosen


@pytest.fixture
async def fleet(database_url: str) -> AsyncIterator[Fleet]:
    database = Database(database_url)
    yield Fleet(database)
    await database.close()


async def test_who_comes_second_gets_the_next_place_whatever_the_first_has_queued(fleet: Fleet) -> None:
    first, second = await fleet.add_accounts(2)
    await fleet.submit(first, number=50)
    held = await fleet.claim(10)
    (late,) = await fleet.submit(second)
    await fleet.end(held[0])
    assert await fleet.claim() == [late]
    await fleet.end(held[1])
    assert await fleet.owners_of(await fleet.claim()) == [first]


async def test_three_accounts_with_many_some_and_one_job_get_the_same_until_they_have_none(fleet: Fleet) -> None:
    many, some, one = await fleet.add_accounts(3)
    for owner, number in ((many, 40), (some, 10), (one, 1)):
        await fleet.submit(owner, number=number)
    got = Counter(await fleet.owners_of(await fleet.claim(12)))
    assert got == {many: 6, some: 5, one: 1}


async def test_an_account_alone_gets_all_places(fleet: Fleet) -> None:
    (alone,) = await fleet.add_accounts(1)
    asked = await fleet.submit(alone, number=45)
    assert sorted(await fleet.claim(40)) == sorted(asked[:40])


async def test_a_claim_takes_its_own_entries_when_nobody_is_known_to_wait(fleet: Fleet) -> None:
    """What a reconciler would find only a moment later is not left lying."""
    (owner,) = await fleet.add_accounts(1)
    (job_id,) = await fleet.submit(owner)
    async with fleet.database.write() as db:
        await db.exec(update(Job).values(leads_since=None))
        (claim,) = await leases.claim_next(db, job_ids=[uuid4(), job_id], worker_id=WORKER, lease_s=600)
    assert claim.job_id == job_id


async def test_jobs_behind_others_of_their_session_and_retries_to_come_keep_nobody_back(fleet: Fleet) -> None:
    deep, late = await fleet.add_accounts(2)
    (first,) = await fleet.submit(deep)
    async with fleet.database.read() as db:
        session = (await db.exec(select(Job.session_id).where(Job.id == first))).one()
    behind = await fleet.submit(deep, session, number=30)
    assert await fleet.claim(5) == [first]
    (other,) = await fleet.submit(late)
    assert await fleet.claim(5) == [other]
    await fleet.end(other, "retry later")
    await fleet.end(first, "fail")
    assert await fleet.claim(5) == [behind[0]]
    async with fleet.database.write() as db:
        await jobs.retry(db, account=replace(LOCAL, id=deep), job_id=first, budget=BUDGET)
    await fleet.end(behind[0], "hand back")
    assert await fleet.claim(5) == [first]


async def test_jobs_that_are_too_late_keep_nobody_back(fleet: Fleet) -> None:
    late, good = await fleet.add_accounts(2)
    await fleet.submit(late, number=3)
    async with fleet.database.write() as db:
        await db.exec(update(Job).values(deadline_at=db_now(-1.0)))
    (job_id,) = await fleet.submit(good)
    assert await fleet.claim(3) == [job_id]


async def test_a_worker_with_a_suspect_takes_no_other_and_yet_whoever_else_is_next(fleet: Fleet) -> None:
    one, other = await fleet.add_accounts(2)
    suspects = await fleet.submit(one, number=2)
    async with fleet.database.write() as db:
        await db.exec(update(Job).values(lost_leases=POISON_LEASES - 1))
    assert await fleet.claim() == suspects[:1]
    (job_id,) = await fleet.submit(other)
    assert await fleet.claim(2) == [job_id]


async def test_whom_nothing_leads_any_more_is_found_by_the_reconciler(fleet: Fleet) -> None:
    """What led an account was cancelled, or its session deleted."""
    one, other = await fleet.add_accounts(2)
    mine, theirs = await fleet.submit(one, number=2), await fleet.submit(other, number=2)
    async with fleet.database.write() as db:
        await jobs.cancel(db, owner_id=one, job_id=mine[0])
        session = (await db.exec(select(Job.session_id).where(Job.id == theirs[0]))).one()
        assert session
        await sessions.delete(db, owner_id=other, session_id=session)
    async with fleet.database.write() as db:
        assert await fairness.lead_every(db) == 2
        assert await fairness.lead_every(db) == 0
    assert await fleet.claim(2) == [mine[1], theirs[1]]


async def test_every_account_is_found_after_an_upgrade(fleet: Fleet) -> None:
    owners = await fleet.add_accounts(5)
    for owner in owners:
        await fleet.submit(owner, number=3)
    async with fleet.database.write() as db:
        await db.exec(update(Job).values(leads_since=None))
        assert await fairness.lead_every(db) == 5
    assert sorted(await fleet.owners_of(await fleet.claim(5))) == sorted(owners)


async def test_marks_that_an_older_version_left_keep_nobody_back(fleet: Fleet) -> None:
    for owner in await fleet.add_accounts(12):
        await fleet.submit(owner)
    for job_id in await fleet.claim(12):
        await fleet.end(job_id)
    async with fleet.database.write() as db:
        await db.exec(update(Job).values(waits_since=db_now(-9.0), leads_since=db_now(-9.0)))
    (owner,) = await fleet.add_accounts(1)
    (job_id,) = await fleet.submit(owner)
    assert await fleet.claim() == [job_id]
    await fleet.end(job_id)
    async with fleet.database.write() as db:
        await fairness.lead_every(db)
        assert not (
            await db.exec(select(Job.id).where(col(Job.waits_since).is_not(None) | col(Job.leads_since).is_not(None)))
        ).all()


Action = Callable[[Fleet, random.Random], Awaitable[None]]


async def _submits(fleet: Fleet, chance: random.Random) -> None:
    await fleet.submit(chance.choice(fleet.owners), number=chance.choice([1, 1, 2, 9]))


async def _says_more(fleet: Fleet, chance: random.Random) -> None:
    async with fleet.database.read() as db:
        known = (await db.exec(select(Session.id, Session.owner_id))).all()
    if known:
        session_id, owner_id = chance.choice(known)
        await fleet.submit(owner_id, session_id)


async def _ends(fleet: Fleet, chance: random.Random) -> None:
    ways = ["succeed", "succeed", "fail", "hand back", "give back", "retry later"]
    for job_id in chance.sample(sorted(fleet.running), k=min(len(fleet.running), chance.choice([1, 1, 3]))):
        await fleet.end(job_id, chance.choice(ways))


async def _cancels(fleet: Fleet, chance: random.Random) -> None:
    async with fleet.database.read() as db:
        queued = (await db.exec(select(Job.owner_id, Job.id).where(Job.status == JobStatus.QUEUED))).all()
    if queued:
        owner_id, job_id = chance.choice(queued)
        async with fleet.database.write() as db:
            await jobs.cancel(db, owner_id=owner_id, job_id=job_id)


async def _is_not_crowded(fleet: Fleet, chance: random.Random) -> None:
    """A worker with room claims what its entries name."""
    async with fleet.database.read() as db:
        queued = (await db.exec(select(Job.id).where(Job.status == JobStatus.QUEUED))).all()
    if queued:
        async with fleet.database.write() as db:
            claim = await leases.claim(db, job_id=chance.choice(queued), worker_id=WORKER, lease_s=600)
        if claim:
            fleet.running[claim.job_id] = claim


@pytest.mark.parametrize("seed", range(4))
async def test_any_mix_is_claimed_in_the_order_of_the_model(fleet: Fleet, seed: int) -> None:
    chance = random.Random(seed)
    await fleet.add_accounts(chance.choice([2, 5, 14]))
    actions: list[Action] = [_submits, _submits, _says_more, _ends, _ends, _cancels, _is_not_crowded]
    claimed = 0
    for _ in range(60):
        await chance.choice(actions)(fleet, chance)
        async with fleet.database.write() as db:
            await reaper.dispatch_due(db)
            await fairness.lead_every(db)
        number = chance.choice([1, 1, 1, 2, 5])
        expected = await fleet.expected(number)
        assert set(await fleet.claim(number)) == expected
        claimed += len(expected)
    assert claimed > 40


@pytest.mark.parametrize("known", [False, True], ids=["statistics of before the rush", "statistics"])
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_claim_reads_no_more_however_much_waits(fleet: Fleet, *, known: bool) -> None:
    busy, *others = await fleet.add_accounts(60)
    await fleet.submit(busy, number=400)
    for owner in others:
        await fleet.submit(owner)
    assert len(await fleet.claim(8)) == 8
    async with fleet.database.write() as db, few_jobs_read(db, 200, known=known):
        first, *_ = await fairness.choose(db, number=1, worker_id=WORKER)
        await fairness.lead(db, after=[first])


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_nobody_waits_for_a_job_that_somebody_has_locked(fleet: Fleet) -> None:
    one, other = await fleet.add_accounts(2)
    mine, theirs = await fleet.submit(one, number=2), await fleet.submit(other)
    async with fleet.database.write() as db:
        await db.exec(select(Job).where(Job.id == mine[0]).with_for_update())
        assert await fleet.claim(2) == [theirs[0], mine[1]]
