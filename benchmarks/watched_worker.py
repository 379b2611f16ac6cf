"""`python -m benchmarks.watched_worker`: a worker, and in its event loop one task more that notes how late the loop is.

When it is stopped it leaves in `LAG_FILE` one line for each step: the moment, by the machine's monotonic clock, and how
many seconds late the loop was for it. A loop that is blocked for long is late for every step that it missed.
"""

import asyncio
import os
import time
from pathlib import Path

from shared.config import Settings, get_settings
from shared.process.cancellation import end
from shared.process.logging import setup_logging
from shared.process.run import run
from shared.process.stop_signals import stop_on_signals
from shared.redis.queue import Queue, open_redis
from worker.main import serve

STEP_S = 0.01


async def watch(late: list[tuple[float, float]]) -> None:
    """Note lateness until cancelled."""
    due = time.monotonic()
    while True:
        due += STEP_S
        await asyncio.sleep(due - time.monotonic())
        while due < (now := time.monotonic()):
            late.append((due, now - due))
            due += STEP_S


async def _serve(settings: Settings) -> None:
    queue = Queue(open_redis(settings.redis_url.get_secret_value() if settings.redis_url else None))
    late: list[tuple[float, float]] = []
    watching = asyncio.create_task(watch(late))
    try:
        await serve(settings, queue, stopping=stop_on_signals())
    finally:
        await end(watching)
        await queue.close()
    lines = [f"{due} {late_s}\n" for due, late_s in late]
    await asyncio.to_thread(Path(os.environ["LAG_FILE"]).write_text, "".join(lines))


if __name__ == "__main__":
    setup_logging(get_settings())
    run(_serve(get_settings()))
