"""Waiting for a condition, never for a time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

PATIENCE_S = 60.0  # against hanging for ever; what the promise limits, a test asserts itself
POLL_S = 0.01


@overload
async def until(
    condition: Callable[[], Awaitable[T]], what: str, *, within: float = PATIENCE_S, every: float = POLL_S
) -> T: ...
@overload
async def until(condition: Callable[[], T], what: str, *, within: float = PATIENCE_S, every: float = POLL_S) -> T: ...
async def until(condition: Callable[[], Any], what: str, *, within: float = PATIENCE_S, every: float = POLL_S) -> Any:
    """The first truthy answer of `condition`, which may be a coroutine function; an AssertionError names `what`."""
    end = time.monotonic() + within
    while True:
        answer = condition()
        if found := (await answer if inspect.isawaitable(answer) else answer):
            return found
        assert time.monotonic() < end, f"not within {within:g} s: {what}"
        await asyncio.sleep(every)
