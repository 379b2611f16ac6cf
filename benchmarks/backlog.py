"""Does a backlog cost those who submit, and how fast is it drained? With real processes, on both databases."""

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.conftest import migrate  # noqa: E402 - found from here on
from tests.fakes.openai_server import FakeOpenAI  # noqa: E402
from tests.faults.backlog import drain, submit_all  # noqa: E402
from tests.faults.deployment import Deployment  # noqa: E402
from tests.faults.model import Model  # noqa: E402
from tests.services import postgres_server  # noqa: E402

MEASURED = 500
SESSIONS = 500
WORKERS = 2


class Bare(Deployment):
    """Without the triggers that tests look through."""

    async def __aenter__(self) -> Self:
        self.redis.start()
        return self


async def measure(folder: Path, database_url: str, jobs: int) -> None:
    """Print what it is like with an empty queue, with a full one, and while it is drained."""
    with FakeOpenAI(Model()) as models:
        async with Bare(folder, database_url, models, LEASE_S="15", RECONCILE_S="1") as parley:
            await parley.start_api()
            agent = await parley.client.agent()
            sessions = [await parley.client.session(agent) for _ in range(SESSIONS)]
            empty = await submit_all(parley, random.choices(sessions, k=MEASURED))
            await submit_all(parley, random.choices(sessions, k=jobs - MEASURED))
            full = await submit_all(parley, random.choices(sessions, k=MEASURED))
            rate = await drain(parley, WORKERS)
    print(f"  submit, queue empty: {empty}")
    print(f"  submit, {jobs:,} queued: {full}")
    print(f"  ratio: p50 x{full.p50 / empty.p50:.2f}, p99 x{full.p99 / empty.p99:.2f}")
    print(f"  drained by {WORKERS} workers: {rate:.0f} jobs/s", flush=True)


@contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    """A file."""
    yield f"sqlite+aiosqlite:///{folder / 'parley.db'}"


@contextmanager
def postgresql(_folder: Path) -> Iterator[str]:
    """A server of its own, with fsync off."""
    with postgres_server() as server:
        yield f"{server}/postgres"


def main() -> None:
    """Measure one database, or both."""
    databases = {"sqlite": sqlite, "postgresql": postgresql}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--database", choices=databases, action="append")
    options = parser.parse_args()
    for name in options.database or databases:
        with tempfile.TemporaryDirectory() as folder, databases[name](Path(folder)) as url:
            print(name, flush=True)
            migrate(url)
            asyncio.run(measure(Path(folder), url, options.jobs))


if __name__ == "__main__":
    main()
