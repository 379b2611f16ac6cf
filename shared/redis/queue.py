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
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from shared.errors import Unavailable
from shared.process.outage import Outage, first_line
from shared.sql.effects import AccessChanged, Dispatch, Effect, JobChanged

TASK = "run_job"
QUEUE = "parley:queue"
WAKE_CHANNEL = "parley:wake"
JOB_CHANNEL = "parley:job"
ACCESS_CHANNEL = "parley:access"
ENDED = b"!"  # behind a job's id on that channel
QUEUE_S = 86_400  # an entry that nobody took for a day is dropped; the reconciler sends it again
AWAY_S = 2.0  # how long a command waits before Redis counts as away
PASS_BY_S = 1.0  # how long a Redis that was away is not asked again
CHECK_KEY = "parley:check"
CHECK_MS = 1_000
AWAY, PASSWORD, DENYING = "away", "refusing the password", "denying the user what Parley needs"
STATES = {
    AuthenticationError: PASSWORD,
    AuthenticationWrongNumberOfArgsError: PASSWORD,
    NoPermissionError: DENYING,
    OutOfMemoryError: "full",
    ReadOnlyError: "a read-only replica",
    ResponseError: "refusing writes",
}
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
        self.where = _where(redis)
        self.outage = Outage("redis", self.where)
        self._away_until = 0.0

    async def close(self) -> None:
        """Close every connection."""
        await self.redis.aclose(close_connection_pool=True)

    async def check(self) -> None:
        """Do what a dispatch needs, and leave nothing behind. Raises Unavailable."""
        try:
            async with self.redis.pipeline(transaction=False) as pipe:
                pipe.psetex(CHECK_KEY, CHECK_MS, b"")
                pipe.delete(CHECK_KEY)
                await pipe.execute()
        except (RedisError, OSError) as error:
            raise self.failed(error) from error
        self.outage.worked(write=True)

    def failed(self, error: RedisError | OSError) -> Unavailable:
        """Note that Redis could not be used, and say what it is."""
        state, why = redis_state(error), first_line(error).rpartition(" caused error: ")[2]  # a pipeline's own words
        self.outage.failed(why, only_writes=state != AWAY)
        return Unavailable("The queue is away. Try again.").because(state, why, is_lasting=state in {PASSWORD, DENYING})

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
            self.failed(error)
            log.debug("queue.not_told", effects=len(effects), error=type(error).__name__)
        else:
            self.outage.worked(write=True)


def redis_state(error: RedisError | OSError) -> str:
    """What a Redis that fails is, in some words."""
    if "MISCONF" in str(error):
        return "not able to save to its disk"
    return next((state for kind, state in STATES.items() if isinstance(error, kind)), AWAY)


def _where(redis: ArqRedis) -> str:
    known = redis.connection_pool.connection_kwargs
    if "server" in known:
        return "in this process"
    return str(known.get("path") or f"{known.get('host', 'localhost')}:{known.get('port', 6379)}")


def _dispatch(pipe: Any, job: Dispatch) -> None:
    """Put one job on the queue; putting it again under the same number changes nothing."""
    entry_id = f"{job.job_id}:{job.dispatch_no}"
    now = timestamp_ms()
    entry = serialize_job(TASK, (str(job.job_id),), {}, None, now, serializer=to_json)
    pipe.psetex(job_key_prefix + entry_id, QUEUE_S * 1_000, entry)
    pipe.zadd(QUEUE, {entry_id: now - EARLY_MS}, nx=True)
