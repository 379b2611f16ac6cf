"""Ending what runs beside the rest, and seeing through what must not be cut off."""

import asyncio
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

AGAIN_S = 0.2


async def end(*tasks: "asyncio.Task[Any] | asyncio.Future[Any]") -> None:
    """Cancel tasks until they have ended, whatever they end with.

    One cancel is not enough: a task that is cancelled just before it enters a timeout that has run out (redis-py
    looks at a connection with a timeout of 0) takes the cancel for the timeout, and goes on.
    """
    waiting = {task for task in tasks if not task.done()}
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=AGAIN_S)


async def finish(task: "asyncio.Task[T]") -> T:
    """Wait until a task has ended, however often who waits is cancelled meanwhile; its result, or what it raised."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    return task.result()
