"""What happens to jobs, told over Redis: wakes on one channel, and each job's own events in a stream of its own.

One subscription per process wakes whoever waits for a job or follows it. Nothing here is the truth: a wake says "look
again in SQL", and events that were lost are made up for from there.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, Self
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.outage import Outage, first_line
from shared.queue import ACCESS_CHANNEL, ENDED, JOB_CHANNEL, PASS_BY_S
from shared.tasks import end

RECONNECT_S = 0.5
PASSED_BY_S = PASS_BY_S + 0.5  # after a reconnect: until then there may be who found Redis away, and told nothing
STREAM = "parley:events:"
TOLD = b"+"  # behind a job's id on the channel: it has new events
KEPT_S = 600
MOST_EVENTS = 20_000
BATCH_S = 0.05
FLUSH_S = 0.25

log = structlog.get_logger(__name__)


class EventId(NamedTuple):
    """An event's place: the job's attempt, and its number in that attempt. Redis keeps the order by itself."""

    attempt: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `{attempt}-{number}`; raises ValueError."""
        attempt, _, number = text.partition("-")
        return cls(int(attempt), int(number))

    def __str__(self) -> str:
        return f"{self.attempt}-{self.number}"


class JobEvent(NamedTuple):
    """What an attempt told.

    `reset` (the reply begins anew), `delta` (`offset`, `text`) or `audio` (`index`, `text`, `duration_s`).
    """

    id: EventId
    name: str
    data: dict[str, Any]


class Waiter:
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


class Watch:
    """A waiter among the others of its job, as long as its block runs."""

    __slots__ = ("_job_id", "_waiter", "_waiters")

    def __init__(self, waiters: defaultdict[UUID, set[Waiter]], job_id: UUID, waiter: Waiter) -> None:
        self._waiters = waiters
        self._job_id = job_id
        self._waiter = waiter

    async def __aenter__(self) -> Waiter:
        self._waiters[self._job_id].add(self._waiter)
        return self._waiter

    async def __aexit__(self, *_: object) -> None:
        self._waiters[self._job_id].discard(self._waiter)
        if not self._waiters[self._job_id]:
            del self._waiters[self._job_id]


class Feed:
    """The events of one job that this process has read, once for all who follow it."""

    def __init__(self, job_id: UUID) -> None:
        self.key = f"{STREAM}{job_id}"
        self.events: list[JobEvent] = []
        self.followers: set[Waiter] = set()
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


class JobEvents:
    """Turns the job channel into one `Waiter` for each who waits for a job or follows it.

    After a reconnect, a moment later, and at shutdown, everybody is woken.
    """

    def __init__(self, redis: Redis, outage: Outage | None = None) -> None:
        self._redis = redis
        self._outage = outage or Outage("redis", "")
        self._waiters: defaultdict[UUID, set[Waiter]] = defaultdict(set)
        self._feeds: dict[UUID, Feed] = {}
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

    def watch(self, job_id: UUID, *, for_end: bool = False) -> "Watch":
        """A waiter that is set whenever the job may have changed, or ended. Enter it *before* reading the job."""
        return Watch(self._waiters, job_id, Waiter(for_end=for_end))

    @asynccontextmanager
    async def follow(self, job_id: UUID) -> AsyncIterator[tuple[Waiter, Feed]]:
        """`watch`, and the job's events; the waiter is set for either."""
        async with self.watch(job_id) as waiter:
            feed = self._feeds.setdefault(job_id, Feed(job_id))
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

    async def read(self, feed: Feed) -> None:
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

    def _read(self, feed: Feed | None) -> None:
        if feed:
            task = asyncio.create_task(feed.read(self._redis))
            self._reads.add(task)
            task.add_done_callback(self._reads.discard)


class Telling:
    """Tells what one attempt does, while it does it. Words are gathered for 50 ms, the first go out at once.

    Whoever comes late, or finds Redis away, is told from SQL: nothing here waits, and nothing here fails.
    """

    def __init__(self, redis: Redis, job_id: UUID, attempt: int) -> None:
        self._redis = redis
        self._job_id = job_id
        self._attempt = attempt
        self._number = 0
        self._offset = 0
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        self._more = asyncio.Event()
        self._sending = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Send what is left."""
        if self._task:
            async with self._sending:
                self._task.cancel()  # not while it sends: what it has taken would be lost
            await end(self._task)
        await self._send()

    async def flush(self) -> None:
        """Send what is left before the job's end is told; a Redis that is away is not waited for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._send()

    def reset(self) -> None:
        """The reply begins anew."""
        self._offset = 0
        self._tell("reset", {})

    def text(self, piece: str) -> None:
        """The reply goes on; `piece` is no more and no less than what will be saved."""
        if self._waiting and self._waiting[-1][0] == "delta":
            self._waiting[-1][1]["text"] += piece
        else:
            self._tell("delta", {"offset": self._offset, "text": piece})
        self._offset += len(piece)

    def audio(self, index: int, text: str, duration_s: float) -> None:
        """A sentence's sound is saved; sentences are counted from 1."""
        self._tell("audio", {"index": index, "text": text, "duration_s": round(duration_s, 3)})

    def _tell(self, name: str, data: dict[str, Any]) -> None:
        self._waiting.append((name, data))
        self._more.set()
        self._task = self._task or asyncio.create_task(self._go_on())

    async def _go_on(self) -> None:
        while True:
            await self._more.wait()
            await self._send()
            await asyncio.sleep(BATCH_S)

    async def _send(self) -> None:
        async with self._sending:
            waiting, self._waiting = self._waiting, []
            self._more.clear()
            if waiting:
                first = self._number + 1
                self._number += len(waiting)
                events = [JobEvent(EventId(self._attempt, first + n), *told) for n, told in enumerate(waiting)]
                await _publish(self._redis, self._job_id, events)


async def _publish(redis: Redis, job_id: UUID, events: Sequence[JobEvent]) -> None:
    """Add events to the job's stream, in one round trip; Redis refuses those of an attempt that has been overtaken."""
    key = f"{STREAM}{job_id}"
    try:
        async with redis.pipeline(transaction=False) as pipe:
            for event in events:
                fields: dict[Any, Any] = {"name": event.name, "data": json.dumps(event.data)}
                pipe.xadd(key, fields, id=str(event.id), maxlen=MOST_EVENTS)
            pipe.expire(key, KEPT_S)
            pipe.publish(JOB_CHANNEL, str(job_id).encode() + TOLD)
            await pipe.execute()
    except (RedisError, OSError) as error:
        log.debug("events.not_told", error=type(error).__name__)
