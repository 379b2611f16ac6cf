"""kill -9 a worker before, during and after each step and each commit: what was saved is kept, the rest is resumed."""

import asyncio
import time
from random import Random

import pytest

from tests.faults.checker import check
from tests.faults.deployment import Deployment, Worker
from tests.faults.history import Accepted, History
from tests.faults.jobs import STEPS, in_flight, submit
from tests.faults.waiting import until

LEASE_S = 3
RESUMED_S = LEASE_S + 5
DEFAULT_RESUMED_S = 20  # with the default lease of 15 s
COMMITS: tuple[tuple[str, str | None, dict[str, str]], ...] = (
    ("job", None, {"status": "running"}),
    ("step", "transcribe", {}),
    ("step", "reply", {}),
    ("step", "speak/1", {}),
    ("blob", "reply", {}),
    ("job", None, {"status": "succeeded"}),
)
"""The commits of a spoken turn, from its claim to its end."""


def kill(worker: Worker) -> float:
    """When it was killed."""
    worker.kill()
    return time.time()


def assert_resumed(history: History, job: Accepted, killed_at: float, within: float = RESUMED_S) -> None:
    """Another worker has claimed the job soon enough, unless it had ended."""
    ended = [end.at for end in history.ends(job.job_id)]
    again = [claim.at for claim in history.claims(job.job_id) if claim.at > killed_at]
    assert again or min(ended) <= killed_at, f"{job} was never resumed"
    assert not again or again[0] - killed_at < within


async def test_during_a_call_that_call_and_no_other_is_made_again(parley: Deployment, chance: Random) -> None:
    _, worker = await asyncio.gather(parley.start_api(), parley.start_worker())
    jobs = await in_flight(parley, chance)
    await parley.start_worker()
    killed_at = kill(worker)
    history = await parley.ended()
    check(history)
    for step, job in jobs.items():
        assert_resumed(history, job, killed_at)
        assert len(parley.model.asked(job.topic, step)) >= 2  # the checker knows the most


async def test_between_an_answer_and_its_commit_the_answer_is_asked_for_again(
    parley: Deployment, chance: Random
) -> None:
    _, worker = await asyncio.gather(parley.start_api(), parley.start_worker())
    jobs = await in_flight(parley, chance)
    await parley.start_worker()

    async def saving() -> bool:
        """Every answer has come, and none can be saved."""
        if parley.sql.is_sqlite:
            return bool(worker.events("save.store_away"))
        return await parley.sql.waiting() >= len(jobs)

    async with parley.sql.locked("session", *[job.session_id for job in jobs.values()]):
        parley.model.release()
        await until(saving, "the answers wait to be saved")
        killed_at = kill(worker)
    history = await parley.ended()
    check(history)
    for step, job in jobs.items():
        assert_resumed(history, job, killed_at)
        assert len(parley.model.asked(job.topic, step)) >= 2  # the checker knows the most


async def test_after_a_commit_nothing_of_it_is_done_again(parley: Deployment, chance: Random) -> None:
    await asyncio.gather(parley.start_api(), parley.start_worker())
    killed: list[tuple[Accepted, float]] = []
    for table, name, fields in chance.sample(COMMITS, len(COMMITS)):
        await parley.start_worker()
        job = await submit(parley, "transcribe", chance)
        await parley.wrote(job, table, name, **fields)
        killed.append((job, kill(await parley.owner(job))))
    history = await parley.ended()
    check(history)
    for job, killed_at in killed:
        assert_resumed(history, job, killed_at)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_with_the_default_lease_it_is_resumed_in_20_s(parley: Deployment, chance: Random) -> None:
    del parley.env["LEASE_S"], parley.env["RECONCILE_S"]
    _, worker = await asyncio.gather(parley.start_api(), parley.start_worker())
    step = chance.choice(STEPS)
    job = await submit(parley, step, chance, hold=1)
    await parley.called(job, step)
    await parley.start_worker()
    killed_at = kill(worker)
    history = await parley.ended()
    check(history)
    assert_resumed(history, job, killed_at, DEFAULT_RESUMED_S)
