"""What the steps of a turn share: a clock, and an error that says which step it was."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shared.errors import AppError, no_room
from shared.services.job.turn import StepDone, Used
from worker.providers.registry import Model

OUTSIDE = "turn"  # the name of what fails outside of every step


class StepFailedError(Exception):
    """A step of `model`, if it had come to ask one, ended in `error` after `duration_ms`."""

    def __init__(
        self,
        name: str,
        error: AppError,
        *,
        duration_ms: int = 0,
        model: Model[Any] | None = None,
        used: Used | None = None,
    ) -> None:
        super().__init__(f"{name}: {error.code}")
        self.name = name
        self.error = error
        self.done = StepDone(
            name=name,
            duration_ms=duration_ms,
            provider=model.provider_name if model else None,
            model=model.model if model else None,
            used=used,
        )


class Timer:
    """Milliseconds since a step began, the model that it asks, and the paid use of calls that failed."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.model: Model[Any] | None = None
        self.used: Used | None = None

    @property
    def ms(self) -> int:
        """Whole milliseconds so far."""
        return round((time.perf_counter() - self._began) * 1_000)


@contextmanager
def step(name: str) -> Iterator[Timer]:
    """Time a step, and give its name to whatever it fails with."""
    timer = Timer()
    try:
        yield timer
    except AppError as error:
        raise StepFailedError(name, error, duration_ms=timer.ms, model=timer.model, used=timer.used) from error
    except OSError as error:
        if unavailable := no_room(error):
            raise StepFailedError(
                name, unavailable, duration_ms=timer.ms, model=timer.model, used=timer.used
            ) from error
        raise


def sha256(data: str) -> str:
    """The hash that says what a step's output was made from."""
    return hashlib.sha256(data.encode()).hexdigest()
