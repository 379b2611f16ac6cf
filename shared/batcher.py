"""What many ask for in the same moment is done once for all of them: one query, or one transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

PATIENCE_S = 0.005
MOST = 256


class Batcher(Generic[K, V]):
    """Runs `do` with all that was asked for since its last run began, and gives each its own result or error.

    Who asks first waits until the run before has ended, but hardly: one that hangs holds nobody up.
    """

    def __init__(self, do: Callable[[list[K]], Awaitable[Sequence[V | Exception]]], *, most: int = MOST) -> None:
        """`do` gets at most `most` at once."""
        self._do = do
        self._most = most
        self._asked: list[tuple[K, asyncio.Future[V]]] = []
        self._last: asyncio.Task[None] | None = None
        self._runs: set[asyncio.Task[None]] = set()

    async def load(self, what: K) -> V:
        """The result for `what`; raises what `do` has given, or raised, instead of it."""
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._asked.append((what, future))
        if len(self._asked) == 1:
            self._last = asyncio.create_task(self._run(self._asked, self._last), context=Context())  # nobody's own
            self._runs.add(self._last)
            self._last.add_done_callback(self._runs.discard)
        if len(self._asked) == self._most:
            self._asked = []
        return await future

    async def _run(self, asked: list[tuple[K, asyncio.Future[V]]], before: "asyncio.Task[None] | None") -> None:
        if before and not before.done():
            await asyncio.wait({before}, timeout=PATIENCE_S)
        if self._asked is asked:
            self._asked = []
        results: Sequence[V | Exception]
        try:
            results = await self._do([what for what, _ in asked])
        except Exception as error:  # noqa: BLE001 - each who asked raises it
            results = [error] * len(asked)
        for (_, future), result in zip(asked, results, strict=True):
            if future.done():
                continue  # whoever asked has hung up
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
