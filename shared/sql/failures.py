"""What a database driver's error means for the caller."""

from sqlite3 import Error as SqliteError
from ssl import CertificateError

from asyncpg import (
    ClientConfigurationError,
    DiskFullError,
    InsufficientPrivilegeError,
    InternalClientError,
    InvalidAuthorizationSpecificationError,
    InvalidCatalogNameError,
    InvalidPasswordError,
    LockNotAvailableError,
    PostgresError,
    QueryCanceledError,
    ReadOnlySQLTransactionError,
    UndefinedColumnError,
    UndefinedTableError,
)
from asyncpg import InterfaceError as ClientError
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.errors import StorageFull, Unavailable
from shared.process.outage import first_line
from shared.sql import sqlite

RETRY_S = 2.0
FAILURES = (DBAPIError, PoolTimeout, PostgresError, ClientError, InternalClientError, SqliteError, OSError)
"""What the driver raises; what it raises while it connects is not wrapped by SQLAlchemy."""
_BUSY = {"SQLITE_BUSY", "SQLITE_LOCKED", LockNotAvailableError.sqlstate, QueryCanceledError.sqlstate}
_FULL = {"SQLITE_FULL", DiskFullError.sqlstate}
_NOT_MIGRATED = {UndefinedTableError.sqlstate, UndefinedColumnError.sqlstate}
_STATES = {
    "SQLITE_READONLY": "read-only",
    ReadOnlySQLTransactionError.sqlstate: "read-only",
    "SQLITE_IOERR": "failing to read or write its file",
    "SQLITE_CANTOPEN": "a file that can't be opened",
    "SQLITE_NOTADB": "a file that is no database",
    "SQLITE_CORRUPT": "corrupt",
    InvalidPasswordError.sqlstate: "refusing the password",
    InvalidAuthorizationSpecificationError.sqlstate: "refusing the user",
    InvalidCatalogNameError.sqlstate: "without the database that is named",
    InsufficientPrivilegeError.sqlstate: "denying the user what Parley needs",
}
_LOST = "its file was {} while Parley runs: stop Parley, put the file back, and start it again"
_WHOLLY = {"away", "not migrated", *_STATES.values()} - {"read-only"}  # in others, reads may go on
_PASSING = {"read-only", "failing to read or write its file"}  # all others need somebody who mends them


def explained(error: BaseException) -> Unavailable | None:
    """What a failure of the store means; None for a mistake of ours, data that can't be stored, or a constraint."""
    cause = (error.orig if isinstance(error, DBAPIError) else None) or error
    why = first_line(cause)
    code = str(getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or "")
    family = "_".join(code.split("_")[:2])  # SQLite says more, such as SQLITE_READONLY_DBMOVED
    if family in _FULL:
        return StorageFull("The database has no room left.", retry_after=RETRY_S).because("full", why)
    if code in _NOT_MIGRATED or "no such " in str(cause):
        detail = "The database has not been migrated: alembic upgrade head."
        unavailable = Unavailable(detail, code="not_migrated", retry_after=RETRY_S)
        return unavailable.because("not migrated", f"{why}; run alembic upgrade head", is_lasting=True)
    if isinstance(error, sqlite.FileLostError):
        unavailable = Unavailable("The database is not the one that it was.", retry_after=RETRY_S)
        return unavailable.because(f"{error} while it is in use", _LOST.format(error))
    away = isinstance(error, InterfaceError | InternalError | OperationalError) or not isinstance(error, DBAPIError)
    state = _STATES.get(family)
    if not (away or state or (type(error) in {DBAPIError, DatabaseError} and not code.startswith("22"))):
        return None
    if isinstance(cause, TimeoutError):
        why = "it does not answer in time"
    is_lasting = state not in _PASSING if state else isinstance(cause, ClientConfigurationError | CertificateError)
    state = state or ("busy" if isinstance(error, PoolTimeout) or family in _BUSY else "away")
    return Unavailable("The database is away or too busy. Try again.", retry_after=RETRY_S).because(
        state, why, is_lasting=is_lasting
    )
