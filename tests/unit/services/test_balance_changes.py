"""A balance that is set, changed and taken away while jobs queue, run, fail, are retried, cancelled and deleted."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.errors import Conflict, PaymentRequired
from shared.models import LOCAL_USER_ID, Job
from shared.money import ZERO
from shared.services import session as sessions
from shared.services import user as users
from shared.services.job import lease as leases
from shared.services.job import transitions as jobs
from shared.services.job.turn import Turn
from shared.sql.database import Database
from tests.factories import BUDGET
from tests.unit.services.test_balance import Purse

ACTS = 120


@pytest.fixture
async def purse(database_url: str) -> AsyncIterator[Purse]:
    database = Database(database_url)
    yield Purse(database)
    await database.close()


async def set_balance(purse: Purse, balance: str | None) -> None:
    value = None if balance is None else Decimal(balance)
    await purse.write(lambda db: users.change(db, user_id=purse.id, fields={"balance": value}, by=LOCAL_USER_ID))
    purse.account = replace(purse.account, balance=value)


async def cancel(purse: Purse, turn: Turn) -> None:
    await purse.write(lambda db: jobs.cancel(db, owner_id=purse.id, job_id=turn.job.id))
    await purse.write(lambda db: leases.cancelled(db, turn.claim))


async def retry(purse: Purse, job_id: UUID) -> None:
    await purse.write(lambda db: jobs.retry(db, account=purse.account, job_id=job_id, budget=BUDGET))


async def used_by(purse: Purse, job_id: UUID) -> Decimal:
    return sum((usage.cost for usage in await purse.usages() if usage.job_id == job_id), ZERO)


async def waived(purse: Purse) -> list[Decimal]:
    return [usage.cost for usage in await purse.usages() if usage.step == "waived"]


async def test_a_job_begun_without_a_balance_and_ended_with_one_is_free_and_the_usage_says_so(purse: Purse) -> None:
    await purse.open(None)
    turn = await purse.begin(await purse.submit(await purse.session()))
    await set_balance(purse, "1")
    await purse.answer(turn, "0.25")
    assert await purse.state() == (1, 0)
    assert await waived(purse) == [Decimal("-0.25")]
    assert await purse.used() == 0


async def test_a_job_begun_with_a_balance_that_is_taken_away_and_given_back_is_paid(purse: Purse) -> None:
    await purse.open("1")
    job_id = await purse.submit(await purse.session())
    held = (await purse.state())[1]
    turn = await purse.begin(job_id)
    await set_balance(purse, None)
    await set_balance(purse, "2")
    assert await purse.state() == (2, held)
    await purse.answer(turn, "0.0001")
    assert await purse.state() == (2 - Decimal("0.0001"), 0)
    assert await waived(purse) == []


async def test_what_was_free_stays_free_when_it_is_retried_with_a_balance(purse: Purse) -> None:
    await purse.open(None)
    job_id = await purse.submit(await purse.session(), reply_audio=True)
    turn = await purse.begin(job_id)
    await purse.answer(turn, "0.25")
    await purse.fail(turn)
    await set_balance(purse, "5")
    await retry(purse, job_id)
    turn = await purse.begin(job_id)
    assert turn.left == (await purse.job(job_id)).reserved, "what was used before is not taken off what is held back"
    await purse.fail(turn)
    assert await purse.state() == (5, 0)
    assert await purse.used() == Decimal("0.25"), "it was used while there was no balance"


async def test_a_session_that_is_deleted_with_such_a_job_leaves_no_difference(purse: Purse) -> None:
    await purse.open(None)
    session = await purse.session()
    turn = await purse.begin(await purse.submit(session, reply_audio=True))
    await purse.answer(turn, "0.25")
    await set_balance(purse, "1")
    await purse.write(lambda db: sessions.delete(db, owner_id=purse.id, session_id=session))
    assert await purse.state() == (1, 0)
    assert await purse.used() == 0


class Ledger:
    """What must be true after each act: written down here a second time, on purpose."""

    def __init__(self, purse: Purse, chance: Random) -> None:
        self.purse = purse
        self.chance = chance
        self.balance: Decimal | None = None
        self.at_its_last_end: dict[UUID, Decimal] = {}
        self.turns: dict[UUID, Turn] = {}
        self.ends = 0

    async def set(self) -> None:
        balance = self.chance.choice([None, "0", "0.5", "3", "20"])
        before = self.purse.account
        with suppress(Conflict):  # less than what is reserved
            await set_balance(self.purse, balance)
            self.balance = self.purse.account.balance
            if self.chance.random() < 0.3:
                self.purse.account = before  # as who asked just before it was set

    async def submit(self) -> None:
        session = await self.purse.session()
        with suppress(PaymentRequired):
            await self.purse.submit(session, reply_audio=self.chance.random() < 0.6)

    async def begin(self) -> None:
        if job := await self._any("queued"):
            self.turns[job.id] = await self.purse.begin(job.id)

    async def use(self) -> None:
        job = await self._any("running")
        if job and not (turn := self.turns[job.id]).reply:
            await self.purse.answer(turn, self.chance.choice(["0.0001", "0.0123", "4"]))
            await self._ended(job.id)

    async def fail(self) -> None:
        if job := await self._any("running"):
            await self.purse.fail(self.turns[job.id])
            await self._ended(job.id)

    async def give_back(self) -> None:
        if job := await self._any("running"):
            claim = self.turns[job.id].claim

            async def giving(db: AsyncSession) -> None:
                await leases.fence(db, claim)
                await leases.give_back(db, claim, delay_s=0)

            await self.purse.write(giving)

    async def cancel(self) -> None:
        if job := await self._any("running"):
            await cancel(self.purse, self.turns[job.id])
            await self._ended(job.id)
        elif job := await self._any("queued"):
            await self.purse.write(lambda db: jobs.cancel(db, owner_id=self.purse.id, job_id=job.id))
            await self._ended(job.id)

    async def retry(self) -> None:
        if job := await self._any("failed"):
            with suppress(PaymentRequired):
                await retry(self.purse, job.id)

    async def delete(self) -> None:
        if job := await self._any("running", "queued"):
            assert job.session_id
            session_id = job.session_id
            await self.purse.write(lambda db: sessions.delete(db, owner_id=self.purse.id, session_id=session_id))
            await self._ended(job.id, deleted=True)

    async def check(self) -> None:
        balance, reserved = await self.purse.state()
        assert balance == self.balance
        async with self.purse.database.read() as db:
            rows = (await db.exec(select(Job).where(Job.owner_id == self.purse.id))).all()
        assert reserved == sum((job.reserved for job in rows if job.reserved), ZERO)
        assert not [job for job in rows if job.status not in {"queued", "running"} and job.reserved is not None]
        assert balance is None or balance >= reserved

    async def _ended(self, job_id: UUID, *, deleted: bool = False) -> None:
        """What its usage has grown by since it ended last is what the balance has lost."""
        if not deleted and (await self.purse.job(job_id)).status in {"queued", "running"}:
            return
        self.ends += 1
        used = await used_by(self.purse, job_id)
        if self.balance is not None:
            self.balance -= used - self.at_its_last_end.get(job_id, ZERO)
        self.at_its_last_end[job_id] = used

    async def _any(self, *states: str) -> Job | None:
        async with self.purse.database.read() as db:
            rows = (await db.exec(select(Job).where(Job.owner_id == self.purse.id))).all()
        found = [job for job in rows if job.status in states]
        return self.chance.choice(found) if found else None


@pytest.mark.parametrize("seed", range(4))
async def test_in_any_order_the_balance_loses_what_the_usage_says(purse: Purse, seed: int) -> None:
    await purse.open(None)
    chance = Random(seed)
    ledger = Ledger(purse, chance)
    acts: list[Callable[[], Awaitable[Any]]] = [
        ledger.set, ledger.submit, ledger.begin, ledger.use, ledger.fail, ledger.give_back, ledger.cancel,
        ledger.retry, ledger.delete,
    ]  # fmt: skip
    for _ in range(ACTS):
        (act,) = chance.choices(acts, [12, 22, 22, 18, 10, 4, 5, 12, 2])
        await act()
        await ledger.check()
    assert ledger.ends > 10
    assert await waived(purse)
