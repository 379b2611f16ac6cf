"""Jobs pile up while no worker runs: submits and polls stay as fast, and all of it is answered, in order."""

from random import Random

import pytest

from tests.faults.backlog import cost, drain, submit_all
from tests.faults.checker import check
from tests.faults.client import API, new_topic
from tests.faults.deployment import Deployment
from tests.faults.history import History

JOBS, FULL_JOBS = 300, 10_000
SUBMIT_P99_S = 0.3
SLOWER = 1.5
LIMIT = 50
REFUSED = 20


@pytest.mark.timeout(1_800)
async def test_a_backlog_slows_no_client_down_and_is_drained_in_order(
    parley: Deployment, chance: Random, *, full: bool
) -> None:
    number = FULL_JOBS if full else JOBS
    parley.env |= {"LEASE_S": "15", "RECONCILE_S": "1"}
    await parley.start_api()
    agent = await parley.client.agent()
    sessions = [await parley.client.session(agent) for _ in range(number // 20)]
    in_one = number // 10
    chosen = [sessions[0]] * in_one + chance.choices(sessions, k=number - in_one)
    chance.shuffle(chosen)
    job = await parley.client.text(sessions[-1])
    paths = (f"{API}/job/{job.job_id}", "/health/ready")
    before = [await cost(parley, path) for path in paths]
    submits = await submit_all(parley, chosen)
    beside = [await cost(parley, path) for path in paths]
    rate = await drain(parley, workers=2)
    after = [await cost(parley, path) for path in paths]
    print(f"submit {submits}; poll and readiness {before}, {beside}, {after}; drained at {rate:.0f}/s")  # noqa: T201
    history = await parley.ended()
    check(history)
    assert_answered(history, number + 1)
    if full:  # a few hundred jobs would not show in it
        for cost_before, cost_beside, cost_after in zip(before, beside, after, strict=True):
            assert cost_beside < SLOWER * max(cost_before, cost_after)
        assert submits.p99 < SUBMIT_P99_S


async def test_beyond_the_limit_a_submit_is_refused_and_leaves_nothing(parley: Deployment, chance: Random) -> None:
    await parley.start_api(MAX_UNFINISHED_JOBS=str(LIMIT))
    agent = await parley.client.agent()
    sessions = [await parley.client.session(agent) for _ in range(5)]
    for _ in range(LIMIT):  # one by one: of submits at the same time the last few may be refused early
        await parley.client.text(chance.choice(sessions))
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
