"""Wakes: one Redis subscription per process tells those who wait for a job, or follow it, to read it again from SQL."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.process.cancellation import end
from shared.process.outage import Outage, first_line
from shared.redis.job_events import STREAM, TOLD, EventId, JobEvent
from shared.redis.queue import ACCESS_CHANNEL, ENDED, JOB_CHANNEL, PASS_BY_S

log = structlog.get_logger(__name__)

RECONNECT_S = 0.5
PASSED_BY_S = PASS_BY_S + 0.5  # after a reconnect: until then there may be who found Redis away, and told nothing


class Notifier:
    """Set when there is something to look at; `job_changed` says that it is, or may be, the job itself.

    Who waits `for_end` is not woken before it. It is one task's, so it needs no `asyncio.Event` with room for many.
    """

    __slots__ = ("_awaited", "_is_set", "for_end", "job_changed")

    def __init__(self, *, for_end: bool = False) -> None:
        self.for_end = for_end
        self.job_changed = True
        self._is_set = False
        self._awaited: asyncio.Future[None] | None = None

    def is_set(self) -> bool:
        """Whether there is."""
        return self._is_set

    def set(self) -> None:
        """Wake who waits."""
        self._is_set = True
        if self._awaited and not self._awaited.done():
            self._awaited.set_result(None)

    def clear(self) -> None:
        """Begin to look."""
        self._is_set = False

    async def wait(self) -> None:
        """Until it is set."""
        if not self._is_set:
            self._awaited = asyncio.get_running_loop().create_future()
            await self._awaited


class Subscription:
    """A waiter among the others of its job, as long as its block runs."""

    __slots__ = ("_job_id", "_waiter", "_waiters")

    def __init__(self, waiters: defaultdict[UUID, set[Notifier]], job_id: UUID, waiter: Notifier) -> None:
        self._waiters = waiters
        self._job_id = job_id
        self._waiter = waiter

    async def __aenter__(self) -> Notifier:
        self._waiters[self._job_id].add(self._waiter)
        return self._waiter

    async def __aexit__(self, *_: object) -> None:
        self._waiters[self._job_id].discard(self._waiter)
        if not self._waiters[self._job_id]:
            del self._waiters[self._job_id]


class EventBuffer:
    """The events of one job that this process has read, once for all who follow it."""

    def __init__(self, job_id: UUID) -> None:
        self.key = f"{STREAM}{job_id}"
        self.events: list[JobEvent] = []
        self.followers: set[Notifier] = set()
        self._reading = asyncio.Lock()
        self._asked = self._answered = 0

    async def read(self, redis: Redis) -> None:
        """Read what is new, and wake the followers; Redis away leaves it as it is. Many who ask are one read."""
        self._asked += 1
        mine = self._asked
        async with self._reading:
            if self._answered >= mine:
                return
            self._answered = self._asked
            after = f"({self.events[-1].id}" if self.events else "-"
            try:
                entries = await redis.xrange(self.key, min=after)
            except (RedisError, OSError) as error:
                log.debug("events.unreachable", error=type(error).__name__)
                return
            for number, fields in entries or ():
                with suppress(ValueError, KeyError):  # whoever reaches this Redis can write to it
                    event_id = EventId.parse(number.decode())
                    self.events.append(JobEvent(event_id, fields[b"name"].decode(), json.loads(fields[b"data"])))
        for follower in self.followers:
            follower.set()


class JobWakes:
    """Turns the job channel into one `Waiter` for each who waits for a job or follows it.

    After a reconnect, a moment later, and at shutdown, everybody is woken.
    """

    def __init__(self, redis: Redis, outage: Outage | None = None) -> None:
        self._redis = redis
        self._outage = outage or Outage("redis", "")
        self._waiters: defaultdict[UUID, set[Notifier]] = defaultdict(set)
        self._feeds: dict[UUID, EventBuffer] = {}
        self._task: asyncio.Task[None] | None = None
        self._reads: set[asyncio.Task[None]] = set()
        self.closing = False
        self.listening = False  # while it does, whoever is told anything hears it
        self.on_access_changed: Callable[[UUID], None] = lambda _user_id: None

    def start(self) -> None:
        """Subscribe, and stay subscribed."""
        self._task = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Wake every waiter for the last time and unsubscribe."""
        self.closing = True
        self._wake_all()
        await end(*([self._task] if self._task else []), *self._reads)

    def watch(self, job_id: UUID, *, for_end: bool = False) -> "Subscription":
        """A waiter that is set whenever the job may have changed, or ended. Enter it *before* reading the job."""
        return Subscription(self._waiters, job_id, Notifier(for_end=for_end))

    @asynccontextmanager
    async def follow(self, job_id: UUID) -> AsyncIterator[tuple[Notifier, EventBuffer]]:
        """`watch`, and the job's events; the waiter is set for either."""
        async with self.watch(job_id) as waiter:
            feed = self._feeds.setdefault(job_id, EventBuffer(job_id))
            feed.followers.add(waiter)
            try:
                await feed.read(self._redis)
                yield waiter, feed
            finally:
                feed.followers.discard(waiter)
                if not feed.followers:
                    self._feeds.pop(job_id, None)

    @property
    def watched(self) -> list[UUID]:
        """The jobs that somebody waits for or follows."""
        return list(self._waiters)

    def wake(self, job_id: UUID, *, ended: bool) -> None:
        """Let those who watch a job look at it again; who waits for its end only when it has ended."""
        for waiter in self._waiters.get(job_id, ()):
            if ended or not waiter.for_end:
                waiter.job_changed = True
                waiter.set()

    async def read(self, feed: EventBuffer) -> None:
        """Read what a feed has not told yet, now."""
        await feed.read(self._redis)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(JOB_CHANNEL, ACCESS_CHANNEL)
                    self.listening = True
                    self._outage.worked(write=False)
                    self._wake_all()
                    asyncio.get_running_loop().call_later(PASSED_BY_S, self._wake_all)
                    while True:
                        message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=30)
                        if message and message["channel"] == ACCESS_CHANNEL.encode():
                            self._tell_of_access(message["data"])
                        elif message:
                            self._wake(message["data"])
            except (RedisError, OSError) as error:
                self._outage.failed(first_line(error))
                self.listening = False
                self._wake_all()
                await asyncio.sleep(RECONNECT_S)

    def _wake(self, data: bytes) -> None:
        with suppress(ValueError):  # the channel is open to whoever reaches this Redis
            job_id = UUID(data[:36].decode())
            if data.endswith(TOLD):
                self._read(self._feeds.get(job_id))
            else:
                self.wake(job_id, ended=data.endswith(ENDED))

    def _tell_of_access(self, data: bytes) -> None:
        with suppress(ValueError):  # as above
            self.on_access_changed(UUID(data.decode()))

    def _wake_all(self) -> None:
        for job_id in self._waiters:
            self.wake(job_id, ended=True)
        for feed in self._feeds.values():
            self._read(feed)

    def _read(self, feed: EventBuffer | None) -> None:
        if feed:
            task = asyncio.create_task(feed.read(self._redis))
            self._reads.add(task)
            task.add_done_callback(self._reads.discard)
