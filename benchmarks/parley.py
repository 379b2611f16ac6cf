"""Parley's real processes with stores of their own, what else is measured, and what all of these cost."""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Literal, Self

import asyncpg
import psutil  # type: ignore[import-untyped] # it has no types

from tests.processes import ROOT, Process, wait_until_healthy
from tests.services import PostgresServer, RedisServer, free_port, private, wait_for_port

Kind = Literal["sqlite", "postgresql"]
KINDS: tuple[Kind, ...] = ("sqlite", "postgresql")
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
START_S = 30.0


class Parley:
    """A Redis, an API and workers on one database; standalone needs none of them. Ended with its block.

    `env` is for all of its processes.
    """

    def __init__(self, folder: Path, database_url: str, model_url: str = "http://127.0.0.1:9/v1", **env: str) -> None:
        self.database_url = database_url
        self.model_port = int(model_url.rpartition(":")[2].partition("/")[0])
        self.port = free_port()
        self.redis = RedisServer(folder)
        self.processes: list[Process] = []
        self._folder = folder
        self._env = {
            "ENV": "TEST",
            "PORT": str(self.port),
            "DATABASE_URL": database_url,
            "BLOB_URL": (folder / "blobs").as_uri(),
            "DATA_DIR": str(folder),
            "OPENAI_API_KEY": "sk-none",
            "OPENAI_BASE_URL": model_url,
            "MAX_UNFINISHED_JOBS": "1000000",
            **env,
        }

    def __enter__(self) -> Self:
        self.redis.start()
        self._env["REDIS_URL"] = self.redis.url
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
        self.redis.stop()

    def start_api(self) -> Process:
        """Start the API and wait until it answers."""
        api = self._start("-m", "api")
        wait_until_healthy(f"http://127.0.0.1:{self.port}", api)
        return api

    def start_worker(self, module: str = "worker", **env: str) -> Process:
        """Start one more worker and wait until it serves the queue."""
        worker = self._start("-m", module, **env)
        wait_for(lambda: "worker.started" in worker.log.read_text(), worker)
        return worker

    def start_standalone(self) -> Process:
        """Start both in one process, with the in-process queue."""
        del self._env["REDIS_URL"]
        both = self._start("standalone.py")
        wait_until_healthy(f"http://127.0.0.1:{self.port}", both)
        return both

    def _start(self, *command: str, **env: str) -> Process:
        log = self._folder / f"{len(self.processes):02}-{command[-1]}.log"
        process = Process(*command, log=log, env={**self._env, **env})
        self.processes.append(process)
        return process


def wait_for(happened: Callable[[], bool], process: Process) -> None:
    """Until something has happened, while a process lives."""
    until = time.monotonic() + START_S
    while not happened():
        assert process.alive, process.log.read_text()
        assert time.monotonic() < until, process.log.read_text()
        time.sleep(0.02)


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that goes with its block."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@contextmanager
def model_server(*options: str) -> Iterator[str]:
    """The scripted model server as a process of its own; its base URL."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.model", "--port", str(port), *options]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            wait_for_port(port, process)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()


class Databases:
    """Databases of one kind, each new; PostgreSQL's are in one server with fsync off."""

    def __init__(self, kind: Kind, folder: Path, server: PostgresServer | None) -> None:
        self.kind = kind
        self.server = server
        self._folder = folder

    async def new(self, name: str = "parley", *, migrated: bool = True) -> str:
        """Make one; its URL."""
        if self.server is None:
            url = f"sqlite+aiosqlite:///{self._folder / name}.db"
        else:
            url = f"{self.server.url}/{name}"
            await on_postgres(f"{self.server.url}/postgres", f"CREATE DATABASE {name}")
        if migrated:
            await asyncio.to_thread(_migrate, url)
        return url


def _migrate(url: str) -> None:
    command = [sys.executable, "-m", "alembic", "-x", f"url={url}", "upgrade", "head"]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)


@contextmanager
def databases(kind: Kind) -> Iterator[Databases]:
    """A folder for files, or a PostgreSQL server."""
    with ExitStack() as stack:
        home = stack.enter_context(folder())
        yield Databases(kind, home, stack.enter_context(private(PostgresServer)) if kind == "postgresql" else None)


async def on_postgres(url: str, *statements: str) -> list[asyncpg.Record]:
    """Run statements, each a transaction of its own; the rows of the last."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        rows: list[asyncpg.Record] = []
        for statement in statements:
            rows = await connection.fetch(statement)
        return rows
    finally:
        await connection.close()


@asynccontextmanager
async def parley(kind: Kind, *model: str, workers: int = 1, **env: str) -> AsyncIterator[Parley]:
    """A whole Parley: its database, a model server with these options, an API and workers."""
    with ExitStack() as stack:
        home = stack.enter_context(folder())
        url = await stack.enter_context(databases(kind)).new()
        model_url = stack.enter_context(model_server(*model))
        whole = stack.enter_context(Parley(home, url, model_url, **env))
        whole.start_api()
        for _ in range(workers):
            whole.start_worker()
        yield whole


def cpu_s() -> dict[str, float]:
    """CPU seconds that this process (`clients`) and those it started have used, by what they are."""
    this = psutil.Process()
    used = defaultdict(float, clients=_cpu_s(this))
    for process in this.children():
        with suppress(psutil.NoSuchProcess):  # what ended just now is counted no more
            used[_part(" ".join(process.cmdline()))] += sum(map(_cpu_s, _tree(process)))
    return used


def per_turn(before: dict[str, float], turns: int) -> str:
    """CPU of each part since then, in milliseconds a turn."""
    used = {part: 1_000 * (s - before.get(part, 0.0)) / turns for part, s in cpu_s().items()}
    return "CPU ms a turn: " + ", ".join(f"{part} {ms:.1f}" for part, ms in sorted(used.items()) if ms >= 0.05)


def memory_mb(pid: int) -> tuple[float, float]:
    """What a process and its children hold, in MB: all their resident pages, and each shared page counted once."""
    tree = _tree(psutil.Process(pid))
    sizes = []
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            sizes.append(process.memory_full_info())
    return sum(size.rss for size in sizes) / 1e6, sum(size.pss for size in sizes) / 1e6


def _tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _part(command: str) -> str:
    for word, part in _PARTS.items():
        if word in command:
            return part
    return "other"


_PARTS = {
    "redis-server": "redis",
    "postgres": "database",
    "benchmarks.model": "models",
    "worker": "worker",
    "api": "api",
    "uvicorn": "api",
    "standalone": "standalone",
}
