"""What happened in one run: what clients were told, what models were asked, what was written, and how it ended.

A run fills a `History` through `Client` (asked, accepted, retried, deleted) and `Deployment.collect()` (the rest);
`check()` judges it. What a fault makes lawful is said here as data, by whoever made the fault: `stalled`.
All times are seconds since 1970 by the database's clock.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from shared.models import JobStatus

UNFINISHED = {"queued", "running"}
TERMINAL = {status.value for status in JobStatus} - UNFINISHED - {"cancelling"}


@dataclass(frozen=True)
class Accepted:
    """A submit that a client was told 202 for; `reply` is the whole text that must answer it, if that is known."""

    job_id: str
    session_id: str
    topic: str
    reply: str | None = None
    spoken: bool = False


@dataclass(frozen=True)
class Write:
    """A committed write, as a trigger saw it. `name` is a step's, a message's role, a blob's purpose.

    `operation` is `insert`, `update` or `delete`; `row_id` the row's own id; `seq` a message's place, or a job's.
    """

    number: int
    at: float
    table: str
    operation: str
    row_id: str
    job_id: str | None = None
    session_id: str | None = None
    name: str | None = None
    status: str | None = None
    attempt: int | None = None
    attempts_left: int | None = None
    seq: int | None = None


@dataclass(frozen=True)
class ModelCall:
    """A call that reached the model server. `context` holds the topics of the messages before the user's last."""

    at: float
    topic: str
    step: str
    model: str = ""
    context: tuple[str, ...] = ()


Row = dict[str, Any]


@dataclass
class History:
    """One run; every field is in the order in which it happened.

    `asked` are the topics of all submits, accepted or not. `retried` counts by job the retries told 202. `stalled`
    counts by job the claims whose worker was frozen: each may still make the one call that it was about to make, not
    knowing that it has lost the job. `deleted` are the sessions whose deletion, or whose agent's, a client was told.
    `sizes` are the store's files by key. `rows` are the tables at the end.
    """

    asked: set[str] = field(default_factory=set)
    accepted: dict[str, Accepted] = field(default_factory=dict)
    retried: Counter[str] = field(default_factory=Counter)
    stalled: Counter[str] = field(default_factory=Counter)
    deleted: set[str] = field(default_factory=set)
    writes: list[Write] = field(default_factory=list)
    calls: list[ModelCall] = field(default_factory=list)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def accept(self, told: Accepted) -> None:
        """Note a 202; the same job twice is one (an Idempotency-Key)."""
        self.accepted[told.job_id] = told

    def write(self, path: Path) -> None:
        """Leave it as text, for whoever has to find out what went wrong."""
        lines = [*self.accepted.values(), *self.calls, *self.writes]
        path.write_text("\n".join(map(str, lines)))

    def of(self, job_id: str, table: str | None = None) -> list[Write]:
        """The writes of one job, of one table if asked."""
        return [write for write in self.writes if write.job_id == job_id and table in {None, write.table}]

    def claims(self, job_id: str) -> list[Write]:
        """The writes that claimed a job."""
        return claims_among(self.of(job_id, "job"))

    def ends(self, job_id: str) -> list[Write]:
        """The writes that ended a job; more than one after a retry."""
        moves = pairwise(self.of(job_id, "job"))
        return [now for before, now in moves if before.status in UNFINISHED and now.status in TERMINAL]


def claims_among(moves: Iterable[Write]) -> list[Write]:
    """Of a job row's writes, those that claimed it."""
    return [
        now
        for before, now in pairwise(moves)
        if (now.status, now.operation) == ("running", "update") and before.status != "running"
    ]


def latest(writes: Iterable[Write]) -> list[Write]:
    """The last write of each row."""
    return list({write.row_id: write for write in writes}.values())
