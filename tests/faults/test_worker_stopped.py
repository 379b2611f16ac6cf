"""SIGTERM a worker under load: it ends in time and well, and takes nothing from the jobs that it had."""

import asyncio
import signal
import time
from random import Random

from tests.fakes.openai_script import Answer
from tests.faults.checker import check
from tests.faults.deployment import Deployment, Worker
from tests.faults.history import History
from tests.faults.jobs import in_flight
from tests.faults.waiting import until

STOPPED_S = 30
LEASE_S = "15"  # nothing here waits for a lease
SESSIONS, TURNS = 10, 3


async def stop(worker: Worker) -> None:
    """Ask it to stop; it has to be gone in time, with exit code 0."""
    began = time.monotonic()
    assert await asyncio.to_thread(worker.stop, signal.SIGTERM) == 0, worker.log.read_text()
    assert time.monotonic() - began < STOPPED_S


def assert_no_attempt_used(history: History) -> None:
    for job_id in history.accepted:
        assert len({write.attempts_left for write in history.of(job_id, "job")}) == 1


async def test_what_it_has_time_for_is_finished_and_nothing_is_repeated(parley: Deployment, chance: Random) -> None:
    parley.env |= {"WORKER_CONCURRENCY": "6", "LEASE_S": LEASE_S}
    _, stopped, _ = await asyncio.gather(parley.start_api(), parley.start_worker(), parley.start_worker())
    for endpoint in ("chat", "speech", "transcriptions"):
        parley.model.always(endpoint, Answer(delay_s=0.05 + 0.1 * chance.random()))

    async def talk() -> None:
        session = await parley.client.session()
        await parley.client.voice(session)
        for _ in range(TURNS - 1):
            await parley.client.text(session, reply_audio=chance.random() < 0.5)

    some = chance.randint(3, 9)
    async with asyncio.TaskGroup() as clients:
        for _ in range(SESSIONS):
            clients.create_task(talk())
        await until(lambda: len(stopped.events("job.claimed")) >= some, "the worker is busy")
        await stop(stopped)
    history = await parley.ended()
    check(history)
    assert len(history.accepted) == SESSIONS * TURNS
    assert_no_attempt_used(history)
    asked = [(call.topic, call.step) for call in history.calls]
    assert len(asked) == len(set(asked))


async def test_what_it_has_no_time_for_is_handed_back_unused(parley: Deployment, chance: Random) -> None:
    parley.env["LEASE_S"] = LEASE_S
    _, stopped = await asyncio.gather(parley.start_api(), parley.start_worker(SHUTDOWN_GRACE="0.5"))
    jobs = await in_flight(parley, chance)
    await parley.start_worker()
    await stop(stopped)
    history = await parley.ended()
    check(history)
    assert_no_attempt_used(history)
    for step, job in jobs.items():
        assert [claim.attempt for claim in history.claims(job.job_id)] == [1, 2]
        assert len(parley.model.asked(job.topic, step)) == 2  # the one in flight, and no other
    handed_back = {line["job_id"] for line in stopped.events("job.handed_back")}
    assert handed_back == {job.job_id for job in jobs.values()}
