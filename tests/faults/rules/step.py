"""A step's output is written once, by whoever has the job; and so is what it cost."""

from collections import Counter
from collections.abc import Iterator

from tests.faults.history import Write
from tests.faults.rules.facts import Facts


def output_is_written_once(facts: Facts) -> Iterator[str]:
    for job_id in facts.writes:
        done = [write for write in facts.of(job_id, "step") if write.operation == "insert"]
        for name, times in Counter(write.name for write in done if write.status == "succeeded").items():
            if times > 1:
                yield f"job {job_id} had its step {name} written {times} times"


def only_the_claim_writes(facts: Facts) -> Iterator[str]:
    for job_id, writes in facts.writes.items():
        job: Write | None = None
        for write in writes:
            if write.table == "job":
                job = write
            elif job_id and write.operation != "delete" and not _is_lawful(write, job):
                state = (
                    "never was" if job is None else "was deleted" if job.operation == "delete" else f"was {job.status}"
                )
                yield f"job {job_id} {state} when its {write.table} {write.name} was written (write {write.number})"
            elif job and write.table == "step" and write.operation == "insert" and write.attempt != job.attempt:
                yield f"attempt {write.attempt} of job {job_id} wrote {write.name} during attempt {job.attempt}"


def _is_lawful(write: Write, job: Write | None) -> bool:
    if job is None or job.operation == "delete":
        return False
    if (write.table, write.name, write.operation) == ("message", "user", "insert"):
        return job.status == "queued"
    return job.status == "running"


def steps_are_billed_once(facts: Facts) -> Iterator[str]:
    for job_id in facts.writes:
        for name, times in Counter(write.name for write in facts.of(job_id, "usage")).items():
            if times > 1:
                yield f"job {job_id} was billed {times} times for {name}"
    billed = {(row["job_id"], row["step"]) for row in facts.history.rows.get("usage", [])}
    for job_id, steps in facts.steps.items():
        for step in steps:
            paid = step["status"] == "succeeded" and step["provider"]
            if paid and (job_id, step["name"]) not in billed:
                yield f"job {job_id} was not billed for {step['name']}"


def nothing_is_left_of_the_deleted(facts: Facts) -> Iterator[str]:
    sessions = {row["id"] for row in facts.history.rows.get("session", [])}
    for session_id in set(facts.gone) - facts.history.deleted:
        yield f"session {session_id} is gone and nobody deleted it"
    for table in ("job", "message"):
        for row in facts.history.rows.get(table, []):
            if row["session_id"] not in sessions:
                yield f"{table} {row['id']} is left of a session that is gone"
    for job_id in facts.steps:
        if job_id not in facts.jobs:
            yield f"steps are left of job {job_id}, which is gone"
