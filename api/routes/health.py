"""Whether the process lives, and whether it can do its work."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import APIRouter, Response
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from api.deps import Deps
from api.schemas.health import Health, Readiness
from api.state import Stores
from shared.errors import AppError
from shared.services import worker as workers
from shared.services.worker import Fleet

router = APIRouter(prefix="/health", tags=["health"])

T = TypeVar("T")

PATIENCE_S = 3.0
OLD_QUEUE_S = 60.0
SLOW_LOOP_MS = 500.0


@router.get("")
async def health(stores: Deps) -> Health:
    """The process answers, and says whether one has to sign in, and how large and long a voice note may be."""
    return _health(stores)


@router.get("/live")
async def live(stores: Deps) -> Health:
    """The process answers; restart it when it does not."""
    return _health(stores)


@router.get("/ready", responses={503: {"model": Readiness, "description": "A submit can't be accepted."}})
async def ready(stores: Deps, response: Response) -> Readiness:
    """200 while a submit can be accepted, `degraded` when something else is wrong; 503 otherwise."""
    fleet, blobs, redis, warnings = await asyncio.gather(
        _try(_fleet(stores)),
        _try(stores.blobs.check()),
        _try(stores.queue.redis.ping()),
        _try(stores.retirements.warnings()),
    )
    checks = {"sql": fleet is not None, "blobs": blobs is not None, "redis": redis is not None}
    reasons = [f"{name} is away" for name, well in checks.items() if not well]
    workers_alive, oldest = fleet[0] if fleet else Fleet(0, None)
    if fleet and not workers_alive:
        reasons.append("no live worker")
    if oldest and oldest > OLD_QUEUE_S:
        reasons.append("the oldest queued job is old")
    loop_lag_ms = stores.lag.worst_ms
    if loop_lag_ms > SLOW_LOOP_MS:
        reasons.append("the event loop is held up")
    if not (checks["sql"] and checks["blobs"]):
        response.status_code = 503
    status = "unready" if response.status_code == 503 else "degraded" if reasons else "ready"  # noqa: PLR2004
    return Readiness(
        status=status,
        reasons=reasons,
        workers=workers_alive if fleet else None,
        oldest_queued_s=oldest,
        loop_lag_ms=loop_lag_ms,
        checks=checks,
        warnings=warnings[0] if warnings else [],
    )


def _health(stores: Stores) -> Health:
    settings = stores.settings
    registration = "open" if settings.is_registration_open else "closed"
    return Health(
        version=settings.app_version,
        auth=settings.auth,
        registration=registration,
        max_upload_mb=settings.max_upload_mb,
        max_audio_s=settings.max_audio_s,
    )


async def _fleet(stores: Stores) -> Fleet:
    async with stores.database.read() as db:
        return await workers.fleet(db)


async def _try(check: Awaitable[T]) -> tuple[T] | None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return (await check,)
    except (AppError, RedisError, SQLAlchemyError, OSError, TimeoutError):
        return None
