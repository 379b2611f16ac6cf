"""Redis restarted, wiped and paused under load: it only wakes, so nobody notices but by the seconds that it was away."""

import asyncio
import signal
from random import Random

from redis.asyncio import Redis

from shared.redis.queue import QUEUE
from tests.fakes.openai_script import Answer
from tests.faults.checker import check
from tests.faults.conftest import SEEDS
from tests.faults.deployment import Deployment
from tests.faults.stream import ANSWERED_S, Stream, slowest
from tests.faults.waiting import until

FLOWING_S = 10.0
PAUSE_S = 30.0 if SEEDS > 1 else 6.0  # either is longer than every timeout
DRAINED_S = 10 * PAUSE_S
WIPES = 3


async def restart(parley: Deployment, stream: Stream, chance: Random) -> None:
    """It comes back empty."""
    await asyncio.to_thread(parley.redis.stop, chance.choice((signal.SIGTERM, signal.SIGKILL)))
    await stream.accepted(chance.randint(3, 30))
    await asyncio.to_thread(parley.redis.start)


async def wipe(parley: Deployment, stream: Stream, chance: Random) -> None:
    """Whatever waits on the queue is lost."""
    async with Redis.from_url(parley.redis.url) as redis:
        for _ in range(WIPES):
            await stream.accepted(chance.randint(1, 5))
            await until(lambda: redis.zcard(QUEUE), "an entry waits on the queue")
            await redis.flushall()


async def pause(parley: Deployment, stream: Stream, chance: Random) -> None:
    """It answers nobody, and hangs up on nobody."""
    parley.redis.stall()
    await asyncio.gather(asyncio.sleep(PAUSE_S), stream.accepted(chance.randint(3, 10)))
    parley.redis.resume()


async def test_away_wiped_or_hanging_it_costs_no_message_no_call_and_no_worker(
    parley: Deployment, chance: Random
) -> None:
    parley.env["WORKER_CONCURRENCY"] = "1"  # so that entries wait
    parley.model.always("chat", Answer(delay_s=0.05))
    api, *workers = await asyncio.gather(parley.start_api(), parley.start_worker(), parley.start_worker())
    async with Stream(parley, chance) as stream:
        for fault in chance.sample((restart, wipe, pause), 3):
            await fault(parley, stream, chance)
            assert await stream.flows() < FLOWING_S, fault.__name__
    history = await parley.ended(within=DRAINED_S)
    check(history)
    assert all(process.alive for process in (api, *workers))
    assert {answer.status for answer in stream.told("submit")} == {202}
    assert {answer.status for answer in stream.told("poll")} == {200}
    assert slowest(stream.answers) < ANSWERED_S
    asked = [(call.topic, call.step) for call in history.calls]
    assert len(asked) == len(set(asked))
