"""SQL restarted, paused and locked under load: clients are told to come back, and workers keep the jobs they have."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from random import Random

import pytest

from tests.conftest import migrate
from tests.fakes.openai_server import FakeOpenAI
from tests.faults.checker import check
from tests.faults.client import new_topic
from tests.faults.conftest import SEEDS
from tests.faults.deployment import Deployment
from tests.faults.history import Accepted
from tests.faults.jobs import in_flight
from tests.faults.model import note
from tests.faults.stream import ANSWERED_S, Stream, slowest
from tests.faults.upload import Told, Upload
from tests.services import PostgresServer, private

FLOWING_S = 15.0
AWAY_S = 30.0 if SEEDS > 1 else 6.0  # either is longer than a lease
REFUSED = 3
CROWD = 40  # more than there are connections

Fault = Callable[[], AbstractAsyncContextManager[None]]


@pytest.fixture
async def server() -> AsyncIterator[PostgresServer]:
    """A PostgreSQL that only this test breaks."""
    with private(PostgresServer) as started:
        yield started


@asynccontextmanager
async def restarted(server: PostgresServer, number: signal.Signals) -> AsyncIterator[None]:
    """Down for as long as the block takes."""
    await asyncio.to_thread(server.stop, number)
    yield
    await asyncio.to_thread(server.start)


@asynccontextmanager
async def paused(server: PostgresServer) -> AsyncIterator[None]:
    """It answers nobody for longer than a lease, and hangs up on nobody."""
    server.stall()
    away = asyncio.create_task(asyncio.sleep(AWAY_S))
    yield
    await away
    server.resume()


@asynccontextmanager
async def locked(parley: Deployment) -> AsyncIterator[None]:
    """Nobody else can write for longer than a lease."""
    async with parley.sql.locked("job"):
        away = asyncio.create_task(asyncio.sleep(AWAY_S))
        yield
        await away


async def go_through(parley: Deployment, chance: Random, faults: list[Fault]) -> None:
    """Let every fault happen in the midst of calls, submits and an upload, and look at what comes of it."""
    api, *workers = await asyncio.gather(parley.start_api(), parley.start_worker(), parley.start_worker())
    in_work: dict[Accepted, str] = {}
    uploads: list[Told] = []
    async with Stream(parley, chance) as stream:
        for fault in faults:
            jobs = await in_flight(parley, chance)
            in_work |= {job: step for step, job in jobs.items()}
            upload = await Upload(parley, await parley.client.session(), note(new_topic())).begin()
            await upload.announced()
            async with fault():
                parley.model.release()
                told, *_ = await asyncio.gather(
                    upload.told(), stream.refused(REFUSED), stream.poll(next(iter(jobs.values())).job_id, times=CROWD)
                )
                uploads.append(told)
            assert await stream.flows() < FLOWING_S, fault
    history = await parley.ended()
    check(history)
    assert all(process.alive for process in (api, *workers))
    for job, step in in_work.items():
        assert [claim.attempt for claim in history.claims(job.job_id)] == [1], step
    asked = [(call.topic, call.step) for call in history.calls]
    assert len(asked) == len(set(asked))
    assert {answer.status for answer in stream.answers} <= {200, 202, 503}
    assert all(answer.retry_after for answer in stream.answers if answer.status == HTTPStatus.SERVICE_UNAVAILABLE)
    assert slowest(stream.answers) < ANSWERED_S
    for told in uploads:
        assert told.status == HTTPStatus.SERVICE_UNAVAILABLE
        assert "retry-after: " in told.headers
        assert told.took_s < ANSWERED_S


async def test_postgresql_restarted_and_paused_costs_no_message_and_no_call(
    tmp_path: Path, server: PostgresServer, model_server: FakeOpenAI, chance: Random
) -> None:
    url = f"{server.url}/postgres"
    await asyncio.to_thread(migrate, url)
    faults: list[Fault] = [
        partial(restarted, server, signal.SIGINT),
        partial(restarted, server, signal.SIGQUIT),
        partial(paused, server),
    ]
    async with Deployment(tmp_path, url, model_server) as parley:
        await go_through(parley, chance, chance.sample(faults, len(faults)))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_sqlite_locked_costs_no_message_and_no_call(parley: Deployment, chance: Random) -> None:
    await go_through(parley, chance, [partial(locked, parley)])
