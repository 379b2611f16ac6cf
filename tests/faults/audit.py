"""What the database itself saw: triggers note every write in an append-only table, whoever made it."""

from tests.faults.history import Write
from tests.faults.sql import Sql

COLUMNS = {
    "job": {"job_id": "id", "session_id": "session_id", "status": "status", "attempt": "attempt",
            "attempts_left": "attempts_left", "seq": "seq"},
    "step": {"job_id": "job_id", "name": "name", "status": "status", "attempt": "attempt"},
    "message": {"job_id": "job_id", "session_id": "session_id", "name": "role", "seq": "seq"},
    "usage": {"job_id": "job_id", "session_id": "session_id", "name": "step"},
    "blob": {"session_id": "session_id", "name": "purpose", "status": "status"},
    "session": {"session_id": "id"},
}  # fmt: skip
"""For each table what is noted of a row, under one set of names."""

_OPERATIONS = {"session": ("DELETE",)}  # its updates are locks, nothing more
NOW = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "extract(epoch FROM clock_timestamp())",
}
_TABLE = """
CREATE TABLE audit (
    number {serial}, at DOUBLE PRECISION NOT NULL, "table" TEXT NOT NULL, operation TEXT NOT NULL, row_id TEXT NOT NULL,
    job_id TEXT, session_id TEXT, name TEXT, status TEXT, attempt INTEGER, attempts_left INTEGER, seq INTEGER
)"""
_SERIAL = {"sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT", "postgresql": "BIGSERIAL PRIMARY KEY"}
_READ = """
SELECT * FROM audit
WHERE number > :after AND (:table = '' OR "table" = :table) AND (:job_id = '' OR job_id = :job_id)
ORDER BY number"""


async def install(sql: Sql) -> None:
    """Begin to note what is written to a migrated database."""
    dialect = "sqlite" if sql.is_sqlite else "postgresql"
    await sql.execute(_TABLE.format(serial=_SERIAL[dialect]))
    for table in COLUMNS:
        for operation in _OPERATIONS.get(table, ("INSERT", "UPDATE", "DELETE")):
            await sql.execute(*_trigger(dialect, table, operation))
    if not sql.is_sqlite:
        await sql.execute("CREATE INDEX ix_audit_job ON audit (job_id)")


async def read(sql: Sql, *, after: int = 0, table: str = "", job_id: str = "") -> list[Write]:
    """The writes that were committed, oldest first."""
    return [Write(**row) for row in await sql.rows(_READ, after=after, table=table, job_id=job_id)]


def _trigger(dialect: str, table: str, operation: str) -> list[str]:
    row = "OLD" if operation == "DELETE" else "NEW"
    name = f"audit_{table}_{operation.lower()}"
    columns = COLUMNS[table]
    noted = [_uuid(dialect, f"{row}.id")]
    noted += [
        _uuid(dialect, f"{row}.{column}") if column.endswith("id") else f"{row}.{column}" for column in columns.values()
    ]
    insert = f"""
        INSERT INTO audit (at, "table", operation, row_id, {", ".join(columns)})
        VALUES ({NOW[dialect]}, '{table}', '{operation.lower()}', {", ".join(noted)});"""  # noqa: S608 - names of ours
    when = _only_swept(table) if operation == "UPDATE" else ""
    if dialect == "sqlite":
        return [f'CREATE TRIGGER {name} AFTER {operation} ON "{table}" FOR EACH ROW {when} BEGIN {insert} END']
    return [
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {insert} RETURN NULL; END $$",
        f'CREATE TRIGGER {name} AFTER {operation} ON "{table}" FOR EACH ROW {when} EXECUTE FUNCTION {name}()',
    ]


def _only_swept(table: str) -> str:
    """Leave out the database's own SET NULL when a swept blob's row goes: nobody wrote that."""
    return "WHEN (NOT (OLD.blob_id IS NOT NULL AND NEW.blob_id IS NULL))" if table in {"step", "message"} else ""


def _uuid(dialect: str, column: str) -> str:
    """Spell an id as a client sees it; SQLite stores 32 hex digits."""
    if dialect == "postgresql":
        return f"{column}::text"
    parts = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
    return "||'-'||".join(f"substr({column},{start},{length})" for start, length in parts)
