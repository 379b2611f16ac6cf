"""Every accepted job ends, once, and its states follow each other as they may."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.faults.history import TERMINAL, UNFINISHED, Write
from tests.faults.rules.facts import Facts

MOVES = {
    "queued": {"queued", "running", "cancelled", "expired"},
    "running": {"running", "queued", "succeeded", "failed", "cancelled"},
    "failed": {"queued"},
}
"""Written down here a second time, on purpose; a retry is what leads out of `failed`."""


def every_accepted_job_ended(facts: Facts) -> Iterator[str]:
    for told in facts.history.accepted.values():
        if told.job_id not in facts.jobs and told.session_id not in facts.history.deleted:
            yield f"job {told.job_id} was accepted and is gone"
    for job in facts.jobs.values():
        if job["status"] not in TERMINAL:
            yield f"job {job['id']} never ended: it is {job['status']}"


def no_job_came_from_nowhere(facts: Facts) -> Iterator[str]:
    told = facts.history.accepted
    untold = [job_id for job_id in facts.jobs if job_id not in told]
    cut_off = len(facts.history.asked) - len({one.topic for one in told.values()})
    if len(untold) > cut_off:
        yield f"{len(untold)} jobs were never told of, but only {cut_off} submits got no answer: {untold[:5]}"


def states_follow_each_other(facts: Facts) -> Iterator[str]:
    for job_id in facts.writes:
        retries = 0
        for before, now in pairwise(facts.of(job_id, "job")):
            if now.operation == "delete":
                continue
            if now.status not in MOVES.get(before.status or "", set()):
                verb = "was written to after its end" if now.status == before.status else f"became {now.status}"
                yield f"job {job_id} was {before.status} and {verb} (write {now.number})"
            if (before.status, now.status) == ("failed", "queued"):
                retries += 1
        if retries > facts.history.retried[job_id]:
            yield f"job {job_id} was queued again {retries} times after it failed, and retried {facts.history.retried[job_id]}"


def attempts_are_counted(facts: Facts) -> Iterator[str]:
    for job_id in facts.writes:
        for before, now in pairwise(facts.of(job_id, "job")):
            if now.operation == "delete":
                continue
            claimed = before.status != "running" and now.status == "running"
            if (now.attempt or 0) - (before.attempt or 0) != int(claimed):
                yield f"job {job_id} went from attempt {before.attempt} to {now.attempt} (write {now.number})"
            used = (before.attempts_left or 0) - (now.attempts_left or 0)
            if before.status != "failed" and used not in {0, int((before.status, now.status) == ("running", "queued"))}:
                yield f"job {job_id} used {used} attempts as it became {now.status} (write {now.number})"


def sessions_run_in_order(facts: Facts) -> Iterator[str]:
    unfinished: dict[str, dict[str, Write]] = defaultdict(dict)
    for now in facts.history.writes:
        if now.table != "job" or now.session_id is None or now.seq is None:
            continue
        jobs = unfinished[now.session_id]
        before = jobs.pop(now.row_id, None)
        if now.operation == "delete" or now.status not in UNFINISHED:
            continue
        if now.status == "running" and (before is None or before.status != "running"):
            for other in jobs.values():
                if other.status == "running" or (other.seq or 0) < now.seq:
                    yield f"job {now.row_id} was claimed while {other.row_id}, {other.seq} of its session, was {other.status}"
        jobs[now.row_id] = now
