"""What every table has, and the kinds of text that its fields hold."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, cast
from uuid import UUID

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticUndefined
from sqlalchemy import Enum, Table
from sqlmodel import Field, SQLModel
from uuid_utils.compat import uuid7

from shared.printable import CONTROL
from shared.sql.functions import UtcDateTime, db_now


class Row(SQLModel):
    """A UUID7 and two moments by the database's clock."""

    __mapper_args__ = {"eager_defaults": True}

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    created_at: datetime = Field(
        default=None, nullable=False, sa_type=UtcDateTime, sa_column_kwargs={"default": db_now()}
    )
    updated_at: datetime = Field(
        default=None, nullable=False, sa_type=UtcDateTime, sa_column_kwargs={"default": db_now(), "onupdate": db_now()}
    )


def stored(kind: type[StrEnum]) -> Enum:
    """Keep an enum as its own words in a plain VARCHAR: a new member needs no migration."""
    return Enum(kind, native_enum=False, length=20, values_callable=lambda members: [m.value for m in members])


def table(model: type[SQLModel]) -> Table:
    """A model's table, for the statements of every turn: built once and without the ORM, they cost a tenth."""
    return cast("Table", model.__table__)  # type: ignore[attr-defined]  # what `table=True` makes


def defaults(model: type[SQLModel]) -> dict[str, Any]:
    """What a new row has in those columns that nobody names."""
    fields = model.model_fields.items()
    return {name: field.default for name, field in fields if field.default not in {None, PydanticUndefined}}


def _storable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        msg = "must not hold half of a surrogate pair"  # JSON can, UTF-8 can't
        raise ValueError(msg) from None
    if "\x00" in text:
        msg = "must not hold the character U+0000"  # PostgreSQL can't store it
        raise ValueError(msg)
    return text


def _not_blank(text: str) -> str:
    if not any(char.isprintable() and not char.isspace() for char in text):
        msg = "must not be blank"
        raise ValueError(msg)
    return text


def _one_line(text: str) -> str:
    if not CONTROL.isdisjoint(text):
        msg = "must not hold control characters, line breaks or marks that turn the direction of writing"
        raise ValueError(msg)
    return text


Text = Annotated[str, AfterValidator(_storable)]
"""Any text that both databases can hold."""

Spoken = Annotated[Text, AfterValidator(_not_blank)]
"""Text that says something."""

OneLine = Annotated[Text, AfterValidator(_one_line)]
"""Text that is safe in a terminal and a list: nothing in it moves the cursor, or what stands around it."""

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1),
    AfterValidator(_storable),
    AfterValidator(_one_line),
    AfterValidator(_not_blank),
]
"""A name without space around it."""
