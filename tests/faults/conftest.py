"""Fixtures of the fault tests. Every case runs with `PARLEY_FAULT_SEEDS` seeds on each database: twenty in `make faults`.

With more than one, faults last as long as the promise says, and the first seed has the full number of jobs. Unless a
number is asked for there is one, and the two databases take turns: that is what CI has time for.
"""

import os
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.fakes.openai_server import FakeOpenAI
from tests.faults.deployment import Deployment
from tests.faults.model import Model

SEEDS = int(os.environ.get("PARLEY_FAULT_SEEDS", "1"))
DATABASES = ("postgres", "sqlite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the cases that are there for both databases leave one each, by turns."""
    if "PARLEY_FAULT_SEEDS" in os.environ:
        return
    kinds: defaultdict[str, dict[str, pytest.Item]] = defaultdict(dict)
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for database in DATABASES:
                if database in item.name:
                    kinds[item.nodeid.replace(database, "")][database] = item
    pairs = [kind for kind in kinds.values() if len(kind) == len(DATABASES)]
    left_out = [pair[DATABASES[(number + 1) % 2]] for number, pair in enumerate(pairs)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


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
