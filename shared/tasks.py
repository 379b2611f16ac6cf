"""Ending what runs beside the rest."""

import asyncio
from typing import Any

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
