"""The main provider dies in the middle of a crowd that has another one to fall back on: nobody's message fails."""

import asyncio
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.faults.deployment import Deployment
from tests.faults.waiting import until
from tests.processes import Process
from tests.services import free_port

CLIENTS, TURNS = 20, 10
TIMEOUT_S = 3.0
ENV = {
    "AI_CHAT": "main/large,openai/small",
    "CONNECT_TIMEOUT_S": str(TIMEOUT_S),
    "FIRST_BYTE_TIMEOUT_S": str(TIMEOUT_S),
    "IDLE_TIMEOUT_S": str(TIMEOUT_S),
    "WORKER_CONCURRENCY": str(CLIENTS),
}


@pytest.fixture
def main_provider(tmp_path: Path, parley: Deployment) -> Iterator[Process]:
    """A model server in a process of its own; `openai` is the other one."""
    port = free_port()
    command = ("-m", "tests.fakes.openai_server", "--port", str(port))
    process = Process(*command, log=tmp_path / "main-provider.log", env={})
    parley.env |= {**ENV, "PROVIDERS__MAIN__BASE_URL": f"http://127.0.0.1:{port}/v1"}
    yield process
    process.kill()


async def crowd(parley: Deployment, done: list[dict[str, Any]], turns: int) -> None:
    """Twenty clients, each of whom sends the next message when the last one is answered."""

    async def client() -> None:
        session = await parley.client.session()
        for _ in range(turns):
            done.append(await parley.client.done((await parley.client.text(session)).job_id))  # noqa: PERF401 - as it ends

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


def p95_s(jobs: list[dict[str, Any]]) -> float:
    times = sorted(
        (datetime.fromisoformat(job["finished_at"]) - datetime.fromisoformat(job["created_at"])).total_seconds()
        for job in jobs
    )
    return times[len(times) * 95 // 100]


def models_of(jobs: list[dict[str, Any]]) -> list[str]:
    return [step["model"] for job in jobs for step in job["steps"]]


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stalled"])
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_provider_that_dies_in_a_crowd_fails_no_job(
    parley: Deployment, main_provider: Process, death: signal.Signals
) -> None:
    await asyncio.gather(parley.start_api(), parley.start_worker())
    before: list[dict[str, Any]] = []
    await crowd(parley, before, TURNS)
    assert set(models_of(before)) == {"main/large"}

    done: list[dict[str, Any]] = []
    running = asyncio.create_task(crowd(parley, done, TURNS))
    await until(lambda: len(done) >= CLIENTS * TURNS // 4, "a quarter is answered", every=0.01)
    main_provider.send(death)
    await running
    assert len(done) == CLIENTS * TURNS
    assert {(job["status"], job["attempt"]) for job in done} == {("succeeded", 1)}
    assert set(models_of(done)) == {"main/large", "openai/small"}
    if death == signal.SIGKILL:
        added_s = p95_s(done) - p95_s(before)
        print(f"p95 {p95_s(before):.3f} s, and {added_s:+.3f} s when the provider is killed")  # noqa: T201
        assert added_s < TIMEOUT_S
    (worker,) = parley.workers
    assert len(worker.events("model.failed")) <= 2 * CLIENTS, "after those under way, hardly anybody meets it"
