"""Whom a worker passes over for a while when there are others to ask."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog

from shared.errors import Upstream
from worker.providers.failures import EMPTY_REPLY, NO_ANSWER, NO_MODEL, NO_QUOTA, RATE_LIMITED, REJECTED, UNAUTHORIZED
from worker.providers.registry import Model

FIRST_S, LONGEST_S = 1.0, 60.0
LONG_S = {NO_QUOTA.code: 60.0, NO_MODEL.code: 600.0}
LONGEST_ASKED_S = 600.0  # that a server's Retry-After is heeded for
OF_THE_MODEL = {NO_MODEL.code, RATE_LIMITED.code, UNAUTHORIZED.code}  # the last may be about one message, or one model
OF_THE_REQUEST = {REJECTED.code, EMPTY_REPLY.code, NO_ANSWER.code, "bad_speech"}  # another one may fare better

log = structlog.get_logger(__name__)


class CircuitKey(NamedTuple):
    """What is passed over: a model, or with `model` None all that its provider serves in a role."""

    role: str
    provider: str
    model: str | None


@dataclass
class _Pause:
    until: float
    length_s: float
    code: str
    tried: bool = False  # it is over, and one call is on its way


class Circuits:
    """Whom this worker passes over for a while, because they are down, out of quota or gone.

    A pause doubles with every failure that follows it. When it is over one call tries, and the others still pass by
    until that one was answered.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, patience_s: float = 0.0) -> None:
        """`patience_s` is how long a call may wait for its first byte: as long the one that tries is waited for."""
        self._clock = clock
        self._patience_s = patience_s
        self._pauses: dict[CircuitKey, _Pause] = {}

    def admits(self, model: Model[Any]) -> bool:
        """Whether a call may go there now; what it meets is told to `failed` or `answered`."""
        now = self._clock()
        pauses = [pause for key in _keys(model) if (pause := self._pauses.get(key))]
        if any(pause.until > now for pause in pauses):
            return False
        for pause in pauses:
            pause.until, pause.tried = now + max(pause.length_s, self._patience_s), True
        return True

    def is_gone(self, model: Model[Any]) -> bool:
        """Whether its provider has said that there is no such model."""
        pause = self._pauses.get(_keys(model)[1])
        return pause is not None and pause.code == NO_MODEL.code

    def left(self, model: Model[Any]) -> None:
        """A call ended without having met anything: another one may try."""
        for key in _keys(model):
            if (pause := self._pauses.get(key)) and pause.tried:
                pause.until = self._clock()

    def answered(self, model: Model[Any]) -> None:
        """It is there again."""
        for key in _keys(model):
            if self._pauses.pop(key, None):
                log.info("model.is_back", role=key.role, provider=key.provider, model=key.model)

    def failed(self, model: Model[Any], error: Upstream) -> None:
        """Pass over what failed: the model, its whole provider, or nobody when it was the request's own fault."""
        every, this = _keys(model)
        if error.code in OF_THE_MODEL | OF_THE_REQUEST:
            self._pauses.pop(every, None)  # it is there, to say so
        if error.code in OF_THE_REQUEST:
            return
        key = this if error.code in OF_THE_MODEL else every
        before = self._pauses.get(key)
        now = self._clock()
        if before and before.until > now and not before.tried:
            return  # many calls that were under way are one failure
        length_s = min(before.length_s * 2, LONGEST_S) if before else FIRST_S
        length_s = max(length_s, LONG_S.get(error.code, 0.0), min(error.retry_after or 0.0, LONGEST_ASKED_S))
        self._pauses[key] = _Pause(now + length_s, length_s, error.code)
        log.warning(
            "model.passed_over", role=key.role, provider=key.provider, model=key.model, code=error.code, for_s=length_s
        )


def _keys(model: Model[Any]) -> tuple[CircuitKey, CircuitKey]:
    return CircuitKey(model.role, model.provider_name, None), CircuitKey(model.role, model.provider_name, model.model)
