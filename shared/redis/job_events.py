"""What happens to jobs, told over Redis: wakes on one channel, and each job's own events in a stream of its own.

One subscription per process wakes whoever waits for a job or follows it. Nothing here is the truth: a wake says "look
again in SQL", and events that were lost are made up for from there.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Self
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.process.cancellation import end
from shared.redis.queue import JOB_CHANNEL

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


class JobPublisher:
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
