"""Fixtures of the fault tests. Every case runs with `PARLEY_FAULT_SEEDS` seeds: one in CI, twenty in `make faults`.

With more than one, faults last as long as the promise says, and the first seed has the full number of jobs.
"""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.fakes.openai_server import FakeOpenAI
from tests.faults.deployment import Deployment
from tests.faults.model import Model

SEEDS = int(os.environ.get("PARLEY_FAULT_SEEDS", "1"))


@pytest.fixture(params=range(SEEDS), ids="seed{}".format)
def seed(request: pytest.FixtureRequest) -> int:
    """The number of the run."""
    return int(request.param)


@pytest.fixture
def chance(seed: int) -> Random:
    """The case's own chance: the same seed throws the same dice."""
    return Random(seed)


@pytest.fixture
def full(seed: int) -> bool:
    """Whether this is the run that has the full number of jobs, and measures what it costs them."""
    return SEEDS > 1 and seed == 0


@pytest.fixture
def model_server() -> Iterator[FakeOpenAI]:
    """The scripted model server; its script is a `Model`."""
    with FakeOpenAI(Model()) as server:
        yield server


@pytest.fixture
async def parley(tmp_path: Path, database_url: str, model_server: FakeOpenAI) -> AsyncIterator[Deployment]:
    """A deployment on each kind of database, with a Redis of its own; no process of Parley's is started yet."""
    async with Deployment(tmp_path, database_url, model_server) as deployment:
        yield deployment
