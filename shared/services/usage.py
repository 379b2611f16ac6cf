"""The rules of usage: what a user's steps came to, added up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, literal, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.models import Usage, table
from shared.money import ZERO
from shared.services.page import PageRequest, decode_cursor, encode_cursor
from shared.sql.functions import off_the_loop, utc_day

_usage = table(Usage)
_SUMS = (
    func.count(_usage.c.job_id.distinct()),
    func.coalesce(func.sum(_usage.c.input_tokens), 0),
    func.coalesce(func.sum(_usage.c.output_tokens), 0),
    func.coalesce(func.sum(_usage.c.audio_s), 0.0),
    func.coalesce(func.sum(_usage.c.characters), 0),
    func.sum(_usage.c.cost),
)


def _text(text: str) -> str:
    if "\x00" in text:
        raise ValueError(text)  # PostgreSQL knows no such character
    return text


class UsageBy(StrEnum):
    """What usage is added up by."""

    DAY = "day"
    MODEL = "model"
    AGENT = "agent"
    SESSION = "session"


_KEYS: dict[UsageBy, tuple[ColumnElement[Any], Callable[[str], Any]]] = {
    UsageBy.DAY: (utc_day(_usage.c.created_at), _text),
    UsageBy.MODEL: (_usage.c.provider + literal("/") + _usage.c.model, _text),
    UsageBy.AGENT: (_usage.c.agent_id, UUID),
    UsageBy.SESSION: (_usage.c.session_id, UUID),
}


@dataclass(frozen=True)
class Sums:
    """What some steps came to: jobs, tokens, seconds of sound heard or spoken, characters spoken, dollars."""

    jobs: int
    input_tokens: int
    output_tokens: int
    audio_s: float
    characters: int
    cost: Decimal


async def totals(
    db: AsyncSession, *, owner_id: UUID, by: UsageBy, first: date | None, last: date | None, page: PageRequest
) -> tuple[list[tuple[Any, Sums]], str | None]:
    """One page of a user's usage between two days of UTC, both included, each key once, the latest first."""
    await off_the_loop(db)
    key, kind = _KEYS[by]
    statement = select(key, *_SUMS).where(*_of(owner_id, first, last), key.is_not(None)).group_by(key)
    if page.cursor:
        (after,) = decode_cursor(page.cursor, kind)
        statement = statement.where(key < after)
    statement = statement.order_by(key.desc()).limit(page.limit + 1)
    rows: Sequence[Any] = (await db.exec(statement)).all()  # type: ignore[call-overload]  # no model
    items = [(row[0], _sums(row[1:])) for row in rows[: page.limit]]
    return items, encode_cursor(items[-1][0]) if len(rows) > page.limit else None


async def total(db: AsyncSession, *, owner_id: UUID, first: date | None, last: date | None) -> Sums:
    """All of a user's usage between two days."""
    await off_the_loop(db)
    return _sums((await db.exec(select(*_SUMS).where(*_of(owner_id, first, last)))).one())  # type: ignore[call-overload]


def _sums(row: Sequence[Any]) -> Sums:
    jobs, input_tokens, output_tokens, audio_s, characters, cost = row
    return Sums(jobs, input_tokens, output_tokens, audio_s, characters, cost or ZERO)


def _of(owner_id: UUID, first: date | None, last: date | None) -> list[ColumnElement[bool]]:
    which: list[ColumnElement[bool]] = [_usage.c.owner_id == owner_id]
    if first:
        which.append(_usage.c.created_at >= _midnight(first))
    if last and last < date.max:
        which.append(_usage.c.created_at < _midnight(last) + timedelta(days=1))
    return which


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
