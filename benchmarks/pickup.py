"""From the commit of a submit until its job has started, in an idle Parley, beside arq as it comes (poll 0.5 s).

Parley's commit is the moment that PostgreSQL kept for the submit's transaction, its start the `started_at` that the
worker's claim wrote: both by the database's clock, so what lies between holds the dispatch, the wake, the poll of the
queue and the way of the claim to SQL, after the first line of our own. arq's job is timed from the return of its
`enqueue_job` to its first line. The two are asked in turn, at random moments, on the same Redis.
"""

import asyncio
import random
import time
from contextlib import ExitStack
from uuid import uuid4

from arq.connections import RedisSettings, create_pool

from benchmarks.client import API, Connection, request, sessions, text_of
from benchmarks.figures import Row, latency, main
from benchmarks.parley import Databases, Parley, databases, folder, model_server, on_postgres
from benchmarks.peers.stock_arq import QUEUE, STARTED
from tests.processes import running

P50_MS, P95_MS, TIMES_FASTER = 5, 15, 40
PAUSE_S = (0.1, 0.6)
WARM = 5
DONE_S = 2.0
# the row of the submit's Idempotency-Key is never updated: its xmin is the submit's transaction
TOOK = """
    SELECT extract(epoch FROM job.started_at - pg_xact_commit_timestamp(idempotency_key.xmin)) AS took_s
    FROM job JOIN idempotency_key ON idempotency_key.resource_id = job.id ORDER BY job.created_at
"""


async def measure(quick: bool) -> list[Row]:  # noqa: FBT001 - as every question is asked
    """Parley and stock arq in turn."""
    number = 10 if quick else 120
    with ExitStack() as stack:
        home = stack.enter_context(folder())
        postgres = stack.enter_context(databases("postgresql"))
        await _keep_commit_times(postgres)
        model_url = stack.enter_context(model_server())
        parley = stack.enter_context(Parley(home, await postgres.new(), model_url))
        parley.start_api()
        parley.start_worker()
        command = ["-m", "arq", "benchmarks.peers.stock_arq.WorkerSettings"]
        stack.enter_context(running(*command, log=home / "arq.log", env={"REDIS_URL": parley.redis.url}))
        arq_s = await _submit_in_turn(parley, number)
        rows = await on_postgres(parley.database_url, TOOK)
    assert len(rows) == number, f"{len(rows)} of {number} jobs started"
    ours, arq = latency([float(row["took_s"]) for row in rows[WARM:]]), latency(arq_s[WARM:])
    question = "commit of a submit → its job has started, idle"
    return [
        Row(f"{question}: p50", 1_000 * ours.p50, P50_MS, "ms", beside=f"{ours}"),
        Row(f"{question}: p95", 1_000 * ours.p95, P95_MS, "ms"),
        Row(f"{question}: times faster than stock arq, p50", arq.p50 / ours.p50, TIMES_FASTER,
            at_least=True, beside=f"arq {arq}"),
    ]  # fmt: skip


async def _keep_commit_times(postgres: Databases) -> None:
    assert postgres.server
    await on_postgres(f"{postgres.server.url}/postgres", "ALTER SYSTEM SET track_commit_timestamp = on")
    postgres.server.stop()
    postgres.server.start()


async def _submit_in_turn(parley: Parley, number: int) -> list[float]:
    arq = await create_pool(RedisSettings.from_dsn(parley.redis.url), default_queue_name=QUEUE)
    enqueued = []
    (session_id,) = await sessions(parley.port, 1)
    async with Connection(parley.port) as client:
        for one in range(number):
            submit = request("POST", f"{API}/message/text", text_of(session_id), idempotency_key=str(uuid4()))
            answer = await client.send(submit)
            assert answer.status == 202, answer.body
            await asyncio.sleep(random.uniform(*PAUSE_S))
            assert await arq.enqueue_job("note", one)
            enqueued.append(time.time())
            await asyncio.sleep(random.uniform(*PAUSE_S))
    await asyncio.sleep(DONE_S)
    started = [float(await arq.hget(STARTED, str(one))) for one in range(number)]  # type: ignore[misc]  # as redis types it
    await arq.aclose()
    return [start - ready for start, ready in zip(started, enqueued, strict=True)]


if __name__ == "__main__":
    main(measure, __doc__)
