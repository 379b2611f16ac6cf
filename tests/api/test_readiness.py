"""/health/ready does what a write does: each store that would refuse one is named, and is well again by itself."""

# ruff: noqa: ASYNC240 - what is broken here is a folder
import asyncio
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.storage import MARK
from tests.conftest import SAMPLES
from tests.live import Live, live_parley
from tests.services import AWS, RedisServer, private

TRIES = 100
EMBEDDED = pytest.mark.parametrize("stack", ["embedded"], indirect=True)
SERVERS = pytest.mark.parametrize("stack", ["servers"], indirect=True)


async def says(live: Live, reason: str | None) -> dict[str, Any]:
    """Wait until this is a reason, or with None until no store is one: workers and the loop are others' business."""
    body: dict[str, Any] = {}
    for _ in range(TRIES):
        answer = await live.http.get("/health/ready")
        body = dict(answer.json())
        well = all(body["checks"].values())
        assert (answer.status_code == 503) == (not (body["checks"]["sql"] and body["checks"]["blobs"])), body
        if reason in body["reasons"] if reason else well:
            return body
        await asyncio.sleep(0.2)
    raise AssertionError(body)


@EMBEDDED
@pytest.mark.parametrize(
    ("commands", "reason"),
    [
        ([("CONFIG", "SET", "maxmemory", "1")], "redis is full"),
        ([("REPLICAOF", "127.0.0.1", "1")], "redis is a read-only replica"),
        ([("CONFIG", "SET", "save", "3600 1"), ("BGSAVE",)], "redis is not able to save to its disk"),
        ([("CONFIG", "SET", "min-replicas-to-write", "1")], "redis is refusing writes"),
        ([("CONFIG", "SET", "requirepass", "x"), ("CLIENT", "KILL", "SKIPME", "no")], "redis is refusing the password"),
        ([("ACL", "SETUSER", "default", "-psetex")], "redis is denying the user what Parley needs"),
    ],
)
async def test_a_redis_that_takes_no_writes_is_named_and_submits_go_on(
    settings: Settings, audio_pool: AudioPool, commands: list[tuple[str, ...]], reason: str, tmp_path: Path
) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder)
    server.start()
    try:
        known = settings.model_copy(update={"redis_url": SecretStr(server.url)})
        async with live_parley(known, audio_pool, work=False) as live:
            await says(live, None)
            if ("BGSAVE",) in commands:
                shutil.rmtree(folder)
            redis = Redis.from_url(server.url)
            for command in commands:
                await redis.execute_command(*command)
            await redis.aclose()
            body = await says(live, reason)
            assert (body["status"], body["checks"]) == ("degraded", {"sql": True, "blobs": True, "redis": False})
            assert (await live.text((await live.session())["id"]))["status"] == "queued"
    finally:
        server.stop(signal.SIGKILL)  # one that can't save does not end otherwise


async def test_the_checks_leave_nothing_behind(parley_without_worker: Live, tmp_path: Path) -> None:
    live = parley_without_worker
    await says(live, None)
    before = [sorted(path for path in tmp_path.rglob("*") if "wal" not in path.name), await keys(live)]
    size = sum(path.stat().st_size for path in tmp_path.rglob("*"))
    for _ in range(3):
        await asyncio.sleep(2.1)
        await says(live, None)
    assert [sorted(path for path in tmp_path.rglob("*") if "wal" not in path.name), await keys(live)] == before
    assert sum(path.stat().st_size for path in tmp_path.rglob("*")) - size < 100_000


async def keys(live: Live) -> list[bytes]:
    return [key for key in await live.resources.queue.redis.keys("parley:*") if key != b"parley:queue"]


@EMBEDDED
async def test_many_who_ask_are_one_check(settings: Settings, audio_pool: AudioPool) -> None:
    with private(RedisServer) as server:
        known = settings.model_copy(update={"redis_url": SecretStr(server.url)})
        async with live_parley(known, audio_pool, work=False) as live:
            redis = Redis.from_url(server.url)
            await asyncio.gather(*(live.http.get("/health/ready") for _ in range(50)))
            calls = int((await redis.info("commandstats"))["cmdstat_psetex"]["calls"])
            await redis.aclose()
            assert calls <= 3


@EMBEDDED
@pytest.mark.parametrize("what", ["deleted", "replaced"])
async def test_a_sqlite_file_that_is_not_the_one_it_was_is_named_and_takes_no_message(
    parley_without_worker: Live, settings: Settings, what: str
) -> None:
    session = (await parley_without_worker.session())["id"]
    path = Path(settings.embedded_database_url.removeprefix("sqlite+aiosqlite:///"))
    away = path.with_suffix(".away")
    path.rename(away)
    if what == "replaced":
        shutil.copy(away, path)
    body = await says(parley_without_worker, f"sql is {what} while it is in use")
    assert body["status"] == "unready"
    answer = await parley_without_worker.http.post(
        "/api/v1/message/text", json={"session_id": session, "text": "Hello"}
    )
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    away.rename(path)
    await says(parley_without_worker, None)
    await parley_without_worker.text(session)


@EMBEDDED
async def test_a_sqlite_that_cannot_be_written_is_named(parley_without_worker: Live, settings: Settings) -> None:
    path = settings.embedded_database_url.removeprefix("sqlite+aiosqlite:///")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    await says(parley_without_worker, "sql is busy")
    holder.close()
    await says(parley_without_worker, None)


@SERVERS
async def test_a_read_only_postgresql_is_named(parley_without_worker: Live, settings: Settings) -> None:
    await says(parley_without_worker, None)
    server, _, name = settings.embedded_database_url.replace("+asyncpg", "").rpartition("/")
    connection = await asyncpg.connect(f"{server}/postgres")
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await connection.execute(end, name)
    body = await says(parley_without_worker, "sql is read-only")
    assert body["status"] == "unready"
    await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await connection.execute(end, name)
    await connection.close()
    await says(parley_without_worker, None)


@pytest.fixture
def blobs(settings: Settings) -> Path:
    return settings.data_dir / "blobs"


@EMBEDDED
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("missing", "blobs are missing"),
        ("a file", "blobs are a file, not a folder"),
        ("remade", "blobs are not the ones that were here"),
    ],
)
async def test_a_blob_folder_that_is_lost_is_named_and_not_written(
    parley_without_worker: Live, blobs: Path, change: str, reason: str
) -> None:
    live = parley_without_worker
    await says(live, None)
    session = (await live.session())["id"]
    away = blobs.with_name("away")
    blobs.rename(away)
    if change == "a file":
        blobs.touch()
    elif change == "remade":
        blobs.mkdir()
    body = await says(live, reason)
    assert body["status"] == "unready"
    answer = await live.post_voice(session, (SAMPLES / "en_13.flac").read_bytes())
    assert answer.status_code == 503, answer.text
    assert not blobs.is_dir() or list(blobs.iterdir()) == []
    if change == "a file":
        blobs.unlink()
    elif change == "remade":
        blobs.rmdir()
    away.rename(blobs)
    await says(live, None)
    await live.voice(session, SAMPLES / "en_13.flac")


@EMBEDDED
async def test_an_empty_folder_beside_a_database_that_knows_of_blobs_is_named(
    settings: Settings, audio_pool: AudioPool, blobs: Path
) -> None:
    async with live_parley(settings, audio_pool, work=False) as live:
        await says(live, None)
        await live.voice((await live.session())["id"], SAMPLES / "en_13.flac")
    away = blobs.with_name("away")
    blobs.rename(away)
    async with live_parley(settings, audio_pool, work=False) as live:
        await says(live, "blobs are not the ones that were here")
        assert list(blobs.iterdir()) == []
        blobs.rmdir()
        away.rename(blobs)
        await says(live, None)


@EMBEDDED
async def test_a_folder_of_a_parley_that_made_no_marks_is_taken(
    settings: Settings, audio_pool: AudioPool, blobs: Path
) -> None:
    async with live_parley(settings, audio_pool, work=False) as live:
        await says(live, None)
        await live.voice((await live.session())["id"], SAMPLES / "en_13.flac")
    (blobs / MARK).rmdir()
    async with live_parley(settings, audio_pool, work=False) as live:
        await says(live, None)
        assert (blobs / MARK).is_dir()


class Bucket(BaseHTTPRequestHandler):
    """A bucket that answers each write as it is told."""

    status, code = 200, ""

    def do_HEAD(self) -> None:
        self._answer(404, b"")

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self._answer(self.status, f"<?xml version='1.0'?><Error><Code>{self.code}</Code></Error>".encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("etag", '"x"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def bucket_server(handler: type[Bucket]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@EMBEDDED
@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, "AccessDenied", "blobs are read-only"),
        (404, "NoSuchBucket", "blobs are missing"),
        (400, "XMinioStorageFull", "blobs are full"),
    ],
)
async def test_a_bucket_that_takes_no_writes_is_named(
    settings: Settings, audio_pool: AudioPool, monkeypatch: pytest.MonkeyPatch, status: int, code: str, reason: str
) -> None:
    class Refusing(Bucket):
        """One that can be told in this test alone."""

    with bucket_server(Refusing) as endpoint:
        for name, value in {**AWS, "AWS_ENDPOINT": endpoint}.items():
            monkeypatch.setitem(os.environ, name, value)
        known = settings.model_copy(update={"blob_url": SecretStr("s3://bucket/x")})
        async with live_parley(known, audio_pool, work=False) as live:
            await says(live, None)
            Refusing.status, Refusing.code = status, code
            body = await says(live, reason)
            assert body["status"] == "unready"
            Refusing.status, Refusing.code = 412, "PreconditionFailed"  # it is there: who may write is told so
            await says(live, None)
