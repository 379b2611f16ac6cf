"""SIGSTOP a worker past its lease, then SIGCONT: its jobs are another's by then, and its late writes are refused."""

import asyncio
import signal
from random import Random

import pytest

from tests.faults.checker import check
from tests.faults.deployment import Deployment, Worker
from tests.faults.history import Accepted
from tests.faults.jobs import in_flight, submit
from tests.faults.waiting import until

RESUMED_S = 8  # the lease of 3 s, and 5 more


async def wake(worker: Worker, jobs: list[Accepted]) -> None:
    """Let a frozen worker find out that it has lost these jobs."""
    lost = {job.job_id for job in jobs}
    worker.send(signal.SIGCONT)
    await until(lambda: lost <= {line["job_id"] for line in worker.events("job.lease_lost")}, "the leases are lost")


async def test_what_a_stalled_worker_writes_late_is_refused(parley: Deployment, chance: Random) -> None:
    _, stalled = await asyncio.gather(parley.start_api(), parley.start_worker())
    finished = await in_flight(parley, chance)
    in_work = await in_flight(parley, chance, hold=2)
    await parley.start_worker()
    await parley.stall(stalled)
    parley.model.release()  # the answers wait in the frozen worker's sockets
    await asyncio.gather(*[parley.wrote(job, "job", status="succeeded") for job in finished.values()])
    again = await asyncio.gather(*[parley.called(job, step, times=2) for step, job in in_work.items()])
    assert all(call.held for call in again)
    await wake(stalled, [*finished.values(), *in_work.values()])
    parley.model.release()
    history = await parley.ended()
    check(history)
    for step, job in [*finished.items(), *in_work.items()]:
        assert 1 not in [write.attempt for write in history.of(job.job_id, "step") if write.name == step]


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_worker_stalled_inside_a_transaction_keeps_nobody_from_working(
    parley: Deployment, chance: Random
) -> None:
    _, stalled = await asyncio.gather(parley.start_api(), parley.start_worker())
    first, second = [await submit(parley, "reply", chance, hold=1) for _ in range(2)]
    await asyncio.gather(parley.called(first, "reply"), parley.called(second, "reply"))
    await parley.start_worker()

    async def waits() -> bool:
        return await parley.sql.waiting() > 0

    async with parley.sql.locked("job", first.job_id):  # it has its session by now, and waits for its job
        parley.model.release(*parley.model.asked(first.topic, "reply"))
        await until(waits, "the first job's worker writes")
        stalled.send(signal.SIGSTOP)
        parley.history.stalled.update([first.job_id, second.job_id])
    assert not await parley.sql.is_free()
    session = await parley.client.session()
    await parley.wrote(await parley.client.text(session), "job", status="succeeded")
    await until(lambda: len(parley.model.asked(second.topic, "reply")) == 2, "the second is resumed", within=RESUMED_S)
    await until(lambda: len(parley.model.asked(first.topic, "reply")) == 2, "the first is resumed", within=RESUMED_S)
    await wake(stalled, [first, second])
    check(await parley.ended())
