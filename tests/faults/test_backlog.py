"""Jobs pile up while no worker runs: submits and polls stay as fast, and all of it is answered, in order."""

from functools import partial
from random import Random

import pytest

from tests.faults.backlog import cost, drain, submit_all
from tests.faults.checker import check
from tests.faults.client import API, new_topic
from tests.faults.conftest import SEEDS
from tests.faults.deployment import Deployment
from tests.faults.history import History

FULL = SEEDS > 1
JOBS = 10_000 if FULL else 300
IN_ONE_SESSION = JOBS // 10
SESSIONS = JOBS // 20
SUBMIT_P99_S = 0.3
SLOWER = 1.5
LIMIT = 50
REFUSED = 20


@pytest.mark.timeout(1_800)
async def test_a_backlog_slows_no_client_down_and_is_drained_in_order(parley: Deployment, chance: Random) -> None:
    parley.env |= {"LEASE_S": "15", "RECONCILE_S": "1"}
    await parley.start_api()
    agent = await parley.client.agent()
    sessions = [await parley.client.session(agent) for _ in range(SESSIONS)]
    chosen = [sessions[0]] * IN_ONE_SESSION + chance.choices(sessions, k=JOBS - IN_ONE_SESSION)
    chance.shuffle(chosen)
    job = await parley.client.text(sessions[-1])
    get = {path: partial(parley.client.http.get, path) for path in (f"{API}/job/{job.job_id}", "/health/ready")}
    empty = {path: await cost(get[path]) for path in get}
    submits = await submit_all(parley, chosen)
    slower = {path: await cost(get[path]) / empty[path] for path in get}
    rate = await drain(parley, workers=2)
    ratios = ", ".join(f"{path}: x{ratio:.2f}" for path, ratio in slower.items())
    print(f"submit {submits}; {ratios}; drained at {rate:.0f}/s")  # noqa: T201 - with -s, or -rP
    history = await parley.ended()
    check(history)
    assert_answered(history, JOBS + 1)
    assert max(slower.values()) < SLOWER
    if FULL:
        assert submits.p99 < SUBMIT_P99_S


async def test_beyond_the_limit_a_submit_is_refused_and_leaves_nothing(parley: Deployment, chance: Random) -> None:
    await parley.start_api(MAX_UNFINISHED_JOBS=str(LIMIT))
    agent = await parley.client.agent()
    sessions = [await parley.client.session(agent) for _ in range(5)]
    await submit_all(parley, chance.choices(sessions, k=LIMIT))
    written = await writes(parley)
    for _ in range(REFUSED):
        post = chance.choice([parley.client.post_text, parley.client.post_voice])
        answer = await post(chance.choice(sessions), topic=new_topic())
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert int(answer.headers["Retry-After"]) > 0
    assert await writes(parley) == written
    await drain(parley, workers=1)
    await parley.client.text(sessions[0])
    history = await parley.ended()
    check(history)
    assert_answered(history, LIMIT + 1)


async def writes(parley: Deployment) -> int:
    """How many writes have been committed."""
    return int((await parley.sql.rows("SELECT count(*) AS number FROM audit"))[0]["number"])


def assert_answered(history: History, number: int) -> None:
    assert len(history.accepted) == number
    assert [row["status"] for row in history.rows["job"]] == ["succeeded"] * number
