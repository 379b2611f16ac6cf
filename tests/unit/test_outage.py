"""An outage is logged once when it begins, and once when it ends."""

# ruff: noqa: ASYNC110 - it says so of itself
import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.errors import Unavailable
from shared.process import outage
from shared.process.outage import Outage, first_line, quietly
from shared.redis.queue import Queue, open_redis
from shared.redis.wakes import JobWakes
from shared.sql.database import Database
from shared.storage import Storage
from tests.services import RedisServer, private

SECRET = "s3cret"


def events(lines: list[Any]) -> list[str]:
    return [line["event"] for line in lines]


def test_only_changes_are_logged_with_the_reason() -> None:
    store = Outage("sql", "host:5432/db")
    with capture_logs() as lines:
        store.worked(write=True)
        for _ in range(5):
            store.failed("refused")
        for _ in range(5):
            store.worked(write=False)
    assert events(lines) == ["store.unavailable", "store.available"]
    assert lines[0] == {
        "event": "store.unavailable", "log_level": "warning", "store": "sql", "where": "host:5432/db", "why": "refused"
    }  # fmt: skip


def test_a_store_that_is_read_but_not_written_is_not_back() -> None:
    store = Outage("sql", "")
    with capture_logs() as lines:
        store.failed("full", only_writes=True)
        store.worked(write=False)
        assert events(lines) == ["store.unavailable"]
        store.worked(write=True)
    assert events(lines) == ["store.unavailable", "store.available"]


def test_one_that_comes_and_goes_is_logged_no_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Outage("sql", "")
    with capture_logs() as lines:
        for _ in range(100):
            store.failed("refused")
            store.worked(write=True)
        assert events(lines) == ["store.unavailable", "store.available"]
        monkeypatch.setattr(outage, "STEADY_S", 0.0)
        store.failed("refused")
    assert events(lines)[-1] == "store.unavailable"


def test_what_is_told_otherwise_is_not_logged() -> None:
    with capture_logs() as lines, quietly():
        Outage("sql", "").failed("refused")
    assert lines == []


def test_an_error_is_one_line() -> None:
    assert first_line(ValueError("\n one \ntwo" + "x" * 1_000)) == "one"
    assert len(first_line(ValueError("x" * 1_000))) == 300
    assert first_line(TimeoutError()) == "TimeoutError"
    assert first_line(OSError(13, "Permission denied", "/x")) == "Permission denied"


async def test_each_store_says_once_why_it_is_away_and_where_without_the_password() -> None:
    with capture_logs() as lines:
        database = Database(f"postgresql://someone:{SECRET}@127.0.0.1:1/none")
        queue = Queue(open_redis(f"redis://someone:{SECRET}@127.0.0.1:1/0"))
        for _ in range(3):
            for check in (database.check, queue.check):
                with pytest.raises(Unavailable):
                    await check()
        with pytest.raises(Unavailable):
            Storage("file:///proc/nowhere/blobs")
        await database.close()
        await queue.close()
    found = [(line["store"], line["where"]) for line in lines if line["event"] == "store.unavailable"]
    assert found == [("sql", "127.0.0.1:1/none"), ("redis", "127.0.0.1:1"), ("blobs", "file:///proc/nowhere/blobs")]
    assert all(line["why"] for line in lines)
    assert SECRET not in str(lines)
    assert "someone" not in str(lines)


async def test_a_redis_that_comes_back_is_told_by_whoever_listens() -> None:
    with private(RedisServer) as server, capture_logs() as lines:
        queue = Queue(open_redis(server.url))
        listening = JobWakes(queue.redis, queue.outage)
        listening.start()
        while not listening.listening:
            await asyncio.sleep(0.05)
        server.stop()
        while listening.listening:
            await asyncio.sleep(0.05)
        with pytest.raises(Unavailable):
            await queue.check()
        server.start()
        while not listening.listening:
            await asyncio.sleep(0.05)
        await queue.check()
        await listening.close()
        await queue.close()
    assert events([line for line in lines if line.get("store")]) == ["store.unavailable", "store.available"]
