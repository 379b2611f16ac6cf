"""What went wrong at a model server, told as one `Upstream`: a stable code, whether to try again, a safe sentence.

Nothing that the server said is passed on: OpenAI's own 401 repeats part of the key.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import aiohttp
import httpx2
import openai

from shared.errors import Upstream, no_room
from worker.providers.received import TooMuchError


class StreamError(ValueError):
    """An error inside a stream, of a shape that the SDK takes for a chunk: watsonx.ai's `{"errors": […]}`."""

    def __init__(self, body: Mapping[str, object]) -> None:
        super().__init__("the stream holds an error")
        self.body = body


class Kind(NamedTuple):
    """One way to fail; `sentence` is filled with the provider's and the model's names."""

    code: str
    transient: bool
    sentence: str


class Told(Exception):
    """What a server said on a wire that has no status for it."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind.code)
        self.kind = kind


# Garbage surfaces as ValueError (JSON, UTF-8, header values) or RuntimeError (nesting, a stream read too late).
FAULTS = (
    openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, aiohttp.ClientError, OSError, ValueError, RuntimeError,
    Told,
)  # fmt: skip

FAILED = Kind("upstream_error", True, "The model server {provider!r} failed.")
GARBLED = Kind("upstream_error", True, "The model server {provider!r} sent an answer that can't be used.")
TOO_MUCH = Kind("upstream_error", True, "The model server {provider!r} sent more than an answer can hold.")
TRANSCRIPT_TOO_LONG = Kind(
    "transcript_too_long", False, "The model {model!r} sent a transcript that is longer than a voice note can be."
)
BROKEN_OFF = Kind("upstream_error", True, "The model server {provider!r} broke off its answer.")
UNREACHABLE = Kind("upstream_unreachable", True, "The model server {provider!r} can't be reached.")
TIMED_OUT = Kind("upstream_timeout", True, "The model server {provider!r} took too long to answer.")
RATE_LIMITED = Kind("rate_limited", True, "The model server {provider!r} is limiting requests.")
NO_QUOTA = Kind("insufficient_quota", False, "The account at {provider!r} has no quota left.")
UNAUTHORIZED = Kind("upstream_unauthorized", False, "The model server {provider!r} refused the key it was given.")
NO_MODEL = Kind("model_not_found", False, "The model server {provider!r} has no model {model!r}.")
NOT_THERE = Kind(
    NO_MODEL.code, False, "The model server {provider!r} has no model {model!r}, or its base URL is wrong."
)
MOVED = Kind("upstream_rejected", False, "The model server {provider!r} sends us elsewhere: its base URL is wrong.")
REJECTED = Kind("upstream_rejected", False, "The model server {provider!r} rejected the request.")
TOO_LONG = Kind("upstream_rejected", False, "The conversation is longer than the model {model!r} can read.")
FILTERED = Kind("upstream_rejected", False, "The content policy of {provider!r} refused the request.")
EMPTY_REPLY = Kind("empty_reply", True, "The model {model!r} gave an empty reply.")
NO_ANSWER = Kind("no_answer", True, "The model {model!r} only reasoned and gave no answer.")
OUTPUT_LIMIT = Kind(
    "output_limit_reached", False, "The model {model!r} reached its output limit before its answer began."
)
WITHHELD = Kind("content_filter", False, "The content policy of {provider!r} withheld the reply.")
THOUGHT_ALOUD = Kind("upstream_error", True, "The model {model!r} thought aloud before it answered.")
FINAL = {OUTPUT_LIMIT.code, WITHHELD.code}  # the model has answered, and is paid: asked again it does the same
RETRIED_ONCE = {EMPTY_REPLY.code, NO_ANSWER.code}  # a paid answer too, but the next one may differ

_BY_CODE = {
    "insufficient_quota": NO_QUOTA,
    "billing_hard_limit_reached": NO_QUOTA,
    "billing_not_active": NO_QUOTA,
    "rate_limit_exceeded": RATE_LIMITED,
    "model_not_found": NO_MODEL,
    "model_deprecated": NO_MODEL,
    "model_decommissioned": NO_MODEL,
    "DeploymentNotFound": NO_MODEL,
    "invalid_api_key": UNAUTHORIZED,
    "context_length_exceeded": TOO_LONG,
    "content_filter": FILTERED,
    "content_policy_violation": FILTERED,
    "ResponsibleAIPolicyViolation": FILTERED,  # Azure
    "data_inspection_failed": FILTERED,  # Alibaba
    "1301": FILTERED,  # Zhipu
    # watsonx.ai's
    "token_quota_reached": NO_QUOTA,
    "consumption_limit_reached": RATE_LIMITED,  # too many share the model just now
    "rate_limit_reached_requests": RATE_LIMITED,
    "model_not_supported": NO_MODEL,
    "model_no_support_for_function": NO_MODEL,
    "authentication_token_expired": UNAUTHORIZED,
    "authentication_token_not_valid": UNAUTHORIZED,
}
_BY_STATUS = {
    401: UNAUTHORIZED,
    402: NO_QUOTA,
    403: UNAUTHORIZED,
    404: NOT_THERE,
    405: NOT_THERE,  # what an endpoint that was shut down may say
    408: TIMED_OUT,
    409: FAILED,
    410: NO_MODEL,
    425: FAILED,
    429: RATE_LIMITED,
}
# OpenAI's own `type`, where the `code` is none of the above and there is no status.
_BY_ERROR_TYPE = {"invalid_request_error": REJECTED, "authentication_error": UNAUTHORIZED}
_BY_TYPE: tuple[tuple[tuple[type[BaseException], ...], Kind], ...] = (
    ((TooMuchError,), TOO_MUCH),
    ((aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError), UNREACHABLE),
    ((aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, httpx2.ProxyError, httpx2.UnsupportedProtocol), UNREACHABLE),
    ((httpx2.TimeoutException, TimeoutError), TIMED_OUT),
    ((aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, httpx2.TransportError, OSError), BROKEN_OFF),
)


@contextmanager
def told_as_upstream(provider: str, model: str) -> Iterator[None]:
    """Let nothing but `Upstream` out of a call to a model server."""
    try:
        yield
    except FAULTS as error:
        if unavailable := no_room(error):
            raise unavailable from error
        # The cause may hold a key: it is cut off, so that no log prints it.
        raise classify(error, provider=provider, model=model) from None


def failure(kind: Kind, *, provider: str, model: str, retry_after: float | None = None) -> Upstream:
    """The `Upstream` of this kind, about this provider and model."""
    detail = kind.sentence.format(provider=provider, model=model)
    return Upstream(detail, code=kind.code, transient=kind.transient, retry_after=retry_after)


def classify(error: BaseException, *, provider: str, model: str) -> Upstream:
    """Tell what an exception of the SDK, of its HTTP client or of our own reading means."""
    kind = _kind_of(error)
    _, headers = _response_of(error)
    after = retry_after_s(headers) if kind.transient else None
    return failure(kind, provider=provider, model=model, retry_after=after)


def kind_told(error: Mapping[object, object]) -> Kind:
    """What an error object means that came with no status."""
    code, type_ = error.get("code"), error.get("type")
    return named_kind(code, type_) or (_BY_ERROR_TYPE.get(type_, FAILED) if isinstance(type_, str) else FAILED)


def _kind_of(error: BaseException) -> Kind:
    if isinstance(error, Told):
        return error.kind
    if isinstance(error, StreamError):
        status = error.body.get("status_code")
        return _listed_kind(error.body) or _status_kind(status if type(status) is int else 500)
    status, _ = _response_of(error)
    if status is not None:
        return _named_kind(error) or _listed_kind(getattr(error, "body", None)) or _status_kind(status)
    if isinstance(error, openai.APIConnectionError | httpx2.HTTPError) and error.__cause__:
        return _kind_of(error.__cause__)  # what the transport met
    if isinstance(error, openai.APIError):  # an error object inside a stream that had begun with 200
        code = error.code if error.code and error.code.isdecimal() else "500"
        return _named_kind(error) or _status_kind(int(code))
    return next((kind for types, kind in _BY_TYPE if isinstance(error, types)), GARBLED)


def _response_of(error: BaseException) -> tuple[int | None, Mapping[str, str]]:
    """The status and the headers with which a server refused."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code, error.response.headers
    if isinstance(error, aiohttp.WSServerHandshakeError):  # its base is raised for what is no HTTP, too
        return error.status, error.headers or {}
    return None, {}


def named_kind(*names: object) -> Kind | None:
    """OpenAI names some failures in `code`, its imitators in `type`."""
    return next((_BY_CODE[name] for name in names if isinstance(name, str) and name in _BY_CODE), None)


def _named_kind(error: BaseException) -> Kind | None:
    if not isinstance(error, openai.APIError):
        return None
    inner = error.body.get("innererror") if isinstance(error.body, Mapping) else None  # Azure
    return named_kind(error.code, error.type, inner.get("code") if isinstance(inner, Mapping) else None)


def _listed_kind(body: object) -> Kind | None:
    """watsonx.ai has a list of errors, each with a `code`."""
    errors = body.get("errors") if isinstance(body, Mapping) else None
    codes = [one.get("code") for one in errors if isinstance(one, dict)] if isinstance(errors, list) else []
    return next((_BY_CODE[code] for code in codes if isinstance(code, str) and code in _BY_CODE), None)


def names_its_kind(error: openai.APIError) -> bool:
    """Whether an error's own code says what went wrong."""
    return (_named_kind(error) or _listed_kind(error.body)) is not None


def _status_kind(status: int) -> Kind:
    return _BY_STATUS.get(status) or {3: MOVED, 4: REJECTED}.get(status // 100, FAILED)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read `Retry-After-Ms`, or `Retry-After` in seconds or as a date; None when absent or nonsense."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1_000
    told = headers.get("retry-after")
    if (seconds := _number(told)) is not None:
        return seconds
    until = _date(told)
    if until is None:
        return None
    # The server's own clock, where it tells it: ours may be wrong.
    now = _date(headers.get("date")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _date(text: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
