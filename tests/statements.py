"""What goes to the database, by SQLAlchemy's own events."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, event


class Sent(NamedTuple):
    """A statement as the driver gets it."""

    sql: str
    parameters: Any


@dataclass
class Visit:
    """What went over a connection between taking it and giving it back; `commits` is 1 for a transaction."""

    connection: Connection  # kept, so that no later one is mistaken for it
    sent: list[Sent] = field(default_factory=list)
    commits: int = 0


class Visits(list[Visit]):
    """All of them, in order of their first statement."""

    def of(self, connection: Connection) -> Visit:
        for visit in self:
            if visit.connection is connection:
                return visit
        self.append(Visit(connection))
        return self[-1]

    @property
    def sent(self) -> list[Sent]:
        return [sent for visit in self for sent in visit.sent]

    @property
    def commits(self) -> int:
        return sum(visit.commits for visit in self)


@contextmanager
def recorded() -> Iterator[Visits]:
    """Every visit to every database while the block runs, without SQLite's BEGIN: elsewhere the driver sends it."""
    visits = Visits()

    def send(connection: Connection, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        if sql != "BEGIN IMMEDIATE":
            visits.of(connection).sent.append(Sent(sql, parameters))

    def commit(connection: Connection) -> None:
        visits.of(connection).commits += 1

    event.listen(Engine, "before_cursor_execute", send)
    event.listen(Engine, "commit", commit)
    try:
        yield visits
    finally:
        event.remove(Engine, "before_cursor_execute", send)
        event.remove(Engine, "commit", commit)
