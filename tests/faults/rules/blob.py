"""What is ready has its bytes, what has bytes has a row, and a spoken reply has its sound."""

from collections.abc import Iterator

from tests.faults.rules.facts import Facts

STAGED = "#1"


def ready_blobs_have_their_bytes(facts: Facts) -> Iterator[str]:
    sizes = facts.history.sizes
    for blob in facts.history.rows.get("blob", []):
        if blob["status"] == "ready" and sizes.get(blob["key"]) != blob["size"]:
            yield f"blob {blob['key']} is ready with {blob['size']} bytes, and its file has {sizes.get(blob['key'])}"


def files_have_a_row(facts: Facts) -> Iterator[str]:
    keys = {blob["key"] for blob in facts.history.rows.get("blob", [])}
    staged = {f"{key}{STAGED}" for key in keys}  # what a killed process left: it goes when the row goes
    for key in sorted(set(facts.history.sizes) - keys - staged):
        yield f"file {key} has no row: nothing will ever remove it"


def ready_blobs_are_wanted(facts: Facts) -> Iterator[str]:
    rows = facts.history.rows
    wanted = {row["blob_id"] for table in ("message", "step") for row in rows.get(table, [])}
    sessions = {row["id"] for row in rows.get("session", [])}
    for blob in rows.get("blob", []):
        if blob["status"] == "ready" and blob["id"] not in wanted:
            yield f"blob {blob['key']} is ready, and nothing points at it"
        if blob["status"] != "deleted" and blob["session_id"] and blob["session_id"] not in sessions:
            yield f"blob {blob['key']} is {blob['status']}, and its session is gone"


def spoken_replies_have_their_sound(facts: Facts) -> Iterator[str]:
    ready = {blob["id"] for blob in facts.history.rows.get("blob", []) if blob["status"] == "ready"}
    for job_id, job in facts.jobs.items():
        if job["status"] != "succeeded" or not job["reply_audio"]:
            continue
        for row in facts.messages.get(job_id, []):
            if row["role"] == "assistant" and row["blob_id"] not in ready:
                yield f"job {job_id} succeeded, and its reply can't be heard"
