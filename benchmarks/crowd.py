"""One worker and 200 voice turns at once: how late its event loop is, and how much memory it and its pools hold.

The turns are submitted while the worker is frozen, so that they begin together when it is let go; each has six
sentences to be spoken and models as slow as real ones. Memory is the most that all its processes ever held together.
"""

import asyncio
import signal
import time
from collections.abc import Iterable
from datetime import datetime
from itertools import accumulate
from pathlib import Path

from benchmarks.client import API, all_of, request, sessions, voice_of
from benchmarks.figures import Row, latency, main
from benchmarks.parley import Parley, folder, memory_mb, on_postgres, parley
from benchmarks.voice import MODELS, NOTE
from tests.processes import Process

LAG_MS, MEMORY_MB = 50, 500
CLIENTS = 8
LOOK_S = 0.5
BUSY = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'parley' AND state LIKE 'idle in transaction%'"
LEFT = "SELECT count(*) FROM job WHERE status IN ('queued', 'running')"
SPANS = "SELECT started_at, finished_at FROM job WHERE status = 'succeeded'"


async def measure(quick: bool) -> list[Row]:  # noqa: FBT001 - as every question is asked
    """All turns on one worker."""
    turns = 20 if quick else 200
    with folder() as home:
        async with parley("postgresql", *MODELS, workers=0) as whole:
            lag_file = home / "lag"
            worker = whole.start_worker(
                "benchmarks.watched_worker", WORKER_CONCURRENCY=str(turns), LAG_FILE=str(lag_file)
            )
            await _submit(whole, 1)
            await done(whole, worker)
            await _freeze(whole, worker)
            await _submit(whole, turns)
            worker.send(signal.SIGCONT)
            began = time.monotonic()
            rss, pss = await done(whole, worker)
            took_s = time.monotonic() - began
            spans = [(row[0], row[1]) for row in await on_postgres(whole.database_url, SPANS)]
            assert len(spans) == turns + 1, f"{len(spans)} of {turns} turns succeeded: {worker.log.read_text()}"
            worker.stop()
            late = latency(_lateness(lag_file, began, took_s))
    question = f"one worker, {turns} voice turns at once"
    lag = f"{late}; all done in {took_s:.1f} s, {_most(spans)} at a time"
    once = f"{pss:.0f} MB when shared pages count once"
    return [
        Row(f"{question}: loop lag p99", 1_000 * late.p99, LAG_MS, "ms", beside=lag),
        Row(f"{question}: resident memory with its pools", rss, MEMORY_MB, "MB", beside=once),
    ]


async def _submit(whole: Parley, turns: int) -> None:
    requests = []
    for session_id in await sessions(whole.port, turns):
        body, content_type = voice_of(session_id, NOTE.read_bytes())
        requests.append(request("POST", f"{API}/message/voice", body, content_type=content_type))
    answers = await all_of(whole.port, requests, CLIENTS)
    assert all(answer.status == 202 for answer in answers), answers[-1].body


async def _freeze(whole: Parley, worker: Process) -> None:
    """Stop it, but in none of its transactions: PostgreSQL would end that."""
    while True:
        worker.send(signal.SIGSTOP)
        await asyncio.sleep(0.1)
        if not (await on_postgres(whole.database_url, BUSY))[0][0]:
            return
        worker.send(signal.SIGCONT)


async def done(whole: Parley, worker: Process | None = None) -> tuple[float, float]:
    """Wait until nothing is left to do; the most memory that the worker was seen to hold, in MB."""
    most = (0.0, 0.0)
    while (await on_postgres(whole.database_url, LEFT))[0][0]:
        if worker:
            most = max(most, await asyncio.to_thread(memory_mb, worker.pid))
        await asyncio.sleep(LOOK_S)
    return most


def _lateness(file: Path, began: float, took_s: float) -> list[float]:
    lines = [line.split() for line in file.read_text().splitlines()]
    return [float(late_s) for due, late_s in lines if began <= float(due) <= began + took_s]


def _most(spans: Iterable[tuple[datetime, datetime]]) -> int:
    """How many ran at the same time."""
    changes = sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans])
    return max(accumulate(change for _, change in changes))


if __name__ == "__main__":
    main(measure, __doc__)
