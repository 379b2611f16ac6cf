"""Several models for one call: the first that answers."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import structlog

from shared.errors import Upstream
from worker.providers.base import Provider
from worker.providers.circuits import Circuits
from worker.providers.failures import NO_MODEL
from worker.providers.registry import Model

T = TypeVar("T")
P = TypeVar("P", bound=Provider)

log = structlog.get_logger(__name__)


class BrokenOffError(Exception):
    """What was begun can't be begun anew with another model in this attempt; `error` is why it ended."""

    def __init__(self, error: Upstream) -> None:
        super().__init__(error.code)
        self.error = error


async def first_to_answer(
    circuits: Circuits,
    models: Sequence[Model[P]],
    ask: Callable[[Model[P]], Awaitable[T]],
    *,
    last: tuple[str, str] | None = None,
) -> T:
    """What the first model that answers gives; those that are passed over are asked only when no other has.

    `last` is the provider and model with which the attempt before this one ended: it is the last choice now.

    Raises the `Upstream` of one that may answer later if there is such a one, else that of the first choice.
    `BrokenOffError` ends it at once as its `error`.
    """
    failures: list[Upstream] = []
    gone: set[str] = set()
    for model in _in_turn(circuits, sorted(models, key=lambda model: (model.provider_name, model.model) == last), gone):
        try:
            answer = await ask(model)
        except BrokenOffError as broken:
            circuits.failed(model, broken.error)
            raise broken.error from None
        except Upstream as error:
            circuits.failed(model, error)
            failures.append(error)
            if error.code == NO_MODEL.code:
                gone.add(model.entry.id)
            log.warning("model.failed", role=model.role, model=model.entry.id, code=error.code)
        else:
            circuits.answered(model)
            return answer
    raise min((error for error in failures if error.transient), key=_wait_s, default=failures[0])


def _in_turn(circuits: Circuits, models: Sequence[Model[P]], gone: set[str]) -> Iterator[Model[P]]:
    """Lazily: what one call meets decides who is asked next. `gone` are models whose followers take their place."""
    passed = []
    for model in models:
        if model.follows is not None and model.follows not in gone:
            continue
        if len(models) == 1 or circuits.admits(model):
            yield model
        else:
            passed.append(model)
            gone.update({model.entry.id} if circuits.is_gone(model) else ())
    yield from passed


def _wait_s(error: Upstream) -> float:
    return error.retry_after or 0.0
