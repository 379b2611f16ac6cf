"""Migrations on both databases: up and down over data, and in agreement with the models."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import TypeAdapter
from sqlalchemy import Connection, Index, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

from shared.models import LOCAL_USER_ID, Agent, Message, Session, Step, StepStatus, Username
from shared.sql.database import Database
from tests.conftest import ROOT, migrate
from tests.factories import make_job

NAMES = ("Ann", "BOB", "bob", "EVA\u0390", "\u00a0Carl ", "Stra\u1e9ee", "\ufdfa" * 100, "\u00a0")
"""Three of two people, three that are easily folded wrongly, and two that have no name to be folded to."""


async def on(url: str, look: Callable[[Connection], Any]) -> Any:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        found = await connection.run_sync(look)
    await engine.dispose()
    return found


@pytest.fixture
async def filled(database_url: str) -> str:
    """A database with a row in every table that has children or is one."""
    database = Database(database_url)
    async with database.write() as db:
        agent = Agent(owner_id=LOCAL_USER_ID, name="Guide", prompt="مرحبا")
        db.add(agent)
        await db.flush()
        session = Session(owner_id=LOCAL_USER_ID, agent_id=agent.id)
        db.add(session)
        await db.flush()
        job = await make_job(db, session, reply_audio=True)
        db.add(Step(job_id=job.id, name="reply", status=StepStatus.SUCCEEDED, attempt=1, started_at=job.created_at,
                    duration_ms=5))  # fmt: skip
    await database.close()
    return database_url


def rows(connection: Connection) -> dict[str, int]:
    tables = ("user", "agent", "session", "job", "message", "step")
    return {table: connection.execute(text(f'SELECT count(*) FROM "{table}"')).scalar_one() for table in tables}  # noqa: S608


async def test_a_step_down_and_up_again_loses_no_row(filled: str) -> None:
    before = await on(filled, rows)
    assert set(before.values()) == {1}
    await asyncio.to_thread(migrate, filled, "-1", down=True)
    assert await on(filled, rows) == before
    await asyncio.to_thread(migrate, filled)
    assert await on(filled, rows) == before
    database = Database(filled)
    async with database.read() as db:
        message = (await db.exec(SQLModel.metadata.tables["message"].select())).one()  # type: ignore[call-overload]
    await database.close()
    assert message.text == "Hello"


async def test_all_the_way_down_and_up(filled: str) -> None:
    await asyncio.to_thread(migrate, filled, "base", down=True)
    assert await on(filled, lambda c: inspect(c).get_table_names()) == ["alembic_version"]
    await asyncio.to_thread(migrate, filled)
    assert (await on(filled, rows))["user"] == 1


async def test_models_and_migrations_agree(database_url: str) -> None:
    def differences(connection: Connection) -> Any:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), SQLModel.metadata)

    assert await on(database_url, differences) == []


async def test_partial_indexes_have_the_predicates_of_the_models(database_url: str) -> None:
    def predicates(connection: Connection) -> dict[str, str]:
        return {
            str(index["name"]): str(index["dialect_options"].get(f"{connection.dialect.name}_where", ""))
            for table in SQLModel.metadata.tables
            for index in inspect(connection).get_indexes(table)
        }

    found = await on(database_url, predicates)
    declared = {
        str(index.name): words(str(index.dialect_options["sqlite"]["where"]))
        for table in SQLModel.metadata.tables.values()
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }
    assert len(declared) >= 4
    for index in [i for table in SQLModel.metadata.tables.values() for i in table.indexes]:
        assert same_on_both(index)
    for name, predicate in declared.items():
        assert words(found[name]) == predicate, name


def words(predicate: str) -> set[str]:
    """The columns and values of a predicate, whichever way a database spells it."""
    for noise in ("'", "(", ")", "::text", "::character varying", "[]", "ANY", "ARRAY", "[", "]", ","):
        predicate = predicate.replace(noise, " ")
    return set(predicate.split()) - {"=", "IN"}


def same_on_both(index: Index) -> bool:
    return str(index.dialect_options["sqlite"]["where"]) == str(index.dialect_options["postgresql"]["where"])


async def test_a_migration_that_would_orphan_rows_fails(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    await database.close()
    engine = create_async_engine(sqlite_url)
    async with engine.begin() as connection:
        await connection.execute(
            text("INSERT INTO message (id, owner_id, session_id, job_id, seq, role, kind, created_at, updated_at)"
                 " VALUES (:id, :id, :id, :id, 1, 'user', 'text', '2026-01-01', '2026-01-01')"),
            {"id": uuid4().hex},
        )  # fmt: skip
    await engine.dispose()
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "alembic", "-x", f"url={sqlite_url}", "downgrade", "-1"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode != 0
    assert "point nowhere" in ran.stderr
    assert Message.__tablename__ == "message"


async def test_names_are_folded_where_that_takes_nobody_elses(filled: str) -> None:
    await asyncio.to_thread(migrate, filled, "0004", down=True)

    def add(connection: Connection) -> None:
        for number, name in enumerate(NAMES):
            row_id = f"{number:032x}"
            insert = (
                'INSERT INTO "user" SELECT :id, created_at, updated_at, :name FROM "user" WHERE username = \'local\''
            )
            if connection.dialect.name == "postgresql":
                insert = insert.replace(":id", "CAST(:id AS uuid)")
            connection.execute(text(insert), {"id": row_id, "name": name})
        connection.commit()

    await on(filled, add)
    await asyncio.to_thread(migrate, filled)
    names = await on(filled, lambda c: set(c.execute(text('SELECT username FROM "user"')).scalars()))
    folded = {TypeAdapter(Username).validate_python(name) for name in NAMES[3:6]}
    assert names == {"local", "ann", "BOB", "bob", *folded, *NAMES[6:]}
