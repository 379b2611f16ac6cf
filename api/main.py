"""The application: its routes and what lies around them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp, Lifespan

from api.auth.middleware import AuthMiddleware
from api.auth.open_requests import OpenRequests
from api.auth.public import V1, is_public
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
from api.opening import open_resources
from api.usecases.resources import Resources
from shared.config import Settings
from shared.process.cancellation import end

SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token, or an API key; not needed while `AUTH=off`.",
    },
    "password": {
        "type": "oauth2",
        "description": "Your name and password.",
        "flows": {"password": {"tokenUrl": f"{V1}/auth/token", "scopes": {}}},
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
            openapi_url=f"{V1}/openapi.json" if settings.docs == "on" else None,
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
        app.include_router(module.router, prefix=V1)
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
            for operation in operations.values():
                operation["security"] = [] if is_public(path) else [{name: []} for name in SECURITY]
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
