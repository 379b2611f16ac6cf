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


class FinalError(Exception):
    """The model has answered, and what came of it, `error`, is no reply: to ask again, or another, is no help."""

    def __init__(self, error: Upstream) -> None:
        super().__init__(error.code)
        self.error = error


async def first_to_answer(
    circuits: Circuits,
    models: Sequence[Model[P]],
    ask: Callable[[Model[P]], Awaitable[T]],
    *,
    first: tuple[str | None, str | None] | None = None,
    last: tuple[str, str] | None = None,
) -> T:
    """What the first model that answers gives; those that are passed over are asked only when no other has.

    `first` is the provider and model that answered what belongs to this: it is the first choice now. `last` is that
    with which the attempt before this one ended: it is the last choice.

    Raises the `Upstream` of one that may answer later if there is such a one, else that of the first choice.
    `BrokenOffError` and `FinalError` end it at once as their `error`.
    """
    failures: list[Upstream] = []
    gone: set[str] = set()
    for model in _in_turn(circuits, _in_order(models, first, last), gone):
        try:
            answer = await ask(model)
        except BrokenOffError as broken:
            circuits.failed(model, broken.error)
            raise _again(broken.error, others=len(models) > len(failures) + 1) from None
        except FinalError as final:
            circuits.answered(model)
            raise final.error from None
        except Upstream as error:
            circuits.failed(model, error)
            failures.append(error)
            if error.code == NO_MODEL.code:
                gone.add(model.entry.id)
            log.warning("model.failed", role=model.role, model=model.entry.id, code=error.code)
        except BaseException:  # cancelled, mostly: nothing was learned of the model
            circuits.left(model)
            raise
        else:
            circuits.answered(model)
            return answer
    raise min((error for error in failures if error.transient), key=_wait_s, default=failures[0])


def _in_order(
    models: Sequence[Model[P]], first: tuple[str | None, str | None] | None, last: tuple[str, str] | None
) -> list[Model[P]]:
    """A model and its followers stay together: those that hold `first` come first, and those that hold `last` last."""
    lines: list[list[Model[P]]] = []
    for model in models:
        if model.follows and lines:
            lines[-1].append(model)
        else:
            lines.append([model])
    names = {id(line): [(model.provider_name, model.model) for model in line] for line in lines}
    lines.sort(key=lambda line: (last in names[id(line)], first not in names[id(line)]))
    return [model for line in lines for model in line]


def _in_turn(circuits: Circuits, models: Sequence[Model[P]], gone: set[str]) -> Iterator[Model[P]]:
    """Lazily: what one call meets decides who is asked next. `gone` are models whose followers take their place."""
    passed, waiting, asked = [], [], False
    for model in models:
        if model.follows and not model.follows & gone:
            waiting.append(model)
        elif len(models) == 1 or circuits.admits(model):
            asked = True
            yield model
        else:
            passed.append(model)
            gone.update({model.entry.id} if circuits.is_gone(model) else ())
    for model in passed:
        if asked and circuits.is_gone(model):
            continue  # whoever follows it was asked
        asked = True
        yield model
        yield from (follower for follower in waiting if model.entry.id in follower.follows & gone)


def _again(error: Upstream, *, others: bool) -> Upstream:
    """What broke off for good with one model may go well with another, in the next attempt."""
    if error.transient or not others:
        return error
    return Upstream(error.detail, code=error.code, transient=True)


def _wait_s(error: Upstream) -> float:
    return error.retry_after or 0.0
