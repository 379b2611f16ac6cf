"""A few processes in which all work on untrusted audio runs: bounded, killable, off the event loop."""

import asyncio
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from shared.audio import child
from shared.audio.source import refuse
from shared.errors import Unavailable

T = TypeVar("T")

_START_S = 30.0
_LIVES = 2  # a child may be killed by someone else: work is tried in a second one


class AudioPool:
    """Runs functions of `shared.audio` in `workers` processes, which start with the first work or by `warm()`."""

    def __init__(self, *, workers: int = 2, max_waiting: int = 1_000, max_tasks: int = 2_000) -> None:
        self._lanes = [_Lane() for _ in range(workers)]
        self._idle: asyncio.LifoQueue[_Lane] = asyncio.LifoQueue()
        for lane in self._lanes:
            self._idle.put_nowait(lane)
        self._waiting = 0
        self._max_waiting = max_waiting
        self._max_tasks = max_tasks  # a fresh process now and then gives back what libraries leak
        self._working: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def run(self, fn: Callable[..., T], /, *args: Any, timeout_s: float = 30.0, **kwargs: Any) -> T:
        """Return `fn(*args, **kwargs)` from a process; `fn` is a function of a module; what it raises comes through.

        `timeout_s` counts from the start of the work. Raises `Invalid` (audio_unreadable) when the work takes longer
        or kills two processes, `Unavailable` when too many wait or the pool is closed. Work whose caller is cancelled
        runs to its end.
        """
        if self._closed or self._waiting >= self._max_waiting:
            message = "No more audio can be worked on just now."
            raise Unavailable(message, code="audio_busy", retry_after=1.0)
        self._waiting += 1
        try:
            lane = await self._idle.get()
        finally:
            self._waiting -= 1
        work = asyncio.create_task(self._work(lane, partial(fn, *args, **kwargs), timeout_s))
        self._working.add(work)
        work.add_done_callback(self._ended)
        return await asyncio.shield(work)

    async def warm(self) -> None:
        """Start every process, so that the first upload waits for none."""
        await asyncio.gather(*(self.run(child.ready) for _ in self._lanes))

    async def close(self) -> None:
        """End all processes at once; work still running is lost and its callers get `Unavailable`."""
        self._closed = True
        await asyncio.gather(*(asyncio.to_thread(lane.end) for lane in self._lanes))
        if self._working:
            await asyncio.wait(self._working)

    def _ended(self, work: "asyncio.Task[Any]") -> None:
        self._working.discard(work)
        if not work.cancelled():
            work.exception()  # looked at, also when the caller that wanted it is gone

    async def _work(self, lane: "_Lane", call: Callable[[], T], timeout_s: float) -> T:
        try:
            for _ in range(_LIVES):
                await self._start(lane)
                with suppress(BrokenProcessPool):
                    future = asyncio.wrap_future(lane.submit(call))
                    await asyncio.wait({future}, timeout=timeout_s)
                    if future.done():
                        return future.result()
                    future.cancel()
                    break
                await asyncio.to_thread(lane.end)
            self._check_open()
            await asyncio.to_thread(lane.end)
            refuse("audio_unreadable", "The audio takes too long to read, or breaks its reader.")
        finally:
            self._idle.put_nowait(lane)

    async def _start(self, lane: "_Lane") -> None:
        """See to a living process; its failure to start is no fault of the audio."""
        if lane.tasks >= self._max_tasks:
            await asyncio.to_thread(lane.end)
        self._check_open()
        if lane.pid is None:
            try:
                lane.pid = await asyncio.wait_for(asyncio.wrap_future(lane.submit(child.ready)), _START_S)
            except (RuntimeError, OSError) as error:  # broken, too late, no room for a process or a thread
                await asyncio.to_thread(lane.end)
                message = "The audio processes do not start."
                raise Unavailable(message, code="audio_busy", retry_after=1.0) from error
            self._check_open()

    def _check_open(self) -> None:
        if self._closed:
            message = "The server is shutting down."
            raise Unavailable(message, code="audio_busy", retry_after=1.0)


class _Lane:
    """One process behind an executor of its own, so that its death is no other's."""

    def __init__(self) -> None:
        self._executor: ProcessPoolExecutor | None = None
        self.pid: int | None = None
        self.tasks = 0

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """Hand over work; the process starts with the first."""
        self.tasks += 1
        if self._executor is None:
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(1, mp_context=context, initializer=child.start)
            with _interrupts_held(), _main_hidden():
                return self._executor.submit(call)
        return self._executor.submit(call)

    def end(self) -> None:
        """Kill the process, whatever it does; the next work starts another. Blocks for some milliseconds."""
        executor, pid, self._executor, self.pid, self.tasks = self._executor, self.pid, None, None, 0
        if executor is None:
            return
        for process in multiprocessing.active_children():
            if process.pid == pid:
                process.kill()
        executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Spare a process the import of the program's main module, with all that hangs on it: it needs none of it."""
    main = sys.modules["__main__"]
    before = {name: getattr(main, name, None) for name in ("__spec__", "__file__")}
    vars(main).update(dict.fromkeys(before))
    try:
        yield
    finally:
        vars(main).update(before)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let a process be born deaf to Ctrl-C until it ignores it by itself."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
