"""A history, sorted by job once, so that a rule over ten thousand jobs takes no longer than its writes."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tests.faults.history import History, ModelCall, Row, Write
from tests.faults.model import topics_in


@dataclass(frozen=True)
class Facts:
    """`jobs` are the rows that are left; `gone` the sessions that were deleted, with the number of that write."""

    history: History
    jobs: dict[str, Row]
    gone: dict[str, int]
    writes: dict[str, list[Write]]
    calls: dict[str, list[ModelCall]]
    messages: dict[str, list[Row]]
    steps: dict[str, list[Row]]

    def of(self, job_id: str, table: str) -> list[Write]:
        """What was written to one table for a job."""
        return [write for write in self.writes.get(job_id, []) if write.table == table]


def facts_of(history: History) -> Facts:
    """Sort it."""
    messages = _by_job(history.rows.get("message", []))
    topics = {told.topic: told.job_id for told in history.accepted.values()}
    for job_id, said in messages.items():  # a submit that was cut off may have been accepted all the same
        topics |= {topic: job_id for row in said if row["role"] == "user" for topic in topics_in(row["text"] or "")}
    calls = defaultdict(list)
    for call in sorted(history.calls, key=lambda call: call.at):
        calls[topics.get(call.topic, "")].append(call)
    writes = defaultdict(list)
    for write in history.writes:
        writes[write.job_id or ""].append(write)
    return Facts(
        history=history,
        jobs={row["id"]: row for row in history.rows.get("job", [])},
        gone={write.row_id: write.number for write in history.writes if (write.table, write.operation) == _GONE},
        writes=writes,
        calls=calls,
        messages=messages,
        steps=_by_job(history.rows.get("step", [])),
    )


_GONE = ("session", "delete")


def _by_job(rows: Iterable[Row]) -> dict[str, list[Row]]:
    sorted_rows = defaultdict(list)
    for row in rows:
        sorted_rows[str(row["job_id"])].append(row)
    return sorted_rows
