"""Whether the process lives, and whether it can do its work."""

import asyncio

from fastapi import APIRouter, Response

from api.doors.v1.deps import Deps
from api.doors.v1.schemas.health import Health, Readiness
from api.usecases.resources import Resources
from shared.errors import Unavailable
from shared.services.worker import Fleet

router = APIRouter(prefix="/health", tags=["health"])

OLD_QUEUE_S = 60.0
SLOW_LOOP_MS = 500.0


@router.get("")
async def health(resources: Deps) -> Health:
    """The process answers, and says whether one has to sign in, and how large and long a voice note may be."""
    return _health(resources)


@router.get("/live")
async def live(resources: Deps) -> Health:
    """The process answers; restart it when it does not."""
    return _health(resources)


@router.get("/ready", responses={503: {"model": Readiness, "description": "A submit can't be accepted."}})
async def ready(resources: Deps, response: Response) -> Readiness:
    """200 while a submit can be accepted, `degraded` when something else is wrong; 503 otherwise."""
    probes = resources.readiness
    fleet, warnings, states = await asyncio.gather(probes.fleet.answer(), probes.warnings.answer(), probes.states())
    if isinstance(fleet, Unavailable):
        states["sql"] = states["sql"] or fleet.state
    checks = {name: state is None for name, state in states.items()}
    reasons = [f"{name} {'are' if name == 'blobs' else 'is'} {state}" for name, state in states.items() if state]
    workers_alive, oldest = Fleet(0, None) if isinstance(fleet, Unavailable) else fleet
    if not isinstance(fleet, Unavailable) and not workers_alive:
        reasons.append("no live worker")
    if oldest and oldest > OLD_QUEUE_S:
        reasons.append("the oldest queued job is old")
    loop_lag_ms = resources.lag.worst_ms
    if loop_lag_ms > SLOW_LOOP_MS:
        reasons.append("the event loop is held up")
    if not (checks["sql"] and checks["blobs"]):
        response.status_code = 503
    status = "unready" if response.status_code == 503 else "degraded" if reasons else "ready"  # noqa: PLR2004
    return Readiness(
        status=status,
        reasons=reasons,
        workers=None if isinstance(fleet, Unavailable) else workers_alive,
        oldest_queued_s=oldest,
        loop_lag_ms=loop_lag_ms,
        checks=checks,
        warnings=[] if isinstance(warnings, Unavailable) else warnings,
    )


def _health(resources: Resources) -> Health:
    settings = resources.settings
    registration = "open" if settings.is_registration_open else "closed"
    return Health(
        version=settings.app_version,
        auth=settings.auth,
        registration=registration,
        max_upload_mb=settings.max_upload_mb,
        max_audio_s=settings.max_audio_s,
    )
