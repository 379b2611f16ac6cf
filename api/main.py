"""The application: its routes, and what it opens and closes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp, Lifespan

from api.auth.first_admin import make_first_admin
from api.auth.middleware import OPEN_PATHS, PREFIX, AuthMiddleware
from api.auth.open_requests import OpenRequests
from api.doors.v1.routes import (
    admin_job,
    admin_user,
    agent,
    api_key,
    auth,
    events,
    health,
    job,
    message,
    model,
    session,
    usage,
)
from api.doors.v1.schemas.problem import Problem
from api.http import pages, problems
from api.http.body_limit import BodyLimitMiddleware, UnreadBodyMiddleware
from api.http.header_limit import HeaderLimitMiddleware
from api.http.protocol import HeadMethodMiddleware
from api.http.security_headers import HeadersMiddleware, cors
from api.usecases.admission import Admission
from api.usecases.batching import JobReader, Submits, Uploads
from api.usecases.model_retirement import Retirements
from api.usecases.readiness import ReadinessCheck
from api.usecases.resources import Resources
from api.usecases.wait import look_again_forever
from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.errors import Unavailable
from shared.passwords import Passwords
from shared.process.cancellation import end
from shared.process.loop_lag import LoopLag
from shared.redis.queue import Queue, open_redis
from shared.redis.rate_limits import RateLimits
from shared.redis.wakes import JobWakes
from shared.services.cost_estimate import PriceBook
from shared.services.job.transitions import Budget
from shared.sql.database import Database
from shared.storage import Storage
from shared.user_limits import UserLimits

log = structlog.get_logger(__name__)

START_S = 5.0  # how long the start waits for SQL to have the first administrator
SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token, or an API key; not needed while `AUTH=off`.",
    },
    "password": {
        "type": "oauth2",
        "description": "Your name and password.",
        "flows": {"password": {"tokenUrl": f"{PREFIX}/auth/token", "scopes": {}}},
    },
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
}
DESCRIPTION = """Agents that people text or talk to: submit a text or a voice note, get a job back at once,
poll it, wait on it or follow it, and play the stored mp3 reply.

HEAD is answered wherever GET is. Times are RFC 3339 in UTC, ids are UUID7, languages are codes of ISO 639-1,
errors are `application/problem+json` (RFC 9457)."""


class _App(FastAPI):
    def __init__(self, settings: Settings, lifespan: Lifespan[FastAPI]) -> None:
        super().__init__(
            title="Parley",
            version=settings.app_version,
            description=DESCRIPTION,
            lifespan=lifespan,
            openapi_url=f"{PREFIX}/openapi.json" if settings.docs == "on" else None,
            docs_url=None,
            redoc_url=None,
            generate_unique_id_function=lambda route: route.name,
            redirect_slashes=False,  # one address each; a redirect would name the host that the client named
        )
        self._origins = settings.cors_origins

    def build_middleware_stack(self) -> ASGIApp:
        """Starlette answers a bug of ours outside of all added middleware: what every answer gets lies around that."""
        app = cors(super().build_middleware_stack(), self._origins)
        return HeadMethodMiddleware(HeadersMiddleware(app, other_origins=bool(self._origins)))


@asynccontextmanager
async def open_resources(
    settings: Settings, queue: Queue | None = None, audio: AudioPool | None = None
) -> AsyncIterator[Resources]:
    """Open what the settings name, but for what the caller shares with others and closes itself."""
    own_queue = queue or Queue(open_redis(settings.redis_url.get_secret_value() if settings.redis_url else None))
    database = Database(settings.embedded_database_url, own_queue.after_commit)
    events_ = JobWakes(own_queue.redis, own_queue.outage)
    own_audio = audio or AudioPool()
    lag = LoopLag()
    events_.start()
    lag.start()
    warming = asyncio.create_task(_warm(own_audio))
    discarding: set[asyncio.Task[None]] = set()
    limits = RateLimits(settings.redis_url.get_secret_value() if settings.redis_url else None)
    try:
        admission = Admission(settings.max_unfinished_jobs)
        budget = Budget(settings.max_attempts, settings.job_deadline, PriceBook.of(settings))
        retirements = Retirements(budget.tariff, database)
        blobs = Storage(settings.embedded_blob_url)
        readiness = ReadinessCheck(database, own_queue, blobs, retirements)
        resources = Resources(
            settings=settings,
            database=database,
            jobs=JobReader(database),
            submits=Submits(database, admission, budget),
            uploads=Uploads(database),
            queue=own_queue,
            events=events_,
            blobs=blobs,
            audio=own_audio,
            admission=admission,
            lag=lag,
            budget=budget,
            retirements=retirements,
            readiness=readiness,
            passwords=Passwords(),
            limits=limits,
            user_limits=UserLimits(limits),
            discarding=discarding,
        )
        looking = asyncio.create_task(look_again_forever(resources))
        warning = asyncio.gather(retirements.warnings(), return_exceptions=True)  # logged at the start, if SQL is there
        making = asyncio.create_task(make_first_admin(resources))
        marking = asyncio.create_task(readiness.stores["blobs"].answer())  # a new blob store gets its mark
        await asyncio.wait({making, marking}, timeout=START_S)
        try:
            yield resources
        finally:
            await end(looking, warning, making, marking)
            await readiness.close()
    finally:
        await asyncio.gather(*discarding, return_exceptions=True)
        await events_.close()
        await lag.close()
        warming.cancel()
        await asyncio.gather(warming, return_exceptions=True)
        if audio is None:
            await own_audio.close()
        await limits.close()
        await database.close()
        if queue is None:
            await own_queue.close()


async def _warm(audio: AudioPool) -> None:
    try:
        await audio.warm()
    except Unavailable as error:  # texts are taken all the same, and uploads told to come back
        log.warning("audio.not_started", why=str(error.__cause__ or error))


def create_app(settings: Settings, resources: Resources | None = None) -> FastAPI:
    """Build the application; it opens its own stores at start unless it is given some."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            opened = resources
            if opened is None:
                opened = await stack.enter_async_context(open_resources(settings))
            app.state.resources = opened
            app.state.open_requests = OpenRequests(opened.database, opened.events)
            checking = asyncio.create_task(app.state.open_requests.check_forever())
            stack.push_async_callback(end, checking)
            yield

    app = _App(settings, lifespan)
    problems.install(app)
    for module in (auth, api_key, agent, session, message, job, events, model, usage, admin_user, admin_job):
        app.include_router(module.router, prefix=PREFIX)
    app.include_router(auth.root)
    app.include_router(health.router)
    pages.install(app, docs=settings.docs == "on")
    app.add_middleware(BodyLimitMiddleware)
    app.add_middleware(AuthMiddleware)
    app.add_middleware(HeaderLimitMiddleware)
    app.add_middleware(UnreadBodyMiddleware)
    app.add_middleware(
        CorrelationIdMiddleware, validator=None, transformer=_safe_request_id, update_request_header=False
    )
    app.openapi = lambda: _schema(app)  # type: ignore[method-assign]  # FastAPI's own way to extend it
    return app


def _safe_request_id(request_id: str) -> str:
    """Accept a client's request id as far as it can be logged safely, and log it from here on."""
    safe = "".join(c for c in request_id[:100] if c.isascii() and (c.isalnum() or c in "-_."))
    return safe or "none"


def _schema(app: FastAPI) -> dict[str, object]:
    if not app.openapi_schema:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = schema.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schemas["Problem"].pop("$defs", {})
        components["securitySchemes"] = SECURITY
        for path, operations in schema["paths"].items():
            if path.startswith(PREFIX):  # where `AuthMiddleware` asks
                for operation in operations.values():
                    operation["security"] = [] if path in OPEN_PATHS else [{name: []} for name in SECURITY]
        _keep_to_3_1(schema)
        app.openapi_schema = schema
    return app.openapi_schema


def _keep_to_3_1(schema: dict[str, Any]) -> None:
    """FastAPI describes event streams with OpenAPI 3.2's `itemSchema` in a document that says 3.1."""
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    for answer in [answer for operation in operations for answer in operation["responses"].values()]:
        for content in answer.get("content", {}).values():
            if "itemSchema" in content:
                content["schema"] = content.pop("itemSchema")
