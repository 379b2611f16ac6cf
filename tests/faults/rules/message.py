"""One reply per message, whole, and in its place."""

from collections import Counter
from collections.abc import Iterator

from tests.faults.rules.facts import Facts


def every_message_has_one_reply(facts: Facts) -> Iterator[str]:
    for job_id, job in facts.jobs.items():
        roles = Counter(row["role"] for row in facts.messages.get(job_id, []))
        if roles["user"] != 1:
            yield f"job {job_id} has {roles['user']} messages of the user's"
        if roles["assistant"] > 1 or (job["status"] == "succeeded" and not roles["assistant"]):
            yield f"job {job_id} {job['status']} with {roles['assistant']} replies"
        inserts = [write for write in facts.of(job_id, "message") if write.operation == "insert"]
        for role, times in Counter(write.name for write in inserts).items():
            if times > 1:
                yield f"job {job_id} had its {role} message written {times} times"


def replies_are_whole(facts: Facts) -> Iterator[str]:
    for told in facts.history.accepted.values():
        for row in facts.messages.get(told.job_id, []):
            if row["role"] == "assistant" and told.reply is not None and row["text"] != told.reply:
                yield f"job {told.job_id} was answered {row['text']!r} instead of {told.reply!r}"


def places_are_kept(facts: Facts) -> Iterator[str]:
    taken = Counter((row["session_id"], row["seq"]) for row in facts.history.rows.get("message", []))
    for (session_id, seq), times in taken.items():
        if times > 1:
            yield f"session {session_id} has {times} messages in place {seq}"
    for job_id, rows in facts.messages.items():
        seq = facts.jobs[job_id]["seq"] if job_id in facts.jobs else None
        for row in rows:
            if seq is not None and row["seq"] != seq + (row["role"] == "assistant"):
                yield f"the {row['role']} message of job {job_id}, {seq} of its session, is in place {row['seq']}"


def models_see_what_was_said_before(facts: Facts) -> Iterator[str]:
    place = {told.topic: (told.session_id, facts.jobs[told.job_id]["seq"])
             for told in facts.history.accepted.values() if told.job_id in facts.jobs}  # fmt: skip
    for call in facts.history.calls:
        here = place.get(call.topic)
        for topic in call.context if here else ():
            there = place.get(topic)
            if here and there and (there[0] != here[0] or there[1] >= here[1]):
                yield f"the model was told of {topic} before it was asked about {call.topic}"
