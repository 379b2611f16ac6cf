"""A job that kills every worker that runs it: it is taken away after three, and nobody else pays for it."""

import asyncio
import statistics
from random import Random
from typing import NamedTuple

import pytest

from tests.fakes.openai_script import Answer
from tests.faults.checker import check
from tests.faults.client import new_topic
from tests.faults.conftest import SEEDS
from tests.faults.deployment import Deployment
from tests.faults.history import TERMINAL, Accepted, History, Write
from tests.faults.jobs import STEPS, submit
from tests.faults.rules.facts import facts_of

ATTEMPTS = 3
GOOD = 200 if SEEDS > 1 else 40
SLOWER = 1.10
BESIDE = 10  # with the poison job they fit into one worker


class Load(NamedTuple):
    """Good jobs that come a second, how long the model takes for each, and workers of two places for them."""

    rate: float
    reply_s: float
    workers: int


LOAD = Load(16.0, 0.2, 3)
MEASURED = Load(4.0, 2.0, 7)  # calls so long that a noisy machine is a small part, and one worker to spare for 8


async def poison(parley: Deployment, chance: Random) -> Accepted:
    """Submit a job, and kill -9 whoever has it whenever the model is asked; a new worker starts each time."""
    step = chance.choice(STEPS)
    job = await submit(parley, step, chance, hold=ATTEMPTS + 1)
    for times in range(1, ATTEMPTS + 1):
        await parley.called(job, step, times)
        (await parley.owner(job)).kill()
        await parley.start_worker()
    await parley.wrote(job, "job", status="failed")
    assert len(parley.model.asked(job.topic, step)) == ATTEMPTS
    return job


async def talk(parley: Deployment, agent: str) -> Accepted:
    """A good job, in a session of its own."""
    return await parley.client.text(await parley.client.session(agent), sentences=1)


async def stream(parley: Deployment, agent: str, number: int, rate: float) -> list[Accepted]:
    """Good jobs at a steady rate."""
    clock = asyncio.get_running_loop()
    began = clock.time()
    tasks = []

    for index in range(number):
        tasks.append(asyncio.create_task(talk(parley, agent)))
        await asyncio.sleep(began + (index + 1) / rate - clock.time())
    return await asyncio.gather(*tasks)


async def assert_poisoned(parley: Deployment, history: History, job: Accepted) -> None:
    told = await parley.client.job(job.job_id)
    assert (told["status"], told["error"]["code"]) == ("failed", "poison")
    assert len(history.claims(job.job_id)) == ATTEMPTS
    assert [end.status for end in history.ends(job.job_id)] == ["failed"]


def assert_the_others_succeed(history: History, job: Accepted) -> None:
    others = {row["status"] for row in history.rows["job"] if row["id"] != job.job_id}
    assert others == {"succeeded"}


def p95(history: History, jobs: list[Accepted]) -> float:
    """Seconds from a submit to its end, for all but the slowest twentieth."""
    facts = facts_of(history)
    took = [_took(facts.of(job.job_id, "job")) for job in jobs]
    return statistics.quantiles(took, n=20)[-1]


def _took(moves: list[Write]) -> float:
    return next(move.at for move in moves if move.status in TERMINAL) - moves[0].at


@pytest.mark.timeout(400)
async def test_poison_harms_none_of_those_that_come_beside_it(
    parley: Deployment, chance: Random, *, full: bool
) -> None:
    load = MEASURED if full else LOAD
    parley.env["WORKER_CONCURRENCY"] = "2"
    parley.model.always("chat", Answer(delay_s=load.reply_s))
    await asyncio.gather(parley.start_api(), *[parley.start_worker() for _ in range(load.workers)])
    agent = await parley.client.agent()
    alone = GOOD // 2 if full else 0
    before = await stream(parley, agent, alone, load.rate)
    poisoned = asyncio.create_task(poison(parley, chance))
    beside = await stream(parley, agent, GOOD, load.rate)
    job = await poisoned
    after = await stream(parley, agent, alone, load.rate)
    history = await parley.ended()
    check(history)
    await assert_poisoned(parley, history, job)
    assert_the_others_succeed(history, job)
    if full:
        slower = p95(history, beside) / p95(history, before + after)
        print(f"p95 beside a poison job: {slower:.3f} of that without")  # noqa: T201
        assert slower <= SLOWER


async def test_poison_takes_none_along_that_died_beside_it_before(parley: Deployment, chance: Random) -> None:
    """Every good job loses two leases with it: that it does not lose the third is the rule for suspects."""
    parley.env |= {"WORKER_CONCURRENCY": "20", "LEASE_S": "2"}
    parley.model.always("chat", Answer(delay_s=0.7))  # nobody beside it has ended when it kills
    await asyncio.gather(parley.start_api(), parley.start_worker())
    agent = await parley.client.agent()
    first = [await held_twice(parley, agent) for _ in range(chance.randint(0, BESIDE))]
    job = await submit(parley, "reply", chance, hold=ATTEMPTS + 1)
    beside = first + [await held_twice(parley, agent) for _ in range(BESIDE - len(first))]
    for times in range(1, ATTEMPTS):
        await asyncio.gather(*[parley.called(one, "reply", times) for one in [job, *beside]])
        (await parley.owner(job)).kill()
        await parley.start_worker()
    fresh = asyncio.gather(parley.start_worker(), *[talk(parley, agent) for _ in range(BESIDE)])
    await parley.called(job, "reply", ATTEMPTS)
    (await parley.owner(job)).kill()
    await fresh
    history = await parley.ended()
    check(history)
    await assert_poisoned(parley, history, job)
    assert_the_others_succeed(history, job)
    lost = {row["id"]: row["lost_leases"] for row in history.rows["job"]}
    assert {lost[one.job_id] for one in beside} == {ATTEMPTS - 1}


async def held_twice(parley: Deployment, agent: str) -> Accepted:
    """A job whose first two calls are not answered."""
    session, topic = await parley.client.session(agent), new_topic()
    for _ in range(ATTEMPTS - 1):
        parley.model.hold(topic, "reply")
    return await parley.client.text(session, topic=topic)
