"""A backlog, made and measured as clients do it."""

import asyncio
import statistics
import time
from collections.abc import Iterable
from typing import NamedTuple

from tests.faults.client import new_topic
from tests.faults.deployment import Deployment
from tests.faults.waiting import until

CLIENTS = 4
DRAIN_S = 900


class Latency(NamedTuple):
    """Seconds that requests took: half of them, and all but one in a hundred, took no longer."""

    p50: float
    p99: float

    def __str__(self) -> str:
        return f"p50 {1_000 * self.p50:.1f} ms, p99 {1_000 * self.p99:.1f} ms"


def latency(took: Iterable[float]) -> Latency:
    """Of these requests."""
    slower = sorted(took)
    return Latency(slower[len(slower) // 2], slower[int(len(slower) * 0.99)])


async def submit_all(parley: Deployment, sessions: Iterable[str]) -> Latency:
    """Submit a text to each of `sessions`, `CLIENTS` at a time."""
    left = iter(sessions)
    took: list[float] = []

    async def client() -> None:
        for session in left:
            began = time.perf_counter()
            answer = await parley.client.post_text(session, topic=new_topic(), sentences=1)
            took.append(time.perf_counter() - began)
            assert answer.status_code == 202, answer.text

    await asyncio.gather(*[client() for _ in range(CLIENTS)])
    return latency(took)


async def cost(parley: Deployment, path: str, *, rounds: int = 5, number: int = 40) -> float:
    """What a request takes, as a multiple of one that asks no store: the two in turn, so that they share all noise."""
    ratios = []
    for _ in range(rounds):
        took: dict[str, list[float]] = {path: [], "/health/live": []}
        for _ in range(number):
            for one, times in took.items():
                began = time.perf_counter()
                answer = await parley.client.http.get(one)
                times.append(time.perf_counter() - began)
                assert answer.status_code == 200, answer.text
        asked, bare = [latency(times).p50 for times in took.values()]
        ratios.append(asked / bare)
    return statistics.median(ratios)


async def drain(parley: Deployment, workers: int) -> float:
    """Start workers and wait until nothing is left to do; jobs per second once all of them have started."""
    await asyncio.gather(*[parley.start_worker() for _ in range(workers)])
    began, number = time.perf_counter(), await unfinished(parley)
    await until(lambda: is_drained(parley), "everything is drained", within=DRAIN_S, every=0.25)
    return number / (time.perf_counter() - began)


async def unfinished(parley: Deployment) -> int:
    """How many jobs have not ended."""
    counted = "SELECT count(*) AS number FROM job WHERE status IN ('queued', 'running')"
    return int((await parley.sql.rows(counted))[0]["number"])


async def is_drained(parley: Deployment) -> bool:
    """Whether all jobs have ended."""
    return not await unfinished(parley)
