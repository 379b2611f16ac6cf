"""Pages of a list, by keyset: as quick at the millionth row as at the first."""

import base64
import binascii
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import Uuid, literal, tuple_
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from shared.errors import Invalid
from shared.models.row import Row
from shared.sql.functions import UtcDateTime, off_the_loop

BATCH = 1_000  # ids in one statement: both databases take some 32,000 parameters

T = TypeVar("T", bound=Row)
V = TypeVar("V")


class PageRequest(NamedTuple):
    """What a client asks for: an opaque cursor from the page before, and how many rows."""

    cursor: str | None = None
    limit: int = 50


def encode_cursor(*parts: object) -> str:
    """Make the opaque cursor that starts after a row."""
    return base64.urlsafe_b64encode("|".join(map(str, parts)).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: Any) -> list[Any]:
    """Read a cursor of ours back, each part by its kind; raises Invalid for anything else."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        parts = text.split("|", len(kinds) - 1) if encode_cursor(text) == cursor else ()  # no base64 is passed over
        return [kind(part) for kind, part in zip(kinds, parts, strict=True)]
    except (ValueError, OverflowError, binascii.Error):
        detail = "The cursor is not one that this list gave out."
        raise Invalid(detail, errors=[{"field": "cursor", "message": detail}]) from None


async def newest_first(
    db: AsyncSession, statement: SelectOfScalar[T], model: type[T], page: PageRequest
) -> tuple[Sequence[T], str | None]:
    """One page of `statement`, newest first, and the cursor of the next."""
    await off_the_loop(db)  # a filter may find few among many
    key = tuple_(col(model.created_at), col(model.id))
    if page.cursor:
        created_at, row_id = decode_cursor(page.cursor, _moment, UUID)
        statement = statement.where(key < tuple_(literal(created_at, UtcDateTime()), literal(row_id, Uuid())))
    statement = statement.order_by(col(model.created_at).desc(), col(model.id).desc()).limit(page.limit + 1)
    rows = (await db.exec(statement)).all()
    if len(rows) <= page.limit:
        return rows, None
    last = rows[page.limit - 1]
    return rows[: page.limit], encode_cursor(last.created_at.isoformat(), last.id)


async def newest_ids_first(
    db: AsyncSession, statement: SelectOfScalar[T], model: type[T], page: PageRequest
) -> tuple[Sequence[T], str | None]:
    """`newest_first` by the id alone, which has the time in it: for lists of everybody's, which have no other index."""
    await off_the_loop(db)
    if page.cursor:
        (row_id,) = decode_cursor(page.cursor, UUID)
        statement = statement.where(col(model.id) < row_id)
    rows = (await db.exec(statement.order_by(col(model.id).desc()).limit(page.limit + 1))).all()
    return rows[: page.limit], encode_cursor(rows[page.limit - 1].id) if len(rows) > page.limit else None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment.astimezone(UTC)  # OverflowError at either end of the calendar


def padded(values: Sequence[V]) -> list[V]:
    """As many as a power of two, by repetition: few lengths are few statements to prepare."""
    full = 1 << (len(values) - 1).bit_length()
    return [*values, *[values[-1]] * (full - len(values))]


def batches(values: Sequence[V]) -> Iterator[Sequence[V]]:
    """Some at a time, as many as a statement takes."""
    for start in range(0, len(values), BATCH):
        yield values[start : start + BATCH]
