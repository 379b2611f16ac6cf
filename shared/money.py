"""Money: exact decimals of US dollars, never floats."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer
from sqlalchemy import BigInteger, Dialect
from sqlalchemy.types import TypeDecorator

PLACES = 10  # behind the point: a tenth of the price of one token at $0.001 per million
UNIT = Decimal(1).scaleb(-PLACES)
ZERO = Decimal(0)
_PLAIN = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")
MOST = 100_000_000  # dollars: a hundred million fit with room into the 64 bits of both databases


class Money(TypeDecorator[Decimal]):
    """Dollars, kept as a whole number of `UNIT`s: SQLite has no decimals, and its numbers would be floats."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | int | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Raises ValueError for what would have to be rounded."""
        if value is None:
            return None
        units = Decimal(value).scaleb(PLACES)
        if units != units.to_integral_value():
            msg = f"{value} has more than {PLACES} decimal places"
            raise ValueError(msg)
        return int(units)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:  # noqa: ARG002
        """PostgreSQL's sums come as Decimal, SQLite's as int."""
        return None if value is None else Decimal(int(value)).scaleb(-PLACES)


def plain(amount: Decimal) -> str:
    """An amount as clients read it: digits only, no trailing zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


Dollars = Annotated[Decimal, PlainSerializer(plain, str, when_used="json")]
"""Dollars in an answer: a string, so that no reader makes a float of it."""


def _plainly(amount: Any) -> Any:
    """Python's decimals are read from much else: `true`, `1_000`, `1e3`, other scripts' digits, white space around."""
    if isinstance(amount, bool) or (isinstance(amount, str) and not _PLAIN.fullmatch(amount)):
        msg = 'must be an amount in plain digits, such as "12.50"'
        raise ValueError(msg)
    return amount


Amount = Annotated[Dollars, Field(ge=0, le=MOST, max_digits=20, decimal_places=PLACES), BeforeValidator(_plainly)]
"""Dollars that a client may name: a string of digits, or a number."""
