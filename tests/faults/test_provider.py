"""A model server that fails in every way: what ends in time is got over, what stays is told, and no half is kept."""

import asyncio
from dataclasses import dataclass
from itertools import cycle, islice
from random import Random

from tests.fakes.openai_replies import MIN_SPEECH_S, SECONDS_PER_CHARACTER
from tests.fakes.openai_script import Answer
from tests.faults.checker import check
from tests.faults.client import new_topic
from tests.faults.deployment import Deployment
from tests.faults.history import Accepted, History, Row
from tests.faults.jobs import STEPS

MAX_ATTEMPTS = 4
LIMITS = {"CONNECT_TIMEOUT_S": "1", "FIRST_BYTE_TIMEOUT_S": "2", "IDLE_TIMEOUT_S": "2", "TOTAL_TIMEOUT_S": "3"}
CODES = {
    "limited": {"rate_limited"},
    "broken": {"upstream_error"},
    "silent": {"upstream_timeout"},
    "cut off": {"upstream_error"},
    "garbled": {"upstream_error", "empty_reply", "bad_speech"},
    "endless": {"upstream_error", "upstream_timeout"},
}
"""Every kind of fault, and what a job that it ends may be told."""

HALF = 'data: {"choices": [{"index": 0, "delta": {"content": "Sentence 1 says"}}]}\n\ndata: [DONE]\n\n'
NOISE = "".join(chr(0xDC80 + number * 37 % 128) for number in range(4_000))
GARBAGE = {
    "transcribe": ["", "<html>502</html>", NOISE, "{", '{"text": 7}', '["text"]', '{"text"'],
    "reply": ["", "<html>502</html>", NOISE, "data: {\n\n", 'data: {"choices": [{}]}\n\n', "data: [DONE]\n\n"],
    "speak/1": ["", "<html>502</html>", NOISE, "ID3" + NOISE, "\udcff\udcfb\udc90" + NOISE, "\udcff\udcfb"],
}


@dataclass(frozen=True)
class Case:
    """A job that meets a kind of fault at a step, `times` times."""

    kind: str
    step: str
    times: int
    job: Accepted

    @property
    def stays(self) -> bool:
        return self.times == MAX_ATTEMPTS


def faults(kind: str, step: str, chance: Random) -> list[Answer]:
    """Every form that a kind of fault takes at a step, in any order."""
    some = chance.randint(0, 1 if step == "transcribe" else 5)  # of the chunks that every answer has
    forms = {
        "limited": [Answer(status=429)],
        "broken": [Answer(status=status) for status in (500, 502, 503)],
        "silent": [Answer(hang=True), Answer(stall_after=some)],
        "cut off": [Answer(drop=True), Answer(cut_after=some), *([Answer(raw=[HALF])] if step == "reply" else [])],
        "garbled": [Answer(raw=[garbage]) for garbage in GARBAGE[step]],
        "endless": [Answer(drip=True), Answer(drip=True, chunk_delay_s=0.5)],
    }[kind]
    return chance.sample(forms, len(forms))


async def submit(parley: Deployment, kind: str, times: int, chance: Random) -> Case:
    session, topic, step = await parley.client.session(), new_topic(), chance.choice(STEPS)
    parley.model.once(topic, step, *islice(cycle(faults(kind, step, chance)), times))
    sentences = chance.randint(1, 3)
    if step == "transcribe":
        job = await parley.client.voice(session, topic=topic, sentences=sentences)
    else:
        job = await parley.client.text(session, topic=topic, sentences=sentences, reply_audio=step == "speak/1")
    await parley.client.text(session)  # what comes after it is answered all the same
    return Case(kind, step, times, job)


def rows_of(history: History, table: str, job: Accepted) -> list[Row]:
    return [row for row in history.rows[table] if row["job_id"] == job.job_id]


def assert_sound_is_whole(history: History, job: Accepted) -> None:
    """The reply's sound lasts as long as its sentences do: none was saved by halves."""
    heard = {row["blob_id"] for row in rows_of(history, "message", job) if row["role"] == "assistant"}
    sentences = [f"{sentence}." for sentence in str(job.reply).removesuffix(".").split(". ")]
    expected = sum(max(MIN_SPEECH_S, SECONDS_PER_CHARACTER * len(sentence)) for sentence in sentences)
    assert [row["duration_s"] >= expected for row in history.rows["blob"] if row["id"] in heard] == [True]


async def assert_failed_clearly(parley: Deployment, case: Case) -> None:
    """It says why, and has all that was finished before the step and nothing of the step."""
    view = await parley.client.job(case.job.job_id)
    assert view["status"] == "failed"
    assert view["error"]["code"] in CODES[case.kind], case
    written = view["result"] and (view["result"]["text"], view["result"]["audio"])
    assert written == ((case.job.reply, None) if case.step == "speak/1" else None)
    assert [step["name"] for step in view["steps"] if step["status"] == "failed"] == [case.step]
    said = {row["role"]: row for row in rows_of(parley.history, "message", case.job)}
    assert ("assistant" in said) == (case.step == "speak/1")
    assert (said["user"]["text"] is None) == (case.step == "transcribe")
    assert said.get("assistant", {}).get("blob_id") is None


async def test_what_ends_in_time_is_got_over_and_what_stays_is_told(parley: Deployment, chance: Random) -> None:
    parley.env |= LIMITS
    await asyncio.gather(parley.start_api(), parley.start_worker(WORKER_CONCURRENCY="40"))
    ends = [await submit(parley, kind, chance.randint(1, MAX_ATTEMPTS - 1), chance) for kind in CODES]
    stays = [await submit(parley, kind, MAX_ATTEMPTS, chance) for kind in CODES]
    history = await parley.ended()
    check(history)
    for case in [*ends, *stays]:
        calls = len(parley.model.asked(case.job.topic, case.step))
        assert case.times <= calls <= MAX_ATTEMPTS, case
        if case.stays:
            await assert_failed_clearly(parley, case)
            continue
        assert (await parley.client.job(case.job.job_id))["status"] == "succeeded", case
        if case.job.spoken:
            assert_sound_is_whole(history, case.job)
    tried = {case.job.job_id for case in [*ends, *stays]}
    assert {row["status"] for row in history.rows["job"] if row["id"] not in tried} == {"succeeded"}


async def test_the_next_call_comes_when_the_server_asked_for_it(parley: Deployment, chance: Random) -> None:
    parley.env["RECONCILE_S"] = "4"  # it is not by looking often that a worker is on time
    await asyncio.gather(parley.start_api(), parley.start_worker())
    cases = []
    for step in STEPS:
        session, topic, after_s = await parley.client.session(), new_topic(), chance.uniform(1, 4)
        told = chance.choice([{"retry-after": f"{after_s}"}, {"retry-after-ms": f"{after_s * 1_000}"}])
        parley.model.once(topic, step, Answer(status=chance.choice([429, 503]), headers=told))
        submit = parley.client.voice if step == "transcribe" else parley.client.text
        cases.append((await submit(session, topic=topic, reply_audio=step == "speak/1"), step, after_s))
    check(await parley.ended())
    for job, step, after_s in cases:
        first, second = parley.model.asked(job.topic, step)
        assert after_s <= second.at - first.at <= after_s + 1, (step, after_s)
