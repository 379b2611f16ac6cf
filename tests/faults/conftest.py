"""Fixtures of the fault tests. Every case runs with `PARLEY_FAULT_SEEDS` seeds: one in CI, twenty in `make faults`."""

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
def chance(request: pytest.FixtureRequest) -> Random:
    """The case's own chance: the same seed throws the same dice."""
    return Random(request.param)


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
