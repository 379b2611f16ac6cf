"""What happens to jobs, told over Redis: one subscription per process wakes whoever waits for a job."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.queue import JOB_CHANNEL

RECONNECT_S = 0.5

log = structlog.get_logger(__name__)


class JobEvents:
    """Turns the job channel into one `asyncio.Event` a waiter.

    A wake only says "look again in SQL": after a reconnect, and at shutdown, everybody is woken.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiters: defaultdict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self.closing = False

    def start(self) -> None:
        """Subscribe, and stay subscribed."""
        self._task = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Wake every waiter for the last time and unsubscribe."""
        self.closing = True
        self._wake_all()
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @asynccontextmanager
    async def watch(self, job_id: UUID) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever the job may have changed. Enter it *before* reading the job."""
        event = asyncio.Event()
        self._waiters[job_id].add(event)
        try:
            yield event
        finally:
            self._waiters[job_id].discard(event)
            if not self._waiters[job_id]:
                del self._waiters[job_id]

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(JOB_CHANNEL)
                    self._wake_all()
                    while True:
                        message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=30)
                        if message:
                            self._wake(message["data"])
            except (RedisError, OSError) as error:
                log.warning("events.unreachable", error=type(error).__name__)
                await asyncio.sleep(RECONNECT_S)

    def _wake(self, data: bytes) -> None:
        with suppress(ValueError):  # the channel is open to whoever reaches this Redis
            for event in self._waiters.get(UUID(data.decode()), ()):
                event.set()

    def _wake_all(self) -> None:
        for events in self._waiters.values():
            for event in events:
                event.set()
