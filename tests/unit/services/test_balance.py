"""What a job may cost is held back, and what it did cost is paid: on both databases."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from uuid_utils.compat import uuid7

from shared.errors import AppError, Conflict, Invalid, PaymentRequired, TooMany, Unavailable
from shared.models import Agent, Job, JobStatus, Message, Session, Usage, User
from shared.money import ZERO
from shared.provider_presets import ModelRef
from shared.services import agent as agents
from shared.services import message as messages
from shared.services import session as sessions
from shared.services.cost_estimate import Estimate, bounds, input_tokens_for
from shared.services.job import lease as leases
from shared.services.job import reaper
from shared.services.job import step as steps
from shared.services.job import transitions as jobs
from shared.services.job import turn as turns
from shared.services.job.turn import StepDone, Turn, Used
from shared.services.message import Submission
from shared.services.user import Account
from shared.sql.database import Database
from shared.sql.functions import db_now
from tests.factories import BUDGET, TARIFF

PRICED = TARIFF.catalogue.get("chat", ModelRef("openai", "gpt-6-luna"))
HEARING = TARIFF.catalogue.get("stt", ModelRef("openai", "gpt-transcribe"))
SPEAKING = TARIFF.catalogue.get("tts", ModelRef("openai", "gpt-4o-mini-tts"))


class Purse:
    """A user with a balance, in a database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.id = uuid7()

    async def write(self, rule: Callable[[AsyncSession], Awaitable[Any]]) -> Any:
        async with self.database.write() as db:
            return await rule(db)

    async def open(self, balance: str | None, **limits: Any) -> None:
        """Make the user."""
        self.account = Account(self.id, balance=None if balance is None else Decimal(balance), **limits)
        user = User(id=self.id, username=str(self.id), balance=self.account.balance)
        await self.write(lambda db: _add(db, user))

    async def session(self, **models: str) -> UUID:
        """A session of the user's, with an agent of the priced models."""
        named: dict[str, Any] = {"ai_chat": PRICED.id, "ai_stt": HEARING.id, "ai_tts": SPEAKING.id} | models
        agent = Agent(owner_id=self.id, name="Guide", prompt="You answer.", **named)
        session = Session(owner_id=self.id, agent_id=agent.id)
        await self.write(lambda db: _add(db, agent, session))
        return session.id

    async def submit(self, session_id: UUID, text: str = "Hello", **said: Any) -> UUID:
        """The id of a job."""
        job_id = uuid7()
        fields: dict[str, Any] = {"reply_audio": False, "text": text} | said
        one = Submission(job_id, self.account, session_id, **fields)
        await self.write(lambda db: messages.submit(db, one, BUDGET))
        return job_id

    async def begin(self, job_id: UUID) -> Turn:
        """Claim a job."""

        async def claim(db: AsyncSession) -> Turn:
            claimed = await leases.claim(db, job_id=job_id, worker_id=uuid4(), lease_s=30)
            assert claimed
            return await turns.load(db, claimed, history=20)

        turn: Turn = await self.write(claim)
        return turn

    async def answer(self, turn: Turn, cost: str = "0.0001") -> None:
        """Save a reply that did cost so much, which ends a job that is not to be spoken."""
        done = StepDone("reply", 5, "openai", "gpt-6-luna", used=Used(10, 20, cost=Decimal(cost)))
        await self.write(lambda db: steps.save_reply(db, turn, text="Hi.", language="en", done=done, spoken={}))

    async def fail(self, turn: Turn) -> None:
        """End a job with an error."""

        async def failing(db: AsyncSession) -> None:
            await leases.fence(db, turn.claim)
            await leases.fail(db, turn.claim, AppError("It broke."))

        await self.write(failing)

    async def job(self, job_id: UUID) -> Job:
        async with self.database.read() as db:
            return (await db.exec(select(Job).where(Job.id == job_id))).one()

    async def state(self) -> Any:
        """The balance, and what is held back of it."""
        async with self.database.read() as db:
            user = (await db.exec(select(User).where(User.id == self.id))).one()
            return user.balance, user.reserved

    async def usages(self) -> list[Usage]:
        async with self.database.read() as db:
            return list((await db.exec(select(Usage).where(Usage.owner_id == self.id))).all())

    async def used(self) -> Decimal:
        return sum((usage.cost for usage in await self.usages()), ZERO)


async def _add(db: AsyncSession, *rows: Any) -> None:
    for row in rows:
        db.add(row)
        await db.flush()


@pytest.fixture
async def purse(database_url: str) -> AsyncIterator[Purse]:
    purse = Purse(Database(database_url))
    yield purse
    await purse.database.close()


async def test_a_submit_holds_back_what_it_may_cost_and_the_end_pays_what_it_did(purse: Purse) -> None:
    await purse.open("1")
    job_id = await purse.submit(await purse.session())
    held = (await purse.job(job_id)).reserved
    assert held
    assert await purse.state() == (1, held)
    await purse.answer(await purse.begin(job_id), "0.0001234567")
    job = await purse.job(job_id)
    assert (job.status, job.reserved, job.charged) == (JobStatus.SUCCEEDED, None, Decimal("0.0001234567"))
    assert await purse.state() == (Decimal("0.9998765433"), 0)


async def test_the_bound_covers_a_reply_of_max_tokens_spoken_and_the_whole_note_heard(purse: Purse) -> None:
    await purse.open("100")
    session = await purse.session()
    text = await purse.job(await purse.submit(session, "x" * 1_000))
    spoken = await purse.job(await purse.submit(session, "x" * 1_000, reply_audio=True))
    voice = await purse.job(await purse.submit(session, None, audio_s=60.0))  # type: ignore[arg-type]  # a voice note
    most = TARIFF.max_reply_tokens
    assert text.reserved
    assert text.reserved >= PRICED.cost(input_tokens=1_000, output_tokens=most)
    assert spoken.reserved
    assert spoken.reserved - text.reserved >= SPEAKING.cost(characters=most * 5)
    assert voice.reserved
    assert voice.reserved >= PRICED.cost(output_tokens=most) + HEARING.cost(audio_s=60.0)


async def test_what_a_model_will_read_counts_prompts_and_history(purse: Purse) -> None:
    await purse.open("100")
    session = await purse.session()
    short = await purse.job(await purse.submit(session))
    other = await purse.session()
    await purse.write(
        lambda db: db.exec(update(Session).where(col(Session.id) == other).values(prompt="é" * 5_000))  # 10,000 bytes
    )
    long = await purse.job(await purse.submit(other))
    assert long.reserved
    assert short.reserved
    assert long.reserved - short.reserved == PRICED.cost(input_tokens=10_000)
    behind = await purse.job(await purse.submit(session, "Hello"))
    assert behind.reserved
    assert behind.reserved > short.reserved  # what was said, and an answer that is not there yet


async def test_what_can_not_be_held_back_is_refused_and_changes_nothing(purse: Purse) -> None:
    await purse.open("0.0001")
    session = await purse.session()
    with pytest.raises(PaymentRequired, match=r"may cost up to \$0\.00"):
        await purse.submit(session)
    async with purse.database.read() as db:
        assert (await db.exec(select(Job.id))).all() == []
        assert (await db.exec(select(Message.id))).all() == []
        assert (await db.exec(select(Session.next_seq))).all() == [1]
    assert await purse.state() == (Decimal("0.0001"), 0)


async def test_of_100_submits_at_once_a_balance_for_10_pays_for_10(purse: Purse) -> None:
    await purse.open("100")
    probe = await purse.job(await purse.submit(await purse.session()))
    assert probe.reserved
    await purse.write(lambda db: jobs.cancel(db, owner_id=purse.id, job_id=probe.id))
    pays = _round(probe.reserved * Decimal("10.5"))
    await purse.write(lambda db: db.exec(update(User).where(col(User.id) == purse.id).values(balance=pays)))
    ids = [await purse.session() for _ in range(100)]

    async def one(session_id: UUID) -> bool:
        while True:
            with suppress(Unavailable):  # too many at once for a slow machine: clients try again
                try:
                    await purse.submit(session_id)
                except PaymentRequired:
                    return False
                return True

    assert sum(await asyncio.gather(*map(one, ids))) == 10
    assert await purse.state() == (pays, probe.reserved * 10)
    held = await _all(purse, select(col(Job.reserved)).where(col(Job.reserved).is_not(None)))
    assert held == [probe.reserved] * 10


def _round(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("1e-10"))


async def test_many_submits_in_one_transaction_hold_back_each_its_own(purse: Purse) -> None:
    await purse.open("100")
    poor = Purse(purse.database)
    await poor.open("0.00001")
    rich_session, poor_session = await purse.session(), await poor.session()
    said = [
        Submission(uuid7(), purse.account, rich_session, reply_audio=False, text="Hello"),
        Submission(uuid7(), poor.account, poor_session, reply_audio=False, text="Hello"),
        Submission(uuid7(), purse.account, rich_session, reply_audio=False, text="Hello"),
    ]
    views = await purse.write(lambda db: messages.submit_many(db, said, BUDGET))
    assert [bool(view) for view in views] == [True, False, True]
    first, second = await purse.job(said[0].job_id), await purse.job(said[2].job_id)
    assert first.reserved
    assert second.reserved
    assert first.reserved < second.reserved  # it will read the first one's answer
    assert (await purse.state())[1] == first.reserved + second.reserved
    assert await poor.state() == (Decimal("0.00001"), 0)
    async with purse.database.read() as db:
        seqs = dict((await db.exec(select(Session.id, Session.next_seq))).all())
    assert seqs == {rich_session: 5, poor_session: 1}


@pytest.mark.parametrize("end", ["cancel", "expire", "session", "agent", "lost", "running", "fail"])
async def test_however_a_job_ends_what_it_did_not_use_is_let_go_of(purse: Purse, end: str) -> None:
    await purse.open("1")
    session = await purse.session()
    job_id = await purse.submit(session, reply_audio=True)
    spent = Decimal("0.002")
    if end in {"session", "agent", "lost", "running", "fail"}:
        turn = await purse.begin(job_id)
        await purse.answer(turn, str(spent))
    if end == "cancel":
        await purse.write(lambda db: jobs.cancel(db, owner_id=purse.id, job_id=job_id))
    elif end == "running":
        await purse.write(lambda db: jobs.cancel(db, owner_id=purse.id, job_id=job_id))
        await purse.write(lambda db: leases.cancelled(db, turn.claim))
    elif end == "fail":
        await purse.fail(turn)
    elif end == "expire":
        await purse.write(lambda db: db.exec(update(Job).values(deadline_at=db_now(-1))))
        assert await purse.write(reaper.expire_overdue) == 1
    elif end == "lost":
        await purse.write(lambda db: db.exec(update(Job).values(lease_expires_at=db_now(-1), attempts_left=1)))
        assert await purse.write(reaper.reclaim_lost) == 1
    elif end == "session":
        await purse.write(lambda db: sessions.delete(db, owner_id=purse.id, session_id=session))
    else:
        agent = (await _one(purse, select(Agent))).id
        await purse.write(lambda db: agents.delete(db, owner_id=purse.id, agent_id=agent))
    used = await purse.used()
    assert used == (0 if end in {"cancel", "expire"} else spent)
    assert await purse.state() == (1 - used, 0)


async def _one(purse: Purse, statement: Any) -> Any:
    async with purse.database.read() as db:
        return (await db.exec(statement)).one()


async def test_a_retry_holds_back_what_is_left_and_pays_for_nothing_twice(purse: Purse) -> None:
    await purse.open("10")
    job_id = await purse.submit(await purse.session(), reply_audio=True)
    whole = (await purse.job(job_id)).reserved
    turn = await purse.begin(job_id)
    await purse.answer(turn, "0.003")
    await purse.fail(turn)
    assert await purse.state() == (Decimal("9.997"), 0)
    await purse.write(lambda db: jobs.retry(db, account=purse.account, job_id=job_id, budget=BUDGET))
    again = (await purse.job(job_id)).reserved
    assert whole
    assert again
    assert SPEAKING.cost(characters=3) <= again < whole / 10  # only the speech of three letters
    assert await purse.state() == (Decimal("9.997"), again)
    turn = await purse.begin(job_id)
    assert turn.left == again
    await purse.fail(turn)
    assert await purse.state() == (Decimal("9.997"), 0)
    await purse.write(lambda db: db.exec(update(User).values(balance=ZERO)))
    with pytest.raises(PaymentRequired):
        await purse.write(lambda db: jobs.retry(db, account=purse.account, job_id=job_id, budget=BUDGET))
    assert (await purse.job(job_id)).status == JobStatus.FAILED
    free = {"ai_chat": "offline/offline"}
    queued = await purse.submit(await purse.session(**free))
    with pytest.raises(Conflict):
        await purse.write(lambda db: jobs.retry(db, account=purse.account, job_id=queued, budget=BUDGET))


async def test_what_is_used_beyond_what_was_held_back_is_waived_visibly(purse: Purse) -> None:
    await purse.open("1")
    job_id = await purse.submit(await purse.session())
    held = (await purse.job(job_id)).reserved
    assert held
    await purse.answer(await purse.begin(job_id), "0.5")
    assert await purse.state() == (1 - held, 0)
    rows = {usage.step: usage for usage in await purse.usages()}
    assert rows["reply"].cost == Decimal("0.5")
    assert rows["waived"].cost == held - Decimal("0.5")
    assert rows["waived"].agent_id == rows["reply"].agent_id
    assert (await purse.job(job_id)).charged == held


async def test_an_attempt_knows_what_those_before_it_have_left(purse: Purse) -> None:
    await purse.open("1")
    job_id = await purse.submit(await purse.session(), reply_audio=True)
    held = (await purse.job(job_id)).reserved
    turn = await purse.begin(job_id)
    assert turn.left == held
    await purse.answer(turn, "0.001")

    async def give_back(db: AsyncSession) -> None:
        await leases.fence(db, turn.claim)
        await leases.give_back(db, turn.claim, delay_s=0)

    await purse.write(give_back)
    assert held
    assert (await purse.begin(job_id)).left == held - Decimal("0.001")
    assert await purse.state() == (1, held)


async def test_without_a_balance_nothing_is_held_back_and_nothing_charged(purse: Purse) -> None:
    await purse.open(None)
    job_id = await purse.submit(await purse.session(ai_chat="ollama/llama"))
    assert (await purse.job(job_id)).reserved is None
    turn = await purse.begin(job_id)
    assert turn.left is None
    await purse.answer(turn, "0.5")
    assert await purse.state() == (None, 0)
    assert await purse.used() == Decimal("0.5")


async def test_a_balance_that_becomes_unlimited_meanwhile_is_left_alone(purse: Purse) -> None:
    await purse.open("1")
    job_id = await purse.submit(await purse.session())
    await purse.write(lambda db: db.exec(update(User).where(col(User.id) == purse.id).values(balance=None)))
    await purse.answer(await purse.begin(job_id))
    assert await purse.state() == (None, 0)


async def test_models_without_a_price_or_not_allowed_are_refused(purse: Purse) -> None:
    await purse.open("1")
    with pytest.raises(Invalid, match="may not use ollama/llama"):
        await purse.submit(await purse.session(ai_chat="ollama/llama"))
    await purse.submit(await purse.session(ai_tts="ollama/piper"))  # it is not spoken
    with pytest.raises(Invalid, match="ollama/piper"):
        await purse.submit(await purse.session(ai_tts="ollama/piper"), reply_audio=True)
    with pytest.raises(Invalid, match="ollama/ear"):
        await purse.submit(await purse.session(ai_stt="ollama/ear"), None, audio_s=1.0)  # type: ignore[arg-type]
    purse.account = Account(purse.id, allowed_models=frozenset({"openai/gpt-6-sol"}))
    with pytest.raises(Invalid, match="may not use openai/gpt-6-luna"):
        await purse.submit(await purse.session())
    await purse.submit(await purse.session(ai_chat="openai/gpt-6-sol"))


async def test_of_many_submits_at_once_no_more_jobs_are_made_than_a_user_may_have(purse: Purse) -> None:
    await purse.open(None, jobs_at_a_time=5)

    async def one() -> bool:
        try:
            await purse.submit(await purse.session())
        except TooMany:
            return False
        return True

    assert sum(await asyncio.gather(*(one() for _ in range(30)))) == 5
    job_id = (await _all(purse, select(Job.id)))[0]
    await purse.write(lambda db: jobs.cancel(db, owner_id=purse.id, job_id=job_id))
    assert await one()
    assert not await one()


async def _all(purse: Purse, statement: Any) -> Any:
    async with purse.database.read() as db:
        return (await db.exec(statement)).all()


async def test_balances_of_many_owners_change_without_deadlock(purse: Purse) -> None:
    """Batches end jobs of the same owners, in orders of their own."""
    purses = [purse, *(Purse(purse.database) for _ in range(3))]
    for one in purses:
        await one.open("10")
    batches: list[list[Turn]] = [[], [], [], []]
    for number, batch in enumerate(batches):
        for one in purses[number:] + purses[:number]:
            batch.append(await one.begin(await one.submit(await one.session())))

    async def end(batch: list[Turn]) -> None:
        used = Used(cost=Decimal("0.0001"))
        replies = [steps.TurnReply(turn, "Hi.", "en", StepDone("reply", 5, "openai", "m", used=used)) for turn in batch]
        assert len(await purse.write(lambda db: steps.save_replies(db, replies))) == 4

    await asyncio.gather(*(end(batch) for batch in batches))
    assert [await one.state() for one in purses] == [(Decimal("9.9996"), 0)] * 4


def test_what_is_left_says_how_much_a_model_may_read() -> None:
    most = {"max_reply_tokens": 1_000}
    left = PRICED.cost(input_tokens=500, output_tokens=1_000)
    assert input_tokens_for(left, PRICED, None, **most) == 500
    assert input_tokens_for(ZERO, PRICED, None, **most) == 0
    assert input_tokens_for(left, PRICED, SPEAKING, **most) == 0
    free = TARIFF.catalogue.get("chat", ModelRef("offline", "offline"))
    assert input_tokens_for(ZERO, free, None, **most) is None
    assert input_tokens_for(ZERO, free, SPEAKING, **most) == 0


async def test_a_batch_that_has_too_many_jobs_holds_back_nothing(purse: Purse) -> None:
    await purse.open("10", jobs_at_a_time=1)
    sessions_ = [await purse.session() for _ in range(3)]
    said = [Submission(uuid7(), purse.account, one, reply_audio=False, text="Hello") for one in sessions_]
    assert await purse.write(lambda db: messages.submit_many(db, said, BUDGET)) == [None] * 3
    assert await purse.state() == (10, 0)


async def test_two_logins_of_one_user_are_one_user_in_a_batch(purse: Purse) -> None:
    await purse.open(None, jobs_at_a_time=1)
    other = replace(purse.account, login_id=uuid7())
    said = [
        Submission(uuid7(), account, await purse.session(), reply_audio=False, text="Hello")
        for account in (purse.account, other)
    ]
    assert await purse.write(lambda db: messages.submit_many(db, said, BUDGET)) == [None, None]


async def test_who_can_not_pay_waits_for_nobody(purse: Purse) -> None:
    await purse.open("0.002")  # less than a turn may cost
    session = await purse.session()
    async with purse.database.write() as db:
        sizes = await bounds(db, TARIFF, purse.account, [Estimate(session, speak=False, text="Hello")])
    most, spare = sizes
    assert spare == Decimal("0.002")
    assert most[0] > spare


async def test_a_cancelled_turn_pays_for_the_reply_that_was_told(purse: Purse) -> None:
    await purse.open("1")
    job_id = await purse.submit(await purse.session())
    turn = await purse.begin(job_id)
    turn.unpaid = StepDone("reply", 5, "openai", "gpt-6-luna", used=Used(10, 20, cost=Decimal("0.0002")))
    await purse.write(lambda db: jobs.cancel(db, owner_id=purse.id, job_id=job_id))

    async def end(db: AsyncSession) -> None:
        await steps.save_unpaid(db, turn)
        await leases.cancelled(db, turn.claim)

    await purse.write(end)
    assert await purse.used() == Decimal("0.0002")
    assert await purse.state() == (Decimal("0.9998"), 0)
