"""Two who migrate at once, and one who finds a table locked."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import asyncpg
import pytest

from tests.conftest import ROOT, on_postgres

HEADS = "SELECT version_num FROM alembic_version"


async def alembic(url: str, *command: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "alembic", "-x", f"url={url}", *command, cwd=ROOT, stdout=PIPE, stderr=PIPE
    )


async def ended(process: Process) -> tuple[int | None, str]:
    _, said = await process.communicate()
    return process.returncode, said.decode()


@pytest.fixture
async def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    server = str(request.getfixturevalue("postgres"))
    await on_postgres(server, "DROP DATABASE IF EXISTS at_once WITH (FORCE)")
    await on_postgres(server, "CREATE DATABASE at_once TEMPLATE template0")
    return f"{server}/at_once"


@pytest.mark.parametrize("empty_url", ["sqlite", "postgres"], indirect=True)
async def test_two_migrations_at_once_both_succeed(empty_url: str) -> None:
    both = [await alembic(empty_url, "upgrade", "head") for _ in range(2)]
    assert [(await ended(process))[0] for process in both] == [0, 0]
    code, said = await ended(await alembic(empty_url, "check"))
    assert code == 0, said


async def test_a_table_that_is_locked_is_waited_for_without_holding_up_the_others(postgres_url: str) -> None:
    plain = postgres_url.replace("+asyncpg", "")
    holder, reader = await asyncpg.connect(plain), await asyncpg.connect(plain)
    long = holder.transaction()
    await long.start()
    await holder.execute('SELECT count(*) FROM "agent"')
    migrating = await alembic(postgres_url, "downgrade", "0005")
    assert migrating.stderr
    async with asyncio.timeout(100):
        assert b"Waiting for a lock" in await migrating.stderr.readline()
        for _ in range(20):  # each waits behind the migration for a moment at most
            await reader.execute('SELECT count(*) FROM "agent"', timeout=5)
            await asyncio.sleep(0.05)
        await long.rollback()
        code, said = await ended(migrating)
    assert code == 0, said
    assert await reader.fetchval(HEADS) == "0005"
    await holder.close()
    await reader.close()


async def test_a_migration_that_never_gets_its_lock_ends_with_a_line_and_changed_nothing(postgres_url: str) -> None:
    holder = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    before = await holder.fetchval(HEADS)
    long = holder.transaction()
    await long.start()
    await holder.execute('SELECT count(*) FROM "agent"')
    code, said = await ended(await alembic(postgres_url, "downgrade", "base"))
    await long.rollback()
    assert code != 0
    assert "did not get a lock" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert await holder.fetchval(HEADS) == before
    await holder.close()
