"""A worker without its queue."""

from collections.abc import AsyncIterator

import pytest

from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.redis.queue import Queue, open_redis
from worker.context import WorkerContext, open_worker


@pytest.fixture
async def worker(settings: Settings, audio_pool: AudioPool) -> AsyncIterator[WorkerContext]:
    """A worker that takes only what it is given."""
    queue = Queue(open_redis(settings.redis_url.get_secret_value() if settings.redis_url else None))
    async with open_worker(settings, queue, audio_pool) as opened:
        yield opened
    await queue.close()
