"""Cancel jobs at any moment: one end each, the answer says which, and nothing is done after it."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from random import Random

import httpx
import pytest

from tests.fakes.openai_script import Answer
from tests.faults.checker import check
from tests.faults.client import new_topic
from tests.faults.conftest import SEEDS
from tests.faults.deployment import Deployment
from tests.faults.history import TERMINAL, Accepted, History
from tests.faults.jobs import in_flight
from tests.faults.model import Model, step_of, topics_in
from tests.faults.rules.facts import facts_of
from tests.faults.waiting import until

CANCELS = 1_000 if SEEDS > 1 else 100
AT_ONCE = 12
SENTENCES = 5
ANSWER_S = 0.05
NOISE_S = 1.0
AGAIN_S = 0.1
MOMENTS = ("queued", "waiting for a retry", "transcribe", "reply", "speak/1", "speak/4", "ending", "any")


@dataclass
class Cancelled:
    """A job, when somebody meant to cancel it, and what they were all told."""

    job: Accepted
    moment: str
    answers: list[httpx.Response]


class Watch:
    """Finds calls as they come in, without looking at the old ones again."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._seen = 0
        self._calls: Counter[tuple[str, str]] = Counter()

    async def call(self, topic: str, step: str, times: int = 1) -> None:
        """Wait for the n-th call of a job for a step."""
        await until(lambda: self._count(topic, step) >= times, f"call {times} for {step} of {topic}")

    def _count(self, topic: str, step: str) -> int:
        for call in self._model.calls[self._seen :]:
            self._seen += 1
            self._calls.update((said, step_of(call)) for said in topics_in(call.text)[:1])
        return self._calls[topic, step]


async def cancel_one(parley: Deployment, watch: Watch, agent: str, moment: str, chance: Random) -> Cancelled:
    """Submit a job, with one more behind it, and cancel it at some moment, sometimes several times at once."""
    client, topic = parley.client, new_topic()
    session = await client.session(agent)
    if moment == "queued":
        await client.text(session)
    if moment == "waiting for a retry":
        parley.model.once(topic, "reply", Answer(status=500), Answer(status=500))
    if moment in {"transcribe", "any"}:
        job = await client.voice(session, topic=topic)
    else:
        job = await client.text(session, topic=topic, sentences=SENTENCES, reply_audio=moment.startswith("speak"))
    await client.text(session)
    await come_to(watch, job, moment, chance)
    answers = await asyncio.gather(*[cancel(parley, job) for _ in range(chance.choice([1, 1, 3]))])
    return Cancelled(job, moment, answers)


async def cancel(parley: Deployment, job: Accepted) -> httpx.Response:
    """What a cancel is told, by a database that is not too busy to take it: that is a 503, and come back."""
    while (answer := await parley.client.cancel(job.job_id)).status_code == 503:  # noqa: ASYNC110 - as a client does
        await asyncio.sleep(AGAIN_S)
    return answer


async def come_to(watch: Watch, job: Accepted, moment: str, chance: Random) -> None:
    match moment:
        case "queued":
            pause_s = chance.uniform(0, 0.02)
        case "any":
            pause_s = chance.uniform(0, 20 * ANSWER_S)
        case "waiting for a retry":
            await watch.call(job.topic, "reply", times=2)
            pause_s = chance.uniform(0, ANSWER_S)
        case "ending":
            await watch.call(job.topic, "reply")
            pause_s = ANSWER_S + chance.uniform(-0.03, 0.07)
        case step:
            await watch.call(job.topic, step)
            pause_s = chance.uniform(0, ANSWER_S)
    await asyncio.sleep(pause_s)  # the moment itself is chance


async def many_sentences(parley: Deployment) -> Accepted:
    """A job that hangs in every one of its sentences, and one more behind it."""
    session, topic = await parley.client.session(), new_topic()
    steps = [f"speak/{number}" for number in range(1, SENTENCES + 1)]
    for step in steps:
        parley.model.hold(topic, step)
    job = await parley.client.text(session, topic=topic, sentences=SENTENCES, reply_audio=True)
    await parley.client.text(session)
    await asyncio.gather(*[parley.called(job, step) for step in steps])
    return job


def one_end_each(history: History) -> dict[str, str | None]:
    """How each job ended, the one time that it did."""
    facts = facts_of(history)
    ends = {}
    for job_id in history.accepted:
        moves = facts.of(job_id, "job")
        (end,) = [move for move in moves if move.status in TERMINAL]
        assert end is moves[-1]
        ends[job_id] = end.status
    return ends


def assert_agrees(one: Cancelled, end: str | None) -> None:
    """Whoever cancelled was told what came of it."""
    for answer in one.answers:
        told = answer.json()
        if end == "cancelled":
            assert answer.status_code == 200, f"{one.moment}: {told}"
            assert told["status"] in {"cancelling", "cancelled"}
        else:
            assert (answer.status_code, told["code"]) == (409, "job_ended"), f"{one.moment}: {told}"
            assert str(end) in told["detail"]


def assert_each_moment_was_met(done: list[Cancelled], ends: dict[str, str | None]) -> None:
    """Cancels came in time at each moment, but perhaps at the very end, and some came too late: else nothing raced."""
    met = Counter((one.moment, ends[one.job.job_id]) for one in done)
    for moment in set(MOMENTS) - {"ending"}:
        assert met[moment, "cancelled"], met
    assert any(end == "succeeded" for _, end in met), met
    cancelled = {one.job.job_id for one in done}
    assert {end for job_id, end in ends.items() if job_id not in cancelled} == {"succeeded"}


@pytest.mark.timeout(900)
async def test_every_cancel_that_races_with_an_end_has_one_winner(parley: Deployment, chance: Random) -> None:
    parley.env |= {"WORKER_CONCURRENCY": "10", "TTS_CONCURRENCY": "2"}
    await asyncio.gather(parley.start_api(), parley.start_worker(), parley.start_worker())
    for endpoint in ("chat", "speech", "transcriptions"):
        parley.model.always(endpoint, Answer(delay_s=ANSWER_S))
    agent, watch = await parley.client.agent(), Watch(parley.model)
    moments = iter([MOMENTS[number % len(MOMENTS)] for number in range(CANCELS)])
    done: list[Cancelled] = []

    async def talk() -> None:
        done.extend([await cancel_one(parley, watch, agent, moment, chance) for moment in moments])

    await asyncio.gather(*[talk() for _ in range(AT_ONCE)])
    await parley.ended()
    for one in done:
        one.answers.append(await cancel(parley, one.job))
    history = await parley.collect()
    check(history)
    ends = one_end_each(history)
    for one in done:
        assert_agrees(one, ends[one.job.job_id])
    assert_each_moment_was_met(done, ends)


async def test_a_hanging_call_is_let_go_within_a_heartbeat(parley: Deployment, chance: Random) -> None:
    lease_s = 6
    parley.env |= {"LEASE_S": str(lease_s), "RECONCILE_S": "5"}
    await asyncio.gather(parley.start_api(), parley.start_worker())
    jobs = await in_flight(parley, chance)
    jobs["speak/4"] = await many_sentences(parley)
    served = parley.model.active
    assert all(served[endpoint] for endpoint in ("transcriptions", "chat", "speech"))

    async def cancel_later(job: Accepted) -> float:
        await asyncio.sleep(chance.uniform(0, lease_s / 3))  # anywhere between two heartbeats
        told = time.time()
        answer = await cancel(parley, job)
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelling")
        return told

    told = dict(zip(jobs, await asyncio.gather(*[cancel_later(job) for job in jobs.values()]), strict=True))
    ended = {step: await parley.wrote(job, "job", status="cancelled") for step, job in jobs.items()}
    await until(lambda: not any(served.values()), "every call is hung up", within=NOISE_S)
    history = await parley.ended()
    check(history)
    for step, job in jobs.items():
        assert ended[step].at - told[step] < lease_s / 3 + NOISE_S
        assert len(parley.model.asked(job.topic, step)) == 1
    for job in parley.history.accepted.values():
        if job not in jobs.values():
            (claim,) = history.claims(job.job_id)
            freed = [end.at for step, end in ended.items() if jobs[step].session_id == job.session_id]
            assert claim.at - freed[0] < NOISE_S, "the session's next job was not dispatched, but found later"


async def test_a_cancel_that_its_worker_did_not_live_to_see_is_kept(parley: Deployment, chance: Random) -> None:
    _, worker = await asyncio.gather(parley.start_api(), parley.start_worker())
    jobs = await in_flight(parley, chance)
    await parley.stall(worker)
    parley.history.stalled.clear()  # it never goes on
    for job in jobs.values():
        answer = await cancel(parley, job)
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelling")
    worker.kill()
    await parley.start_worker()
    history = await parley.ended()
    check(history)
    ends = one_end_each(history)
    for step, job in jobs.items():
        assert ends[job.job_id] == "cancelled"
        assert len(history.claims(job.job_id)) == len(parley.model.asked(job.topic, step)) == 1
