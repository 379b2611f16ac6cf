"""From `make run`, everything installed and the database made, until the first 200 of `/health`."""

import asyncio
import os
import signal
import statistics
import subprocess
import time
from pathlib import Path

from benchmarks.client import Connection, request
from benchmarks.figures import Row, main
from benchmarks.parley import folder
from tests.processes import ROOT
from tests.services import free_port

LIMIT_S = 3
PATIENCE_S = 60
LOOK_S = 0.01


async def measure(quick: bool) -> list[Row]:  # noqa: FBT001 - as every question is asked
    """The first start makes the data and warms the caches; the others count."""
    with folder() as home:
        took = [await _start(home) for _ in range(3 if quick else 6)]
    beside = f"slowest {max(took[1:]):.2f} s, the first of all {took[0]:.2f} s"
    return [Row("warm `make run` → first 200", statistics.median(took[1:]), LIMIT_S, "s", beside=beside)]


async def _start(home: Path) -> float:
    port = free_port()
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "DATA_DIR": str(home / "data"), "PORT": str(port)}
    with (home / "log").open("wb") as log:
        began = time.perf_counter()
        run = subprocess.Popen(["make", "run"], cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True)  # noqa: ASYNC220 - it is what is timed
        try:
            while not await _answers(port):
                assert time.perf_counter() - began < PATIENCE_S, (home / "log").read_text()
                await asyncio.sleep(LOOK_S)
            return time.perf_counter() - began
        finally:
            os.killpg(run.pid, signal.SIGINT)
            await asyncio.to_thread(run.wait)


async def _answers(port: int) -> bool:
    try:
        async with Connection(port) as client:
            return (await client.send(request("GET", "/health"))).status == 200
    except OSError:
        return False


if __name__ == "__main__":
    main(measure, __doc__)
