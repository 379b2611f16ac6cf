"""Numbers, flags and moments as they are documented, and in no other spelling that Python would read."""

import re
from datetime import date
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _whole(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,18}", value):
        msg = "must be a whole number in digits 0 to 9"
        raise ValueError(msg)
    return value


def _flag(value: Any) -> Any:
    if isinstance(value, str) and value.lower() not in {"true", "false", "1", "0"}:
        msg = "must be true or false"
        raise ValueError(msg)
    return value


def _yes_or_no(value: Any) -> Any:
    if not isinstance(value, bool) and value not in ("true", "false"):
        msg = "must be true or false"
        raise ValueError(msg)
    return value


def _day(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        msg = "must be a day such as 2026-11-20"
        raise ValueError(msg)
    return value


def _moment(value: Any) -> Any:
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        msg = "must be a moment with its offset, such as 2026-11-20T09:00:00Z"
        raise ValueError(msg)
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
"""A number in a query."""

Flag = Annotated[bool, BeforeValidator(_flag)]
"""Yes or no in a query or a form."""

YesOrNo = Annotated[bool, BeforeValidator(_yes_or_no)]
"""Yes or no in JSON."""

Day = Annotated[date, BeforeValidator(_day)]

Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
"""RFC 3339."""
