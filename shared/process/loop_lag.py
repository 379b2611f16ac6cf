"""How late the event loop is: what blocks it makes everybody wait."""

import asyncio
from collections import deque

STEP_S = 0.1
REMEMBERED = 100  # steps: the last ten seconds


class LoopLag:
    """Sleeps again and again, and remembers how much longer than asked each sleep took."""

    def __init__(self) -> None:
        self._late_s: deque[float] = deque([0.0], maxlen=REMEMBERED)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Measure until closed."""
        self._task = asyncio.create_task(self._measure())

    async def close(self) -> None:
        """Stop measuring."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def worst_ms(self) -> float:
        """The longest delay of the last ten seconds, in milliseconds."""
        return round(max(self._late_s) * 1_000, 1)

    async def _measure(self) -> None:
        clock = asyncio.get_running_loop()
        while True:
            due = clock.time() + STEP_S
            await asyncio.sleep(STEP_S)
            self._late_s.append(max(0.0, clock.time() - due))
