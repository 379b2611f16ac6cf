"""What the bodies of PATCH share."""

from typing import Any


def not_null(value: Any) -> Any:
    """Let a field be left out, but not be null."""
    if value is None:
        msg = "must not be null"
        raise ValueError(msg)
    return value
