"""Rows by the hundred thousand: copies of real ones, made by the database itself in one statement a table."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import SQLModel

from shared.models import Job, Message, Session, Step, Usage, User

NUMBERS = {Session: 1, Job: 2, Message: 3, Step: 4, Usage: 5, User: 6}


@dataclass(frozen=True)
class Fill:
    """Copies rows of one database; a copy's id follows from its table and its number, whatever it is a copy of."""

    engine: AsyncEngine

    @property
    def is_sqlite(self) -> bool:
        """Whether ids are kept as text, without a UUID type."""
        return self.engine.dialect.name == "sqlite"

    def id_of(self, table: type[SQLModel], number: str) -> str:
        """SQL for the id of the copy with a number, which is SQL too."""
        if self.is_sqlite:
            return f"('01900000000070008{NUMBERS[table]:03}' || printf('%012x', {number}))"
        return f"('01900000-0000-7000-8{NUMBERS[table]:03}-' || lpad(to_hex(({number})::bigint), 12, '0'))::uuid"

    async def copy(self, table: type[SQLModel], like: str, numbers: range, /, **columns: str) -> None:
        """Insert a copy for each of `numbers` of the row `like` (SQL); `columns`, if it has them, are SQL of `n`."""
        name = str(table.__tablename__)
        changed = {"id": self.id_of(table, "n"), **columns}
        columns_ = [column.name for column in table.metadata.tables[name].columns]
        quoted = ", ".join(f'"{column}"' for column in columns_)
        values = ", ".join(changed.get(column, f'old."{column}"') for column in columns_)
        count = f"WITH count AS (SELECT generate_series({numbers[0]}, {numbers[-1]}) AS n)"
        if self.is_sqlite:
            more = f"SELECT n + 1 FROM count WHERE n < {numbers[-1]}"
            count = f"WITH RECURSIVE count(n) AS (SELECT {numbers[0]} UNION ALL {more})"
        old = f'(SELECT * FROM "{name}" WHERE {like}) AS old'
        await self.run(f'INSERT INTO "{name}" ({quoted}) {count} SELECT {values} FROM count, {old}')

    async def count(self, table: type[SQLModel]) -> int:
        """How many rows it has."""
        async with self.engine.connect() as connection:
            return int(await connection.scalar(text(f'SELECT count(*) FROM "{table.__tablename__}"')))

    async def run(self, *statements: str) -> None:
        """Each in a transaction of its own."""
        for statement in statements:
            async with self.engine.begin() as connection:
                await connection.execute(text(statement))

    def literal(self, row_id: str) -> str:
        """The id of a row, as SQL."""
        return f"'{row_id.replace('-', '')}'" if self.is_sqlite else f"'{row_id}'"


def copied_id(table: type[SQLModel], number: int) -> str:
    """The id of a copy, as clients write it."""
    return f"01900000-0000-7000-8{NUMBERS[table]:03}-{number:012x}"


async def more_sessions(database_url: str, session_id: str, number: int) -> list[str]:
    """Ids of so many copies of a new session."""
    fill = Fill(create_async_engine(database_url))
    await fill.copy(Session, f"id = {fill.literal(session_id)}", range(number))
    await fill.engine.dispose()
    return [copied_id(Session, one) for one in range(number)]
