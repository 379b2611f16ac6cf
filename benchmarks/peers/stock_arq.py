"""arq as it comes: `arq benchmarks.peers.stock_arq.WorkerSettings`; its one job notes when it started."""

import os
import time
from typing import Any, ClassVar

from arq.connections import RedisSettings

STARTED = "started"
QUEUE = "stock:queue"


async def note(ctx: dict[str, Any], number: int) -> None:
    """The job: its first line reads the clock."""
    now = time.time()
    await ctx["redis"].hset(STARTED, str(number), str(now))


class WorkerSettings:
    """Only what has no default."""

    functions: ClassVar = [note]
    queue_name = QUEUE
    redis_settings = RedisSettings.from_dsn(os.environ.get("REDIS_URL", "redis://127.0.0.1"))
