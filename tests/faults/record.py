"""Gathering a history from the audit, the model server, the tables and the store."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.fakes.openai_script import Call
from tests.faults import audit
from tests.faults.history import History, ModelCall
from tests.faults.model import Model, step_of, topics_in
from tests.faults.sql import Sql

TABLES = ("job", "step", "message", "usage", "blob", "session")
SAME_CLOCK_S = 0.5


async def record(history: History, sql: Sql, model: Model, blobs: Path) -> None:
    """Fill in what was written, what models were asked, and how it ended."""
    history.writes = await audit.read(sql)
    for table in TABLES:
        rows = await sql.rows(f'SELECT * FROM "{table}"')  # noqa: S608 - names of ours
        history.rows[table] = [{name: _plain(name, value) for name, value in row.items()} for row in rows]
    history.sizes = _sizes(blobs)
    offset = await _clock_offset(sql)
    history.calls = [_model_call(call, offset) for call in list(model.calls)]


async def now(sql: Sql) -> float:
    """Seconds since 1970 by the database's clock."""
    clock = audit.NOW["sqlite" if sql.is_sqlite else "postgresql"]
    return float((await sql.rows(f"SELECT {clock} AS at"))[0]["at"])


async def _clock_offset(sql: Sql) -> float:
    """What to add to this process's monotonic clock; the two are one machine's unless a test moved one."""
    away = await now(sql) - time.time()
    return time.time() - time.monotonic() + (away if abs(away) > SAME_CLOCK_S else 0.0)


def _sizes(folder: Path) -> dict[str, int]:
    sizes = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a tombstone is swept just now
            if path.is_file():
                sizes[path.relative_to(folder).as_posix()] = path.stat().st_size
    return sizes


def _model_call(call: Call, offset: float) -> ModelCall:
    topics = topics_in(call.text)
    before = [str(message.get("content")) for message in call.messages if message.get("role") in {"user", "assistant"}]
    return ModelCall(
        at=call.at + offset,
        topic=topics[0] if topics else "",
        step=step_of(call),
        model=call.model,
        context=tuple(dict.fromkeys(topic for said in before[:-1] for topic in topics_in(said))),
    )


def _plain(name: str, value: Any) -> Any:
    """Spell ids as a client sees them; SQLite stores 32 hex digits."""
    return str(UUID(str(value))) if name.endswith("id") and value is not None else value
