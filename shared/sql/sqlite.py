"""aiosqlite for short statements: they run on the event loop, and only what may take long goes to its thread.

A statement that finds its rows by an index takes some 20 µs, the way to a thread and back three times that; and a
transaction that waits for the loop between its statements holds SQLite's one write lock meanwhile. Overrides private
names of aiosqlite: it is pinned.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import aiosqlite


class FileLostError(OSError):
    """The database's file was deleted or replaced: a process goes on in the old one, and what it writes is lost."""


class File:
    """The database's file, to be the same one as long as the process runs."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None

    def check(self) -> None:
        """Raises FileLostError when it is another one than at first."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - before each write: a Path costs more than the call
        except (FileNotFoundError, NotADirectoryError):
            identity = None
        else:
            identity = (found.st_dev, found.st_ino)
        if self._identity is None:
            self._identity = identity
        elif identity != self._identity:
            raise FileLostError("replaced" if identity else "deleted")


def connect(database: str, *, timeout: float, **options: Any) -> aiosqlite.Connection:
    """What aiosqlite's `connect` does, for SQLAlchemy's `async_creator_fn`. `timeout` is for locks, in seconds."""
    options |= {"timeout": 0, "check_same_thread": False}
    return Connection(partial(sqlite3.connect, database, **options), timeout)


class Connection(aiosqlite.Connection):
    """A connection whose statements run on the event loop unless they are `long`; a commit never does."""

    def __init__(self, connector: Callable[[], sqlite3.Connection], lock_timeout: float) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._thread.daemon = True  # as SQLAlchemy has it: it never keeps a process alive
        self._lock_timeout_ms = round(lock_timeout * 1_000)
        self.long = False

    def cursor(self) -> "_Cursor":  # type: ignore[override]  # SQLAlchemy needs no more of it
        """One that fetches all rows at once."""
        return _Cursor(self)

    async def run(self, function: Callable[..., None], *args: Any) -> None:
        """Run a statement; when another process has the lock it is waited for in the thread."""
        if not self.long:
            try:
                function(*args)
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorname", None) not in {"SQLITE_BUSY", "SQLITE_BUSY_RECOVERY"}:
                    raise  # what Python's own module finds wrong has no such name
            else:
                return
        await self._execute(self._patiently, function, *args)  # type: ignore[no-untyped-call]

    async def rollback(self) -> None:
        """Forget the transaction, if there is one: nothing is written."""
        self._conn.rollback()

    async def commit(self) -> None:
        """Write the transaction, if there is one."""
        if self._conn.in_transaction:
            await super().commit()

    async def rewrite(self) -> None:
        """Write a page of the database as it is, and commit it."""
        await self._execute(self._patiently, self._rewrite)  # type: ignore[no-untyped-call]

    def _rewrite(self) -> None:
        self._conn.execute("BEGIN IMMEDIATE")
        try:
            number = self._conn.execute("PRAGMA user_version").fetchone()[0]
            self._conn.execute(f"PRAGMA user_version = {number}")
            self._conn.commit()
        except sqlite3.Error:
            self._conn.rollback()
            raise

    def _patiently(self, function: Callable[..., None], *args: Any) -> None:
        self._conn.execute(f"PRAGMA busy_timeout={self._lock_timeout_ms}")
        try:
            function(*args)
        finally:
            self._conn.execute("PRAGMA busy_timeout=0")


class _Cursor:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        await self._connection.run(self._run, self._connection._conn.execute, sql, parameters)  # noqa: SLF001

    async def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        await self._connection.run(self._run, self._connection._conn.executemany, sql, parameters)  # noqa: SLF001

    async def fetchall(self) -> list[Any]:
        return self._rows

    async def close(self) -> None:
        self._rows = []

    def _run(self, how: Callable[..., sqlite3.Cursor], sql: str, parameters: Any) -> None:
        done = how(sql, parameters)
        self.description = done.description
        self._rows = done.fetchall() if done.description else []
        self.rowcount, self.lastrowid = done.rowcount, done.lastrowid
