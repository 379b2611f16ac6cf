"""The one shape of every list."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from pydantic import BaseModel, Field

T = TypeVar("T")


class PageOf(BaseModel, Generic[T]):
    """Items, and the cursor that gets the next ones; null at the end."""

    items: Sequence[T]
    next_cursor: str | None = Field(default=None, examples=[None])
