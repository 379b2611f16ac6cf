"""Runs migrations on SQLite and PostgreSQL. The URL is the settings', or `-x url=…`.

All of them are one transaction, and one process migrates at a time: another waits, and then finds nothing to do.
"""

import shared.process.start_signals  # a signal ends it at once; what was not committed is rolled back

# isort: split
import asyncio
import sys
import time

from alembic import context
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

import shared.models  # noqa: F401 - fills the metadata
from shared.config import get_settings
from shared.process.start_checks import database_setting, refusal
from shared.sql.failures import FAILURES, explained
from shared.sql.url import DatabaseUrl, database_url

OURS = 0x7061726C6579  # the advisory lock; it spells "parley"
TURN_S = 600.0  # how long another migration is waited for
LOCK_S = 1.0  # how long a table is: everybody who needs it queues behind this
TRIES = 30
PAUSE_S = 1.0  # between two tries, in which the others go on
PATIENCE_S = 10.0  # for SQLite's lock, and to connect


def _migrate(connection: Connection) -> None:
    sqlite = connection.dialect.name == "sqlite"
    with connection.begin():
        if not sqlite:
            _take_turn(connection)
        context.configure(
            connection=connection,
            target_metadata=SQLModel.metadata,
            render_as_batch=sqlite,  # SQLite changes a table by rebuilding it
            compare_type=True,
        )
        _know_the_revision()
        context.run_migrations()
        if sqlite and (broken := connection.execute(text("PRAGMA foreign_key_check")).all()):
            msg = f"the migration left rows that point nowhere: {broken[:10]}"
            raise RuntimeError(msg)


def _take_turn(connection: Connection) -> None:
    """Wait until nobody else migrates. The lock ends with the transaction, so that a pooler does no harm."""
    until = time.monotonic() + TURN_S
    while not connection.execute(text(f"SELECT pg_try_advisory_xact_lock({OURS})")).scalar_one():
        if time.monotonic() > until:
            raise SystemExit(f"Another migration of this database has not ended in {TURN_S:g} s. See pg_stat_activity.")
        time.sleep(PAUSE_S)
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_S:g}s'"))


def _know_the_revision() -> None:
    known = {script.revision for script in context.script.walk_revisions()}
    if unknown := sorted(set(context.get_context().get_current_heads()) - known):
        raise SystemExit(
            f"The database was migrated to {unknown[0]} by a newer Parley; this one knows up to {max(known)}. "
            "Start the newer one, or restore a backup from before."
        )


def _engine(target: DatabaseUrl) -> AsyncEngine:
    is_sqlite = target.url.get_backend_name() == "sqlite"
    args = {"timeout": PATIENCE_S, **target.args}
    engine = create_async_engine(target.url, poolclass=NullPool, hide_parameters=True, connect_args=args)
    if is_sqlite:

        @event.listens_for(engine.sync_engine, "connect")
        def _connect(connection: object, _record: object) -> None:
            # with foreign keys on, rebuilding a table would delete its children
            connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[attr-defined]  # a DBAPI connection
            connection.execute("PRAGMA journal_mode=WAL")  # type: ignore[attr-defined]
            connection.isolation_level = None  # type: ignore[attr-defined]

        @event.listens_for(engine.sync_engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # so that a failed migration leaves nothing behind

    return engine


async def _run(target: DatabaseUrl) -> None:
    engine = _engine(target)
    try:
        for left in reversed(range(TRIES)):
            try:
                async with engine.connect() as connection:
                    await connection.run_sync(_migrate)
            except FAILURES as error:
                unavailable = explained(error)
                if unavailable is None or unavailable.state != "busy":
                    raise
                if not left:
                    raise SystemExit(
                        f"The migration did not get a lock in {TRIES} tries ({unavailable.why}), and changed nothing. "
                        "End what holds it, a long transaction perhaps, and try again."
                    ) from None
                print(f"Waiting for a lock: {unavailable.why}", file=sys.stderr, flush=True)  # noqa: T201 - for who waits
                await asyncio.sleep(PAUSE_S)
            else:
                return
    finally:
        await engine.dispose()


def _target() -> tuple[DatabaseUrl, str]:
    """What to migrate, and the setting that says so."""
    if given := context.get_x_argument(as_dictionary=True).get("url"):
        try:
            return database_url(given), "-x url"
        except ValueError as error:
            raise SystemExit(f"-x url: {error}") from None
    settings = get_settings()
    if not settings.database_url:
        settings.make_data_dir()
    return database_url(settings.embedded_database_url), database_setting(settings)


def main() -> None:
    """Migrate, or end with one line when the database can't be used."""
    target, setting = _target()
    try:
        asyncio.run(_run(target))
    except FAILURES as error:
        unavailable = explained(error)
        if unavailable is None or unavailable.state == "not migrated":
            raise  # a mistake in a migration
        raise SystemExit(refusal("database", target.where, unavailable, setting)) from None


main()
