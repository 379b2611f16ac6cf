"""What /health/ready says of a fleet that is gone."""

import asyncio
from typing import Any

import pytest

from tests.faults.deployment import Deployment
from tests.faults.waiting import until

SHOWN_S = 30


async def ready(parley: Deployment) -> dict[str, Any]:
    answer = await parley.client.http.get("/health/ready")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_workers_that_were_all_killed_show_within_30_s(parley: Deployment) -> None:
    _, *workers = await asyncio.gather(parley.start_api(), parley.start_worker(), parley.start_worker())

    async def counts(number: int) -> bool:
        return bool((await ready(parley))["workers"] == number)

    await until(lambda: counts(2), "both are seen")
    assert (await ready(parley))["status"] == "ready"
    for worker in workers:
        worker.kill()
    await until(lambda: counts(0), "both are missed", within=SHOWN_S)
    told = await ready(parley)
    assert told["status"] == "degraded"
    assert "no live worker" in told["reasons"]  # a busy machine may add that its event loop is held up
