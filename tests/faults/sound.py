"""A sound history made by hand, and ways to change it, for the tests of the checker."""

from dataclasses import replace
from typing import Any

from tests.faults.history import Accepted, History, ModelCall, Write
from tests.faults.model import prompt, reply_to

JOB, SESSION = "job-1", "session-1"
REPLY = reply_to(prompt("topica", 2)) or ""


def moves(*statuses: str, job_id: str = JOB, seq: int = 1, first: int = 0) -> list[Write]:
    """A job row's writes, ten numbers and seconds apart."""
    writes: list[Write] = []
    attempt = 0
    for place, status in enumerate(statuses):
        attempt += status == "running" and writes[-1].status != "running"
        number, operation = first + 10 * place, "update" if place else "insert"
        writes.append(
            Write(number, float(number), "job", operation, job_id, job_id, SESSION, None, status, attempt, 4, seq)
        )
    return writes


def of_job(number: int, table: str, name: str, *, job_id: str = JOB, **fields: Any) -> Write:
    """The insert of a row that belongs to a job."""
    return Write(number, float(number), table, "insert", f"{table}-{number}", job_id, SESSION, name, **fields)


def step(number: int, name: str, attempt: int = 1) -> Write:
    """The insert of a step that succeeded."""
    return of_job(number, "step", name, status="succeeded", attempt=attempt)


def sound() -> History:
    """A spoken turn, as it should be: claimed at 10, replied at 12, spoken at 15, ended at 20."""
    history = History(asked={"topica"})
    history.accept(Accepted(JOB, SESSION, "topica", REPLY, spoken=True))
    history.calls = [ModelCall(11, "topica", "reply", "chat"), ModelCall(14, "topica", "speak/1", "voice")]
    add(
        history,
        *moves("queued", "running", "succeeded"),
        of_job(1, "message", "user", seq=1),
        of_job(12, "message", "assistant", seq=2),
        step(13, "reply"),
        of_job(14, "usage", "reply"),
        step(15, "speak/1"),
        of_job(16, "usage", "speak/1"),
    )
    said = {"job_id": JOB, "session_id": SESSION}
    done = {"job_id": JOB, "status": "succeeded", "provider": "openai", "blob_id": None}
    history.rows = {
        "session": [{"id": SESSION}],
        "job": [{"id": JOB, "session_id": SESSION, "status": "succeeded", "seq": 1, "reply_audio": True}],
        "message": [
            {"id": "m1", **said, "role": "user", "seq": 1, "text": prompt("topica", 2), "blob_id": None},
            {"id": "m2", **said, "role": "assistant", "seq": 2, "text": REPLY, "blob_id": "b1"},
        ],
        "step": [{"name": "reply", **done}, {"name": "speak/1", **done}],
        "usage": [{"job_id": JOB, "step": "reply"}, {"job_id": JOB, "step": "speak/1"}],
        "blob": [{"id": "b1", "key": "reply/b1", "status": "ready", "size": 9, "session_id": SESSION}],
    }
    history.sizes = {"reply/b1": 9}
    return history


def add(history: History, *writes: Write) -> None:
    """Put writes where their numbers say."""
    history.writes = sorted([*history.writes, *writes], key=lambda write: write.number)


def change_write(history: History, number: int, **fields: Any) -> None:
    """Change what one write wrote."""
    history.writes = [replace(write, **fields) if write.number == number else write for write in history.writes]


def live(history: History, *statuses: str) -> None:
    """Give the job another life."""
    history.writes = [write for write in history.writes if write.table != "job"]
    add(history, *moves(*statuses))
    history.rows["job"][0]["status"] = statuses[-1]


def delete_session(history: History) -> None:
    """Take the session and all that it held, at 30."""
    gone = replace(moves("succeeded")[0], number=31, operation="delete")
    add(history, Write(30, 30.0, "session", "delete", SESSION, None, SESSION), gone)
    for table in ("session", "job", "message", "step", "blob"):
        history.rows[table] = []
    history.sizes = {}
