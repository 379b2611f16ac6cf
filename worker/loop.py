"""arq's worker, woken instead of polling, and outliving Redis. Overrides private names of arq: it is pinned."""

import asyncio
from contextlib import suppress
from typing import Any

import structlog
from arq.constants import in_progress_key_prefix, job_key_prefix
from arq.worker import Worker
from redis.exceptions import RedisError

from shared.queue import TASK, WAKE_CHANNEL
from shared.tasks import end

FALLBACK_S = 0.5
RECONNECT_S = (0.1, 5.0)

log = structlog.get_logger(__name__)


class QueueLoop(Worker):
    """Polls the queue when a dispatch or a freed slot wakes it, and each half second for safety's sake.

    `lease_s` is how long arq believes that a dead worker still runs an entry; SQL decides who really does.
    """

    def __init__(self, *, lease_s: float, **arq_options: Any) -> None:
        super().__init__(poll_delay=0, handle_signals=False, **arq_options)
        self.in_progress_timeout_s = lease_s
        self._wake = asyncio.Event()

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
                except (RedisError, OSError, TimeoutError) as error:
                    log.warning("queue.unreachable", error=type(error).__name__)
                    await self._free_leaked_slots()
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
        while (running := self._running()) and clock.time() < until:  # a poll under way may still be starting some
            await asyncio.wait(running, timeout=until - clock.time())
        await end(*self._running())

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Start what a poll has found, as long as jobs are picked at all."""
        for job_id in job_ids:
            if self.allow_pick_jobs:
                await super().start_jobs([job_id])

    def _running(self) -> list[asyncio.Task[Any]]:
        return [task for task in self.tasks.values() if not task.done()]

    async def run_job(self, job_id: str, score: int) -> None:  # noqa: ARG002 - arq's signature
        """Take the entry off the queue and run it: what becomes of it is SQL's business from here on.

        arq would keep it there until it has ended, to be looked at in every poll, and taken again after `lease_s`.
        """
        try:
            async with self.pool.pipeline(transaction=False) as pipe:
                pipe.zrem(self.queue_name, job_id)
                pipe.delete(job_key_prefix + job_id, in_progress_key_prefix + job_id)
                await pipe.execute()
        except (RedisError, OSError) as error:
            log.warning("queue.entry_left", error=type(error).__name__)  # whoever finds it can't claim it
        try:
            await self.functions[TASK].coroutine(self.ctx, job_id.partition(":")[0])
        except asyncio.CancelledError:
            return  # it has handed itself back; arq would raise this out of its loop
        except Exception:  # an entry that is not ours, or a mistake: neither may end the worker
            log.exception("queue.entry_broke", entry=job_id)

    def _release_sem_dec_counter_on_complete(self) -> None:
        super()._release_sem_dec_counter_on_complete()
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

    async def _free_leaked_slots(self) -> None:
        """Give back the slot that `start_jobs` took before Redis failed it."""
        await asyncio.sleep(0)  # let the callbacks of tasks that just ended run first
        live = sum(not task.done() for task in self.tasks.values())
        while self.job_counter > live:
            super()._release_sem_dec_counter_on_complete()
