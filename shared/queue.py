"""The queue: the only file that knows arq's client. An entry carries one job id, as JSON, and nothing else."""

import asyncio
import json
from typing import Any

import structlog
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from arq.jobs import serialize_job
from arq.utils import timestamp_ms
from fakeredis import FakeServer
from fakeredis.aioredis import FakeAsyncRedisConnection
from redis.asyncio import BlockingConnectionPool, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from shared.db import AccessChanged, Dispatch, Effect, JobChanged

TASK = "run_job"
QUEUE = "parley:queue"
WAKE_CHANNEL = "parley:wake"
JOB_CHANNEL = "parley:job"
ACCESS_CHANNEL = "parley:access"
ENDED = b"!"  # behind a job's id on that channel
QUEUE_S = 86_400  # an entry that nobody took for a day is dropped; the reconciler sends it again
AWAY_S = 2.0  # how long a command waits before Redis counts as away
PASS_BY_S = 1.0  # how long a Redis that was away is not asked again
EARLY_MS = 86_400_000  # no host's clock decides: one that is ahead would hide its jobs until then

log = structlog.get_logger(__name__)


def to_json(value: Any) -> bytes:
    """Serialize a queue entry; never pickle."""
    return json.dumps(value, default=repr).encode()


def open_redis(url: str | None) -> ArqRedis:
    """Connect lazily to `url`, or make the in-process queue of standalone when there is none."""
    if url is None:
        pool: ConnectionPool = ConnectionPool(connection_class=FakeAsyncRedisConnection, server=FakeServer())
    else:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=50,
            timeout=AWAY_S,
            socket_connect_timeout=AWAY_S,
            socket_timeout=AWAY_S,
            retry=Retry(NoBackoff(), 1),
        )
    return ArqRedis(pool_or_conn=pool, job_serializer=to_json, job_deserializer=json.loads, default_queue_name=QUEUE)


class Queue:
    """Runs the after-commit list against Redis: one pipeline, one round trip."""

    def __init__(self, redis: ArqRedis) -> None:
        self.redis = redis
        self._away_until = 0.0

    async def close(self) -> None:
        """Close every connection."""
        await self.redis.aclose(close_connection_pool=True)

    async def after_commit(self, effects: list[Effect]) -> None:
        """Dispatch and tell. Redis away is logged, not raised: the rows are safe, the reconciler sends them.

        For a moment after that nobody else waits for it.
        """
        clock = asyncio.get_running_loop()
        if clock.time() < self._away_until:
            return
        told = dict.fromkeys(effects)
        try:
            async with self.redis.pipeline(transaction=False) as pipe:
                for effect in told:
                    match effect:
                        case Dispatch():
                            _dispatch(pipe, effect)
                        case JobChanged(job_id, ended) if ended or JobChanged(job_id, ended=True) not in told:
                            pipe.publish(JOB_CHANNEL, str(job_id).encode() + (ENDED if ended else b""))
                        case AccessChanged(user_id):
                            pipe.publish(ACCESS_CHANNEL, str(user_id))
                if any(isinstance(effect, Dispatch) for effect in told):
                    pipe.publish(WAKE_CHANNEL, b"")
                await pipe.execute()
        except (RedisError, OSError) as error:
            self._away_until = clock.time() + PASS_BY_S
            log.warning("queue.unreachable", effects=len(effects), error=type(error).__name__)


def _dispatch(pipe: Any, job: Dispatch) -> None:
    """Put one job on the queue; putting it again under the same number changes nothing."""
    entry_id = f"{job.job_id}:{job.dispatch_no}"
    now = timestamp_ms()
    entry = serialize_job(TASK, (str(job.job_id),), {}, None, now, serializer=to_json)
    pipe.psetex(job_key_prefix + entry_id, QUEUE_S * 1_000, entry)
    pipe.zadd(QUEUE, {entry_id: now - EARLY_MS}, nx=True)
