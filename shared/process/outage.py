"""What the log says of a store that is unavailable: once when that begins, with the reason, and once when it ends."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import structlog

STEADY_S = 10.0  # one that comes and goes is logged no more often

_quiet = ContextVar("quiet", default=False)

log = structlog.get_logger(__name__)


class Outage:
    """One store of this process. Whoever uses it says how it went; only changes are logged."""

    def __init__(self, store: str, where: str) -> None:
        self._store = store
        self._where = where
        self._since: float | None = None
        self._only_writes = False
        self._ended_at = float("-inf")

    def failed(self, why: str, *, only_writes: bool = False) -> None:
        """It could not be used; with `only_writes` it may be read meanwhile, which does not count as its return."""
        now = time.monotonic()
        if not _quiet.get() and self._since is None and now - self._ended_at >= STEADY_S:
            self._since, self._only_writes = now, only_writes
            log.warning("store.unavailable", store=self._store, where=self._where, why=why)

    def worked(self, *, write: bool) -> None:
        """It was read, or written."""
        if self._since is not None and (write or not self._only_writes):
            now = time.monotonic()
            log.info("store.available", store=self._store, where=self._where, after_s=round(now - self._since, 1))
            self._since, self._ended_at = None, now


@contextmanager
def quietly() -> Iterator[None]:
    """Log nothing of this: whoever asks tells it."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


def first_line(error: BaseException) -> str:
    """What an error says, in one line of some length: some drivers append whole answers."""
    said = (isinstance(error, OSError) and error.strerror) or str(error)
    text = next((line for line in said.splitlines() if line.strip()), "") or type(error).__name__
    return text.strip()[:300]
