"""The pages: what a browser sees at `/`, and the two faces of the schema, all served from here."""

from functools import cache
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, FastAPI, Response
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles

DOCS_FILES = Path(fastapi_offline.__file__).parent / "static"
OUR_FILES = Path(__file__).parent / "static"
SCHEMA = "/api/v1/openapi.json"
FILES = "/static/docs"
FOREIGN_LOGO = "https://cdn.redoc.ly/redoc/logo-mini.svg"  # ReDoc fetches it for its own footer
OURS_ONLY = {
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
}

router = APIRouter(include_in_schema=False)
docs_router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> FileResponse:
    """The page."""
    return FileResponse(OUR_FILES / "index.html", headers=OURS_ONLY)


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
        app.mount(FILES, StaticFiles(directory=DOCS_FILES))
    app.mount("/static", StaticFiles(directory=OUR_FILES))
