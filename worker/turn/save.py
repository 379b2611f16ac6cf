"""Saving what was paid for, however long the database is away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.errors import Unavailable
from worker.state import Worker

T = TypeVar("T")

PAUSE_S = (0.25, 2.0)

log = structlog.get_logger(__name__)


async def save(worker: Worker, rule: Callable[[AsyncSession], Awaitable[T]]) -> T:
    """Commit `rule`, a fenced write; when SQL is away, again and again: only the fence says whether it is too late.

    Raises Unavailable when an earlier try was committed after all: the next attempt finds its rows.
    """
    pause_s = PAUSE_S[0]
    away = False
    while True:
        try:
            async with worker.database.write() as db:
                return await rule(db)
        except Unavailable as error:
            away = True
            log.warning("save.store_away", code=error.code)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_S[1])
        except IntegrityError as error:
            if not away:
                raise
            raise Unavailable("The database was away while this was saved.") from error
