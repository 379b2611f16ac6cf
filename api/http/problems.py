"""Every error answer is RFC 9457 problem+json, made here from one table."""

from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Any

import structlog
from asgi_correlation_id import correlation_id
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Mount

from shared import errors

STATUS: dict[type[errors.AppError], HTTPStatus] = {
    errors.Malformed: HTTPStatus.BAD_REQUEST,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.PaymentRequired: HTTPStatus.PAYMENT_REQUIRED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.HeadTooLarge: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.Unsupported: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.RangeNotSatisfiable: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    errors.TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.StorageFull: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.Upstream: HTTPStatus.BAD_GATEWAY,
}
HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 400: "malformed", 413: "too_large"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MAX_FIELDS = 20  # that are wrong, in one answer
MAX_FIELD_NAME = 100
MAX_SHOWN = 200  # of a long address, in an answer

log = structlog.get_logger(__name__)


def problem(
    status: int,
    *,
    title: str,
    detail: str,
    code: str,
    instance: str,
    errors: list[dict[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """One problem+json answer."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": int(status),
        "detail": detail,
        "instance": instance,
        "code": code,
        "request_id": correlation_id.get(),
    }
    if errors:
        body["errors"] = errors
    return JSONResponse(body, status, headers=headers, media_type="application/problem+json")


def from_error(error: errors.AppError, instance: str) -> Response:
    """The answer to one of our own errors."""
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), HTTPStatus.INTERNAL_SERVER_ERROR)
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(ceil(error.retry_after))
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return problem(
        status,
        title=error.title,
        detail=error.detail,
        code=error.code,
        instance=instance,
        errors=error.errors,
        headers=headers | error.headers,
    )


async def _app_error(request: Request, error: errors.AppError) -> Response:
    if isinstance(error, errors.Unavailable):
        log.debug("request.unavailable", code=error.code, cause=type(error.__cause__).__name__)
    return from_error(error, request.url.path)


async def _validation(request: Request, error: RequestValidationError) -> Response:
    broken = next((e for e in error.errors() if e["type"] == "json_invalid"), None)
    if broken:
        why = f"The body is not JSON: {broken['ctx']['error']} at character {broken['loc'][-1]}."
        return from_error(errors.Malformed(why), request.url.path)
    return from_error(_wrong_fields([(_field(e["loc"]), e["msg"]) for e in error.errors()]), request.url.path)


def _field(location: tuple[int | str, ...]) -> str:
    where, *path = location
    return ".".join(map(str, path)) if path and where in {"body", "query", "path", "header"} else str(where)


def refused(error: ValidationError) -> errors.AppError:
    """What a body that we read by ourselves is answered with when it does not fit."""
    if any(e["type"] == "json_invalid" for e in error.errors()):
        return errors.Malformed("The body is not JSON.")
    return _wrong_fields([(".".join(map(str, e["loc"])) or "body", e["msg"]) for e in error.errors()])


def _wrong_fields(wrong: list[tuple[str, str]]) -> errors.Invalid:
    fields = [{"field": name[:MAX_FIELD_NAME], "message": message} for name, message in wrong[:MAX_FIELDS]]
    detail = f"{fields[0]['field']}: {fields[0]['message']}" if fields else "The request is not valid."
    return errors.Invalid(detail, errors=fields)


async def _http(request: Request, error: HTTPException) -> Response:
    phrase = HTTPStatus(error.status_code).phrase
    detail = str(error.detail or phrase)
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = _nothing_at(request)
    elif isinstance(error.__cause__, UnicodeDecodeError):
        detail = "The body is not UTF-8."
    return problem(
        error.status_code,
        title=phrase,
        detail=detail,
        code=HTTP_CODES.get(error.status_code, "http_error"),
        instance=request.url.path,
        headers=_allow(request) if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED else error.headers,
    )


def _nothing_at(request: Request) -> str:
    """What a 404 says; more, where slashes or capitals too many are all that is wrong."""
    nothing, path = "There is nothing at this address.", request.scope["path"]
    plain = "/" + "/".join(filter(None, path.split("/")))
    if len(path) > MAX_SHOWN:
        return nothing
    if plain != path and _methods(request, plain):
        return f"{nothing} Did you mean {plain}?"
    return f"{nothing} Addresses are in lower case." if _methods(request, plain.lower()) else nothing


def _allow(request: Request) -> dict[str, str]:
    return {"Allow": ", ".join(_methods(request, request.scope["path"]) or ("GET", "HEAD"))}  # files are only read


def _methods(request: Request, path: str) -> list[str]:
    """Every method of a path; Starlette names those of the first route that has it. HEAD is answered as GET."""
    routes = [route for route in request.app.routes if not isinstance(route, Mount)]
    asked = {method: {**request.scope, "path": path, "method": method.replace("HEAD", "GET")} for method in METHODS}
    return [m for m, scope in asked.items() if any(route.matches(scope)[0] is Match.FULL for route in routes)]


async def _disk(request: Request, error: OSError) -> Response:
    unavailable = errors.no_room(error)
    if unavailable is None:
        raise error
    return await _app_error(request, unavailable)


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("request.failed", path=request.url.path, exc_info=error)
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        title="Internal error",
        detail="Something went wrong on our side. The request id finds it in the log.",
        code="internal",
        instance=request.url.path,
        headers={"Connection": "close"},  # uvicorn closes it after an error like this
    )


async def _hung_up(_request: Request, _error: Exception) -> Response:
    return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody is there to read it


def install(app: FastAPI) -> None:
    """Make every error, FastAPI's own included, a problem."""
    app.add_exception_handler(errors.AppError, _app_error)  # type: ignore[arg-type]  # Starlette types Exception
    app.add_exception_handler(RequestValidationError, _validation)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http)  # type: ignore[arg-type]
    app.add_exception_handler(ClientDisconnect, _hung_up)
    app.add_exception_handler(OSError, _disk)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, _unexpected)
