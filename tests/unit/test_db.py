"""Transactions, the database's clock, and the after-commit list, on both databases."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import select, update

from shared.errors import StorageFull, Unavailable
from shared.models import LOCAL_USER_ID, User
from shared.sql.database import ABANDONED_S, Database
from shared.sql.effects import Effect, JobChanged, after_commit
from shared.sql.functions import db_now, off_the_loop
from tests.conftest import on_postgres


@pytest.fixture
async def effects() -> list[Effect]:
    return []


@pytest.fixture
async def database(database_url: str, effects: list[Effect]) -> AsyncIterator[Database]:
    async def run(found: list[Effect]) -> None:
        effects.extend(found)

    database = Database(database_url, run)
    yield database
    await database.close()


async def test_a_block_that_ends_well_is_committed_and_then_has_its_effects(
    database: Database, effects: list[Effect]
) -> None:
    async with database.write() as db:
        db.add(User(username="ann"))
        after_commit(db, JobChanged(LOCAL_USER_ID))
        assert effects == []
    assert effects == [JobChanged(LOCAL_USER_ID)]
    async with database.read() as db:
        assert (await db.exec(select(User).where(User.username == "ann"))).first()


async def test_a_block_that_fails_leaves_nothing_and_has_no_effect(database: Database, effects: list[Effect]) -> None:
    async def fail() -> None:
        async with database.write() as db:
            db.add(User(username="bob"))
            after_commit(db, JobChanged(LOCAL_USER_ID))
            await db.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert effects == []
    async with database.read() as db:
        assert (await db.exec(select(User).where(User.username == "bob"))).first() is None


async def test_times_are_the_databases_own_to_the_fraction_of_a_second_and_in_utc(database: Database) -> None:
    async with database.write() as db:
        user = User(username="eve")
        db.add(user)
        await db.flush()
        created = user.created_at
        user.username = "eva"
        await db.flush()
        later, past = (await db.exec(select(db_now(90.5), db_now(-90.5)))).one()
    assert created.tzinfo is not None
    assert abs(created - datetime.now(UTC)) < timedelta(seconds=5)
    assert user.updated_at >= created
    assert timedelta(seconds=180) < later - past < timedelta(seconds=182)
    async with database.read() as db:
        found = (await db.exec(select(User).where(User.created_at > db_now(-60), User.username == "eva"))).one()
        assert found.created_at == created
        assert (await db.exec(select(User).where(User.created_at > db_now(60)))).all() == []


async def test_writers_at_once_wait_for_each_other_and_lose_nothing(database: Database) -> None:
    async def add(n: int) -> None:
        async with database.write() as db:
            known = (await db.exec(select(User).where(User.username == f"u{n}"))).first()
            assert known is None
            db.add(User(username=f"u{n}"))

    await asyncio.gather(*(add(n) for n in range(60)))
    async with database.read() as db:
        assert len((await db.exec(select(User).where(User.id != LOCAL_USER_ID))).all()) == 60


async def test_a_read_does_not_wait_for_a_writer(database: Database) -> None:
    async with database.write() as db:
        db.add(User(username="slow"))
        await db.flush()
        async with asyncio.timeout(2), database.read() as other:
            assert (await other.exec(select(User).where(User.username == "slow"))).first() is None


async def test_a_locked_sqlite_file_is_unavailable(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with sqlite3.connect(sqlite_url.split("///")[1], isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable) as caught:
            async with database.write() as db:
                db.add(User(username="late"))
        assert caught.value.retry_after
        other.execute("ROLLBACK")
    other.close()
    await database.close()


async def ticks(steps: list[float]) -> None:
    """Notes that the event loop came round, each 10 ms."""
    while True:
        steps.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.01)


async def test_nobody_waits_while_sqlite_waits_for_another_process(sqlite_url: str) -> None:
    database, steps = Database(sqlite_url), list[float]()
    with sqlite3.connect(sqlite_url.split("///")[1], isolation_level=None, check_same_thread=False) as other:
        other.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(0.5, other.execute, "ROLLBACK")
        ticking = asyncio.create_task(ticks(steps))
        async with database.write() as db:
            db.add(User(username="patient"))
        ticking.cancel()
    other.close()
    assert len(steps) > 10
    await database.close()


async def test_a_query_that_says_it_is_long_leaves_the_event_loop_to_others(sqlite_url: str) -> None:
    database, steps = Database(sqlite_url), list[float]()
    long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000) SELECT count(*) FROM n"
    ticking = asyncio.create_task(ticks(steps))
    async with database.read() as db:
        await off_the_loop(db)
        assert (await (await db.connection()).exec_driver_sql(long)).scalar_one() == 2_000_000
        during = len(steps)
    async with database.read() as db:  # who has the connection next is on the loop again
        assert (await (await db.connection()).exec_driver_sql(long)).scalar_one() == 2_000_000
        assert len(steps) <= during + 1
    ticking.cancel()
    assert during > 5
    await database.close()


async def test_a_damaged_text_in_sqlite_is_unavailable(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with pytest.raises(Unavailable):
        async with database.read() as db:
            await (await db.connection()).execute(text("SELECT CAST(x'ff' AS TEXT)"))
    await database.close()


async def test_a_full_sqlite_file_is_said(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with pytest.raises(StorageFull):  # noqa: PT012 - the limit is this connection's own
        async with database.write() as db:
            pages = (await db.exec(text("PRAGMA page_count"))).scalar_one()  # type: ignore[call-overload]
            await db.exec(text(f"PRAGMA max_page_count = {pages}"))  # type: ignore[call-overload]
            db.add_all(User(username=f"{n}" * 100) for n in range(2_000))
    async with database.read() as db:
        assert len((await db.exec(select(User))).all()) == 1
    await database.close()


@pytest.mark.parametrize("statement", ['LOCK TABLE "user" IN ACCESS EXCLUSIVE MODE'])
async def test_a_locked_postgresql_is_unavailable(postgres_url: str, statement: str) -> None:
    holder, database = Database(postgres_url), Database(postgres_url)
    async with holder.write() as lock:
        await lock.exec(text(statement))  # type: ignore[call-overload]
        for attempt in (database.read, database.write):
            with pytest.raises(Unavailable) as caught:
                async with attempt() as db:
                    await db.exec(select(User))
            assert caught.value.retry_after
    async with database.read() as db:
        assert (await db.exec(select(User))).all()
    await holder.close()
    await database.close()


async def test_a_stopped_process_does_not_keep_its_locks_for_ever(postgres_url: str) -> None:
    """PostgreSQL takes them from a transaction that has been idle for `ABANDONED_S`."""
    stopped, database = Database(postgres_url), Database(postgres_url)
    async with AsyncExitStack() as block:
        db = await block.enter_async_context(stopped.write())
        await db.exec(update(User).values(username="held"))
        await asyncio.sleep(ABANDONED_S + 0.5)
        async with database.write() as other:
            await other.exec(update(User).values(username="free"))
        with pytest.raises(Unavailable):
            await block.aclose()
    async with database.read() as db:
        assert (await db.exec(select(User.username))).all() == ["free"]
    await stopped.close()
    await database.close()


async def test_a_database_without_tables_says_what_to_do(postgres: str, tmp_path: Path) -> None:
    await on_postgres(postgres, "CREATE DATABASE empty TEMPLATE template0")
    for url in (f"sqlite+aiosqlite:///{tmp_path}/empty.db", f"{postgres}/empty"):
        database = Database(url)
        for attempt in (database.read, database.write):
            with pytest.raises(Unavailable, match="alembic upgrade head") as caught:
                async with attempt() as db:
                    await db.exec(select(User))
            assert caught.value.code == "not_migrated"
        await database.close()


async def test_a_postgresql_that_is_away_is_unavailable() -> None:
    database = Database("postgresql+asyncpg://nobody@127.0.0.1:1/none")
    with pytest.raises(Unavailable):
        async with database.read() as db:
            await db.exec(select(User))
    await database.close()


async def test_sqlite_survives_a_power_cut_and_reads_cannot_write(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    async with database.write() as db:
        connection = await db.connection()
        for pragma, expected in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert (await connection.execute(text(f"PRAGMA {pragma}"))).scalar() == expected
    with pytest.raises(Unavailable):
        async with database.read() as db:
            await (await db.connection()).execute(text("DELETE FROM user"))
    await database.close()
