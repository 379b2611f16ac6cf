"""Whom a worker passes over for a while when there are others to ask."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog

from shared.errors import Upstream
from worker.providers.registry import Model

FIRST_S, LONGEST_S = 1.0, 60.0
LONG_S = {"insufficient_quota": 60.0, "upstream_unauthorized": 60.0, "model_not_found": 600.0}
LONGEST_ASKED_S = 600.0  # that a server's Retry-After is heeded for
OF_THE_MODEL = {"model_not_found", "rate_limited"}
OF_THE_REQUEST = {"upstream_rejected", "empty_reply", "bad_speech"}  # another one may fare better

log = structlog.get_logger(__name__)


class Key(NamedTuple):
    """What is passed over: a model, or with `model` None all that its provider serves in a role."""

    role: str
    provider: str
    model: str | None


@dataclass
class _Pause:
    until: float
    length_s: float


class Circuits:
    """Whom this worker passes over for a while, because they are down, out of quota or gone.

    A pause doubles with every failure that follows it. When it is over one call tries, and the others still pass by
    until that one was answered.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pauses: dict[Key, _Pause] = {}

    def admits(self, model: Model[Any]) -> bool:
        """Whether a call may go there now; what it meets is told to `failed` or `answered`."""
        now = self._clock()
        pauses = [pause for key in _keys(model) if (pause := self._pauses.get(key))]
        if any(pause.until > now for pause in pauses):
            return False
        for pause in pauses:
            pause.until = now + pause.length_s
        return True

    def answered(self, model: Model[Any]) -> None:
        """It is there again."""
        for key in _keys(model):
            if self._pauses.pop(key, None):
                log.info("model.is_back", role=key.role, provider=key.provider, model=key.model)

    def failed(self, model: Model[Any], error: Upstream) -> None:
        """Pass over what failed, unless it was the request's own fault."""
        if error.code in OF_THE_REQUEST:
            return
        every, this = _keys(model)
        key = this if error.code in OF_THE_MODEL else every
        before = self._pauses.get(key)
        now = self._clock()
        if before and before.until > now + before.length_s / 2:
            return  # many calls that were under way are one failure
        length_s = min(before.length_s * 2, LONGEST_S) if before else FIRST_S
        length_s = max(length_s, LONG_S.get(error.code, 0.0), min(error.retry_after or 0.0, LONGEST_ASKED_S))
        self._pauses[key] = _Pause(now + length_s, length_s)
        log.warning(
            "model.passed_over", role=key.role, provider=key.provider, model=key.model, code=error.code, for_s=length_s
        )


def _keys(model: Model[Any]) -> tuple[Key, Key]:
    return Key(model.role, model.provider_name, None), Key(model.role, model.provider_name, model.model)
