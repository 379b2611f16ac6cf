"""arq's worker, woken instead of polling, and outliving Redis. Overrides private names of arq: it is pinned."""

import asyncio
from contextlib import suppress
from typing import Any

import structlog
from arq.constants import job_key_prefix
from arq.worker import Worker
from redis.exceptions import RedisError

from shared.process.cancellation import end
from shared.process.outage import Outage, first_line
from shared.redis.queue import TASK, WAKE_CHANNEL

FALLBACK_S = 0.5
TAKE_S = 5.0  # longer than Redis is given to answer
RECONNECT_S = (0.1, 5.0)

log = structlog.get_logger(__name__)


class QueueLoop(Worker):
    """Polls the queue when a dispatch or a freed slot wakes it, and each half second for safety's sake."""

    def __init__(self, outage: Outage | None = None, **arq_options: Any) -> None:
        super().__init__(poll_delay=0, handle_signals=False, **arq_options)
        self._outage = outage or Outage("redis", "")
        self._wake = asyncio.Event()
        self._taking = asyncio.Lock()

    async def main(self) -> None:
        """Serve until cancelled."""
        listener = asyncio.create_task(self._listen())
        wait_s = RECONNECT_S[0]
        try:
            while True:
                self._wake.clear()  # before the poll, so that no wake is lost
                try:
                    await self._poll_iteration()
                    wait_s = RECONNECT_S[0]
                    self._outage.worked(write=False)
                except (RedisError, OSError, TimeoutError) as error:
                    self._outage.failed(first_line(error))
                    await asyncio.sleep(wait_s)
                    wait_s = min(wait_s * 2, RECONNECT_S[1])
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(FALLBACK_S):  # wait_for may swallow a cancel before Python 3.12
                        await self._wake.wait()
        finally:
            await end(listener)

    async def drain(self, grace_s: float) -> None:
        """Pick no more, give running jobs `grace_s` seconds, then cancel them: they hand themselves back."""
        self.allow_pick_jobs = False
        clock = asyncio.get_running_loop()
        until = clock.time() + grace_s
        log.info("worker.draining", jobs=len(self._running()), grace_s=grace_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(TAKE_S), self._taking:  # what is being taken is about to run
                pass
        while (running := self._running()) and clock.time() < until:
            await asyncio.wait(running, timeout=until - clock.time())
        await end(*self._running())

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Take what a poll has found off the queue, as much as there is room for, in one round trip, and run it.

        Whoever removes an entry has it. arq would keep it there until its job has ended, to be looked at in every
        poll; what becomes of it is SQL's business from here on. With more entries than room the queue is crowded, and
        SQL says whose job is next (`shared/services/fairness.py`).
        """
        async with self._taking:
            room = self.max_jobs - self.job_counter
            entries, crowded = [entry.decode() for entry in job_ids[:room]], len(job_ids) > room
            if not entries or not self.allow_pick_jobs:
                return
            async with self.pool.pipeline(transaction=False) as pipe:
                for entry in entries:
                    pipe.zrem(self.queue_name, entry)
                    pipe.delete(job_key_prefix + entry)
                removed = (await pipe.execute())[::2]
            for entry, ours in zip(entries, removed, strict=True):
                if not ours:
                    self._wake.set()  # there is room yet: look at once for what the others have left
                else:
                    self.job_counter += 1
                    task = asyncio.create_task(self._run(entry, crowded=crowded))
                    task.add_done_callback(self._ended)
                    while entry in self.tasks:  # sent again: that one may run another job by now
                        entry += "+"  # noqa: PLW2901 - its name among the tasks
                    self.tasks[entry] = task

    def _running(self) -> list[asyncio.Task[Any]]:
        return [task for task in self.tasks.values() if not task.done()]

    async def _run(self, entry: str, *, crowded: bool) -> None:
        try:
            await self.functions[TASK].coroutine(self.ctx | {"crowded": crowded}, entry.partition(":")[0])
        except asyncio.CancelledError:
            return  # it has handed itself back; arq would raise this out of its loop
        except Exception:  # an entry that is not ours, or a mistake: neither may end the worker
            log.exception("queue.entry_broke", entry=entry)

    def _ended(self, _task: asyncio.Task[None]) -> None:
        self.job_counter -= 1
        self._wake.set()

    async def _listen(self) -> None:
        while True:
            try:
                async with self.pool.pubsub() as pubsub:
                    await pubsub.subscribe(WAKE_CHANNEL)
                    while True:  # the reply to SUBSCRIBE wakes too: nothing is missed after a reconnect
                        if await pubsub.get_message(timeout=30):
                            self._wake.set()
            except (RedisError, OSError) as error:
                log.debug("wake.unreachable", error=type(error).__name__)
                await asyncio.sleep(FALLBACK_S)
