"""Several models for one call: the first that answers, and a while without those that just failed."""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import structlog

from shared.errors import Upstream
from worker.providers.base import Provider
from worker.providers.registry import Model

T = TypeVar("T")
P = TypeVar("P", bound=Provider)

FIRST_S, LONGEST_S = 1.0, 60.0
LONG_S = {"insufficient_quota": 60.0, "upstream_unauthorized": 60.0, "model_not_found": 600.0}
LONGEST_ASKED_S = 600.0  # that a server's Retry-After is heeded for
OF_THE_MODEL = {"model_not_found", "rate_limited"}
OF_THE_REQUEST = {"upstream_rejected", "empty_reply", "bad_speech"}  # another one may fare better

log = structlog.get_logger(__name__)


class BrokenOffError(Exception):
    """What was begun can't be begun anew with another model in this attempt; `error` is why it ended."""

    def __init__(self, error: Upstream) -> None:
        super().__init__(error.code)
        self.error = error


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

    def admits(self, model: Model[P]) -> bool:
        """Whether a call may go there now; what it meets is told to `failed` or `answered`."""
        now = self._clock()
        pauses = [pause for key in _keys(model) if (pause := self._pauses.get(key))]
        if any(pause.until > now for pause in pauses):
            return False
        for pause in pauses:
            pause.until = now + pause.length_s
        return True

    def answered(self, model: Model[P]) -> None:
        """It is there again."""
        for key in _keys(model):
            if self._pauses.pop(key, None):
                log.info("model.is_back", role=key.role, provider=key.provider, model=key.model)

    def failed(self, model: Model[P], error: Upstream) -> None:
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


async def first_to_answer(
    circuits: Circuits,
    models: Sequence[Model[P]],
    ask: Callable[[Model[P]], Awaitable[T]],
) -> T:
    """What the first model that answers gives; those that are passed over are asked only when no other has.

    Raises the `Upstream` of one that may answer later if there is such a one, else that of the first choice.
    `BrokenOffError` ends it at once as its `error`.
    """
    failures: list[Upstream] = []
    for model in _in_turn(circuits, models):
        try:
            answer = await ask(model)
        except BrokenOffError as broken:
            circuits.failed(model, broken.error)
            raise broken.error from None
        except Upstream as error:
            circuits.failed(model, error)
            failures.append(error)
            log.warning("model.failed", role=model.role, provider=model.provider_name, model=model.model, code=error.code)
        else:
            circuits.answered(model)
            return answer
    raise min((error for error in failures if error.transient), key=_wait_s, default=failures[0])


def _in_turn(circuits: Circuits, models: Sequence[Model[P]]) -> Iterable[Model[P]]:
    """Lazily: what one call meets decides whether the next is admitted."""
    passed = []
    for model in models:
        if len(models) == 1 or circuits.admits(model):
            yield model
        else:
            passed.append(model)
    yield from passed


def _keys(model: Model[P]) -> tuple[Key, Key]:
    return Key(model.role, model.provider_name, None), Key(model.role, model.provider_name, model.model)


def _wait_s(error: Upstream) -> float:
    return error.retry_after or 0.0
