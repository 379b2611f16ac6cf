"""Everything Parley refuses or fails at, as typed errors; `api/http/problems.py` maps each kind to its HTTP status."""

import errno
from typing import Any, Self

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
ROOM_S = 30.0


class StartupError(Exception):
    """Why this process can't start, in one sentence for the person who started it."""


class AppError(Exception):
    """A refusal or failure that a client may see.

    `code` is the stable machine word, `detail` one sentence for a person, `errors` names bad fields as
    `{"field": "…", "message": "…"}`, `retry_after` is in seconds.
    """

    code = "error"
    title = "Error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: list[dict[str, Any]] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.errors = errors
        self.retry_after = retry_after
        self.headers: dict[str, str] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors cross from the audio processes with their fields."""
        return _rebuild, (type(self), self.detail, self.code, self.errors, self.retry_after)


def _rebuild(
    kind: type[AppError], detail: str, code: str, errors: list[dict[str, Any]] | None, retry_after: float | None
) -> AppError:
    return kind(detail, code=code, errors=errors, retry_after=retry_after)


class Malformed(AppError):
    """The request can't be read at all."""

    code = "malformed"
    title = "Malformed request"


class Unauthorized(AppError):
    """Nobody, or nobody we know, is asking."""

    code = "unauthorized"
    title = "Not signed in"


class Forbidden(AppError):
    """The asker is known and may not."""

    code = "forbidden"
    title = "Forbidden"


class PaymentRequired(AppError):
    """The asker's balance does not cover what this may cost."""

    code = "insufficient_balance"
    title = "Insufficient balance"


class NotFound(AppError):
    """It is not there, or it is another's: the two are not told apart."""

    code = "not_found"
    title = "Not found"


class Conflict(AppError):
    """The thing is not in a state that allows this."""

    code = "conflict"
    title = "Conflict"


class TooLarge(AppError):
    """The body is over its limit."""

    code = "too_large"
    title = "Too large"


class HeadTooLarge(TooLarge):
    """The address and the headers are over their limit."""


class Unsupported(AppError):
    """The body is of a kind that can't be used: not audio, or a codec that can't be decoded."""

    code = "unsupported_media"
    title = "Unsupported media"


class Invalid(AppError):
    """The body is of the right kind and wrong: a bad field, broken or empty audio, too long."""

    code = "invalid"
    title = "Invalid request"


class RangeNotSatisfiable(AppError):
    """The bytes asked for lie outside the file."""

    code = "range_not_satisfiable"
    title = "Range not satisfiable"

    def __init__(self, detail: str, *, size: int) -> None:
        super().__init__(detail)
        self.headers = {"Content-Range": f"bytes */{size}"}


class TooMany(AppError):
    """The asker is over a limit of theirs; `retry_after` says when to come back."""

    code = "rate_limited"
    title = "Too many requests"


class Unavailable(AppError):
    """A store that Parley needs is away or too busy.

    Operators, not clients, read the rest: `state` says what it is in a word or two, `why` is the driver's message,
    and with `is_lasting` trying again won't help.
    """

    code = "unavailable"
    title = "Unavailable"
    state = "away"
    why = ""
    is_lasting = False

    def because(self, state: str, why: str, *, is_lasting: bool = False) -> Self:
        """Add what an operator wants to know."""
        self.state, self.why, self.is_lasting = state, why, is_lasting
        return self


class StorageFull(Unavailable):
    """There is no room left to store it."""

    code = "storage_full"
    title = "No room left"


def no_room(error: BaseException) -> Unavailable | None:
    """What a disk that is full, or can only be read, means wherever it is met; None for any other error."""
    if not isinstance(error, OSError):
        return None
    if error.errno in FULL:
        return StorageFull("There is no room left to store it.", retry_after=ROOM_S)
    if error.errno == errno.EROFS:
        return Unavailable("The disk can only be read.", retry_after=ROOM_S)
    return None


class Upstream(AppError):
    """A model provider failed. `transient` says whether the same call may succeed later."""

    code = "upstream"
    title = "The model failed"

    def __init__(
        self, detail: str, *, code: str | None = None, transient: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(detail, code=code, retry_after=retry_after)
        self.transient = transient

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_upstream, (self.detail, self.code, self.transient, self.retry_after)


def _rebuild_upstream(detail: str, code: str, transient: bool, retry_after: float | None) -> Upstream:  # noqa: FBT001
    return Upstream(detail, code=code, transient=transient, retry_after=retry_after)
