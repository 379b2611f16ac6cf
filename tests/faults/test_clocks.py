"""Hosts whose clocks are ten minutes apart: only the database's decides. On SQLite that is the host's own."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from random import Random
from statistics import median

import pytest

from tests.fakes.openai_script import Answer
from tests.faults import audit
from tests.faults.checker import check
from tests.faults.client import new_topic
from tests.faults.clocks import clock, is_ahead
from tests.faults.deployment import Deployment
from tests.faults.history import Accepted
from tests.faults.jobs import submit
from tests.faults.waiting import until

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)

APART_S = 300
LEASE_S = 3
RESUMED_S = LEASE_S + 5
DEADLINE_S = 5
PICKUPS = 3
PICKUP_S = 1
AFTER_S = 2


async def start(parley: Deployment, chance: Random) -> None:
    """An API and two workers, one ahead and one behind; neither knows better."""
    parley.env["RECONCILE_S"] = "0.2"
    first = chance.choice([APART_S, -APART_S])
    api_s = chance.choice([APART_S, -APART_S])
    await parley.start_api(**clock(api_s))
    told = parsedate_to_datetime((await parley.client.http.get("/health")).headers["date"])
    assert is_ahead(told.timestamp(), api_s)
    for ahead_s in (first, -first):
        worker = await parley.start_worker(WORKER_CONCURRENCY="1", **clock(ahead_s))
        assert is_ahead(worker.events("worker.started")[0]["timestamp"], ahead_s)


def later() -> dict[str, str]:
    """A moment to come back at, by the model server's own clock."""
    now = datetime.now(UTC)
    then = now + timedelta(seconds=AFTER_S)
    return {"date": format_datetime(now, usegmt=True), "retry-after": format_datetime(then, usegmt=True)}


async def outlives_its_lease(parley: Deployment, job: Accepted) -> None:
    """Its lease would have run out twice if it were not renewed."""
    claim = await parley.claimed(job)

    async def renewed() -> bool:
        latest = (await audit.read(parley.sql, table="job", job_id=job.job_id))[-1]
        return latest.at - claim.at > 2 * LEASE_S

    await until(renewed, f"{job} is renewed")


async def quick(parley: Deployment) -> list[Accepted]:
    """Jobs for whoever is free, one after another; the last is put off by its model."""
    topics = [new_topic() for _ in range(PICKUPS)]
    parley.model.once(topics[-1], "reply", Answer(status=429, headers=later()))
    jobs = []
    for topic in topics:
        jobs.append(await parley.client.text(await parley.client.session(), topic=topic))
        assert (await parley.client.done(jobs[-1].job_id))["status"] == "succeeded"
    return jobs


def assert_on_time(parley: Deployment, jobs: list[Accepted]) -> None:
    """One pickup may be late on a busy machine; a wrong clock delays all of them."""
    delays = [parley.history.claims(job.job_id)[0].at - parley.history.of(job.job_id, "job")[0].at for job in jobs]
    assert median(delays) < PICKUP_S, delays
    put_off, again = parley.model.asked(jobs[-1].topic, "reply")
    assert AFTER_S <= again.at - put_off.at < AFTER_S + PICKUP_S


async def test_nothing_is_taken_early_and_nothing_comes_late(parley: Deployment, chance: Random) -> None:
    await start(parley, chance)
    held = [await submit(parley, "reply", chance, hold=1) for _ in range(2)]
    calls = [await parley.called(job, "reply") for job in held]
    await asyncio.gather(*[outlives_its_lease(parley, job) for job in held])
    free, busy = [await parley.owner(job) for job in held]
    assert free is not busy
    parley.model.release(calls[0])
    of_one = await quick(parley)
    occupied = await submit(parley, "reply", chance, hold=1)
    await parley.called(occupied, "reply")
    parley.model.release(calls[1])
    of_other = await quick(parley)
    parley.model.release()
    history = await parley.ended()
    check(history)
    for worker, jobs in ((free, of_one), (busy, of_other)):
        assert {await parley.owner(job) for job in jobs} == {worker}
        assert_on_time(parley, jobs)
    for job in held:
        assert len(history.claims(job.job_id)) == len(parley.model.asked(job.topic, "reply")) == 1


async def test_a_lease_and_a_deadline_run_out_on_time(parley: Deployment, chance: Random) -> None:
    parley.env["JOB_DEADLINE"] = str(DEADLINE_S)
    await start(parley, chance)
    job = await submit(parley, "reply", chance, hold=2)
    behind = next(told for told in parley.history.accepted.values() if told is not job)
    await parley.called(job, "reply")
    (await parley.owner(job)).kill()
    killed_at = time.time()  # here it is the database's own
    await parley.called(job, "reply", times=2)
    expired = await parley.wrote(behind, "job", status="expired")
    parley.model.release()
    history = await parley.ended()
    check(history)
    resumed = history.claims(job.job_id)[1].at - killed_at
    assert resumed < RESUMED_S
    assert DEADLINE_S <= expired.at - history.of(behind.job_id, "job")[0].at < DEADLINE_S + PICKUP_S
    assert (await parley.client.job(job.job_id))["status"] == "succeeded"
