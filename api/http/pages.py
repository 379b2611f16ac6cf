"""The pages: what a browser sees at `/`, and the two faces of the schema, all served from here."""

import os
from functools import cache
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Scope

DOCS_FILES = Path(fastapi_offline.__file__).parent / "static"
OUR_FILES = Path(__file__).parent.parent / "static"
SCHEMA = "/api/v1/openapi.json"
FILES = "/static/docs"
FOREIGN_LOGO = "https://cdn.redoc.ly/redoc/logo-mini.svg"  # ReDoc fetches it for its own footer
OURS_ONLY = {
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
}
# The style sheet that wavesurfer.js writes into its shadow root, for waves of the height in static/wave.js.
WAVE_STYLE = "sha256-U+wOyz6RyxfmjgGP/zCgeX2UqDaDGqr0JM2ok4ksXpY="
PAGE_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; script-src 'self'; style-src 'self' '{WAVE_STYLE}'; "
    "img-src 'self' data:; connect-src 'self'; media-src 'self' blob:; font-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}
# What a machine's own tables of media types say is not asked: Windows' may take a script for plain text.
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

router = APIRouter(include_in_schema=False)
docs_router = APIRouter(include_in_schema=False)


class ReleasedFiles(StaticFiles):
    """Files that change with a release and keep their names: a browser asks each time whether it has the newest."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """The file, or 304."""
        answer = super().file_response(full_path, stat_result, scope, status_code)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


class OurFiles(ReleasedFiles):
    """The page's own."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """The file, or 304; with its own type."""
        answer = super().file_response(full_path, stat_result, scope, status_code)
        if answer.status_code == status_code:
            answer.headers["Content-Type"] = TYPES.get(Path(full_path).suffix, "text/plain; charset=utf-8")
        return answer


ours = OurFiles(directory=OUR_FILES)


@router.get("/")
async def page(request: Request) -> Response:
    """The page."""
    answer = await ours.get_response("index.html", request.scope)
    answer.headers.update(PAGE_HEADERS)
    return answer


@docs_router.get("/api/v1/docs")
async def docs() -> HTMLResponse:
    """Swagger UI."""
    answer = get_swagger_ui_html(
        openapi_url=SCHEMA,
        title="Parley: docs",
        swagger_js_url=f"{FILES}/swagger-ui-bundle.js",
        swagger_css_url=f"{FILES}/swagger-ui.css",
        swagger_favicon_url="/static/favicon.svg",
        swagger_ui_parameters={"validatorUrl": None},  # it would send the schema's address to swagger.io
    )
    answer.headers.update(OURS_ONLY)
    return answer


@docs_router.get("/api/v1/redoc")
async def redoc() -> HTMLResponse:
    """ReDoc."""
    answer = get_redoc_html(
        openapi_url=SCHEMA,
        title="Parley: reference",
        redoc_js_url=f"{FILES}/redoc.standalone.js",
        redoc_favicon_url="/static/favicon.svg",
        with_google_fonts=False,
    )
    answer.headers.update(OURS_ONLY)
    return answer


@docs_router.get(f"{FILES}/redoc.standalone.js")
async def redoc_script() -> Response:
    """ReDoc, with our logo for the one it would fetch elsewhere."""
    return Response(_redoc_script(), media_type="text/javascript")


@cache
def _redoc_script() -> str:
    return (DOCS_FILES / "redoc.standalone.js").read_text().replace(FOREIGN_LOGO, "/static/favicon.svg")


def install(app: FastAPI, *, docs: bool) -> None:
    """Add the pages and their files; without `docs` no more than the first."""
    app.include_router(router)
    if docs:
        app.include_router(docs_router)
        app.mount(FILES, ReleasedFiles(directory=DOCS_FILES))
    app.mount("/static", GZipMiddleware(ours))
