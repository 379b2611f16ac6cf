"""Fixtures: real SQL, real Redis, a live API and worker in the test's loop, and a scripted model server."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.process.logging import setup_logging
from tests.fakes.openai_server import FakeOpenAI
from tests.live import Live, live_parley
from tests.services import postgres_server, redis_server, s3_bucket

ROOT = Path(__file__).parent.parent
SAMPLES = Path(__file__).parent / "audio"
STACKS = ("embedded", "servers")
CASES = "cases of isolation"

MEMORY = Path("/dev/shm")  # noqa: S108 - everything in it gets a folder with a name of its own
ROOM = 2 * 1024**3
if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)  # a disk takes 0.3 s to copy a database, hundreds of times

for name in [n for n in os.environ if n.upper() in {f.upper() for f in Settings.model_fields}]:
    del os.environ[name]  # what the developer's shell says must not decide what a test proves


setup_logging(Settings(_env_file=None, env="TEST", log_level="WARNING"))


def migrate(url: str, revision: str = "head", *, down: bool = False) -> None:
    """Run alembic as an operator does."""
    subprocess.run(
        [sys.executable, "-m", "alembic", "-x", f"url={url}", "downgrade" if down else "upgrade", revision],
        check=True,
        cwd=ROOT,
        capture_output=True,
    )


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    with s3_bucket() as url:
        yield url


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    shutil.copy(sqlite_template, tmp_path / "parley.db")
    return f"sqlite+aiosqlite:///{tmp_path / 'parley.db'}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def redis() -> Iterator[str]:
    with redis_server() as url:
        yield url


async def on_postgres(server: str, statement: str) -> None:
    connection = await asyncpg.connect(f"{server.replace('+asyncpg', '')}/postgres")
    await connection.execute(statement)
    await connection.close()


@pytest.fixture(scope="session")
async def postgres_template(postgres: str) -> str:
    await on_postgres(postgres, "CREATE DATABASE template_parley")
    await asyncio.to_thread(migrate, f"{postgres}/template_parley")
    return "template_parley"


@pytest.fixture
async def postgres_url(postgres: str, postgres_template: str) -> AsyncIterator[str]:
    name = f"parley_{uuid4().hex[:12]}"
    await on_postgres(postgres, f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
    yield f"{postgres}/{name}"
    await on_postgres(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh migrated database of each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(scope="session")
async def audio_pool() -> AsyncIterator[AudioPool]:
    pool = AudioPool()
    await pool.warm()
    yield pool
    await pool.close()


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    """The model server; healthy until it is told otherwise."""
    with FakeOpenAI() as server:
        yield server


@pytest.fixture(params=STACKS)
def stack(request: pytest.FixtureRequest) -> str:
    """SQLite with the in-process queue, and PostgreSQL with Redis."""
    return str(request.param)


@pytest.fixture
def settings(request: pytest.FixtureRequest, stack: str, tmp_path: Path, fake: FakeOpenAI) -> Settings:
    """Settings of a whole Parley that asks the scripted model server, retries soon and waits for little."""
    urls = {"database_url": request.getfixturevalue("sqlite_url")}
    if stack == "servers":
        urls = {
            "database_url": request.getfixturevalue("postgres_url"),
            "redis_url": request.getfixturevalue("redis"),
        }
    return Settings(
        _env_file=None,
        env="TEST",
        data_dir=tmp_path,
        port=0,
        openai_api_key="sk-test-canary",
        openai_base_url=fake.url,
        reconcile_s=0.2,
        **urls,
    )


@pytest.fixture
async def parley(settings: Settings, audio_pool: AudioPool) -> AsyncIterator[Live]:
    """A live API over a real socket, with a worker beside it."""
    async with live_parley(settings, audio_pool) as live:
        yield live


@pytest.fixture
async def parley_without_worker(settings: Settings, audio_pool: AudioPool) -> AsyncIterator[Live]:
    """A live API whose jobs stay queued."""
    async with live_parley(settings, audio_pool, work=False) as live:
        yield live


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many cases the tests of isolation have tried: what they generate grows with the routes."""
    counts = [
        int(str(number))
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "teardown"
        for name, number in report.user_properties
        if name == CASES
    ]
    if counts:
        terminalreporter.write_line(f"{sum(counts):,} {CASES} were tried")
