"""What one worker stands on: the one typed object in arq's `ctx`."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from uuid_utils.compat import uuid7

from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.redis.queue import Queue
from shared.redis.rate_limits import RateLimits
from shared.sql.database import Database
from shared.storage import Storage
from shared.user_limits import UserLimits
from worker.batches import ClaimBatcher, ReplyBatcher
from worker.providers.circuits import Circuits
from worker.providers.registry import Models


@dataclass(frozen=True)
class WorkerContext:
    """SQL, the queue, the blobs, the models, and the processes that work on audio."""

    settings: Settings
    database: Database
    queue: Queue
    blobs: Storage
    audio: AudioPool
    models: Models
    id: UUID
    claims: ClaimBatcher
    replies: ReplyBatcher
    limits: UserLimits
    circuits: Circuits
    due: asyncio.Event = field(default_factory=asyncio.Event)  # wakes the reconciler: a retry's time has come
    closing: asyncio.Event = field(default_factory=asyncio.Event)  # its loops end their round, and no more
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)


@asynccontextmanager
async def open_worker(
    settings: Settings,
    queue: Queue,
    audio: AudioPool | None = None,
    database: Database | None = None,
    limits: RateLimits | None = None,
) -> AsyncIterator[WorkerContext]:
    """Open what the settings name, but for what the caller shares with others and closes itself."""
    models = Models(settings)
    own_database = database or Database(settings.embedded_database_url, queue.after_commit)
    pool = audio or AudioPool()
    worker_id = uuid7()
    history = settings.max_chat_history_context - 1
    fair = settings.auth == "on"  # else all jobs are one account's
    claims = ClaimBatcher(own_database, worker_id=worker_id, lease_s=settings.lease_s, history=history, fair=fair)
    blobs, replies = Storage(settings.embedded_blob_url), ReplyBatcher(own_database)
    own_limits = limits or RateLimits(settings.redis_url.get_secret_value() if settings.redis_url else None)
    users = UserLimits(own_limits)
    circuits = Circuits(patience_s=settings.connect_timeout_s + settings.first_byte_timeout_s)
    try:
        yield WorkerContext(
            settings, own_database, queue, blobs, pool, models, worker_id, claims, replies, users, circuits
        )
    finally:
        await models.close()
        if limits is None:
            await own_limits.close()
        if audio is None:
            await pool.close()
        if database is None:
            await own_database.close()
