"""10,000 clients that wait (`Prefer: wait`) on one API process: what each costs it, and how soon all of them are woken.

Once each waits for a job of its own, and all of these are ended by one transaction through Parley's own committer: the
clock runs from its commit until the last client has its answer. Once all wait for one job, which is then cancelled
over HTTP: from that request until the last answer. Memory is what the API process grew by, for each that still waits.
"""

import asyncio
import math
import time
from collections import Counter
from contextlib import ExitStack
from typing import NamedTuple
from uuid import UUID

import psutil  # type: ignore[import-untyped] # it has no types
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.client import API, Answer, Connection, request, sessions, text_of
from benchmarks.figures import Row, main
from benchmarks.fill import Fill, copied_id
from benchmarks.parley import Parley, databases, folder, memory_mb
from shared.models import Job, Message, Session
from shared.redis.queue import Queue, open_redis
from shared.sql.database import Database
from shared.sql.effects import Effect, JobChanged, after_commit

KB, WOKEN_S = 30, 3
AT_A_TIME = 100
CALM_S, CALM = 0.25, 4
SETTLE_S = 20.0
END = """
    UPDATE job SET status = 'cancelled', finished_at = clock_timestamp(), version = version + 1 WHERE status = 'queued'
"""


class Woken(NamedTuple):
    """Seconds until all of them were, and what went wrong."""

    took_s: float
    told: str


async def measure(quick: bool) -> list[Row]:  # noqa: FBT001 - as every question is asked
    """Each for its own job, then all for one."""
    number = 300 if quick else 10_000
    with ExitStack() as stack:
        url = await stack.enter_context(databases("postgresql")).new()
        parley = stack.enter_context(Parley(stack.enter_context(folder()), url))
        pid = parley.start_api().pid
        one_job = await _submit(parley)
        jobs = await _more_jobs(url, one_job, number)
        queue = Queue(open_redis(parley.redis.url))
        began = 0.0

        async def tell(effects: list[Effect]) -> None:
            nonlocal began
            began = time.perf_counter()
            await queue.after_commit(effects)

        before = memory_mb(pid)[0]
        clients, answers = await _wait(parley, jobs)
        still = sum(not answer.done() for answer in answers)
        kb = 1_000 * (memory_mb(pid)[0] - before) / still if still else math.inf
        database = Database(url, tell)
        async with database.write() as db:
            await (await db.connection()).execute(text(END))
            for job_id in jobs:
                after_commit(db, JobChanged(UUID(job_id), ended=True))
        own = await _woken(clients, answers, began)
        await database.close()
        await queue.close()
        one_job = await _submit(parley)
        clients, answers = await _wait(parley, [one_job] * number)
        async with Connection(parley.port) as client:
            began = time.perf_counter()
            await client.send(
                request("POST", f"{API}/job/{one_job}/cancel")
            )  # what the others are told shows if it was
        same = await _woken(clients, answers, began)
    question = f"{number:,} clients waiting on one api process"
    return [
        Row(f"{question}: memory each", kb, KB, "kB", beside=f"{still:,} of them were waiting when it was measured"),
        Row(f"{question}: all woken, each by a job of its own", own.took_s, WOKEN_S, "s", beside=own.told),
        Row(f"{question}: all woken, by one job", same.took_s, WOKEN_S, "s", beside=same.told),
    ]


async def _submit(parley: Parley) -> str:
    (session_id,) = await sessions(parley.port, 1)
    async with Connection(parley.port) as client:
        return str((await client.post(f"{API}/message/text", text_of(session_id))).json["id"])


async def _more_jobs(url: str, job_id: str, number: int) -> list[str]:
    fill = Fill(create_async_engine(url))
    session, job = fill.id_of(Session, "n"), fill.id_of(Job, "n")
    of_job = f"job_id = {fill.literal(job_id)}"
    its_session = f"id = (SELECT session_id FROM job WHERE id = {fill.literal(job_id)})"
    await fill.copy(Session, its_session, range(number))
    await fill.copy(Job, f"id = {fill.literal(job_id)}", range(number), session_id=session)
    await fill.copy(Message, of_job, range(number), session_id=session, job_id=job)
    await fill.run("ANALYZE")
    await fill.engine.dispose()
    return [copied_id(Job, one) for one in range(number)]


async def _wait(parley: Parley, jobs: list[str]) -> tuple[list[Connection], list[asyncio.Task[Answer]]]:
    """One client a job, and the answers that they wait for; returns when the API has become calm again.

    They come as fast as it takes them: after each few, one more that does not wait is answered first.
    """
    clients: list[Connection] = []
    answers: list[asyncio.Task[Answer]] = []
    async with Connection(parley.port) as probe:
        for start in range(0, len(jobs), AT_A_TIME):
            some = jobs[start : start + AT_A_TIME]
            opened = await asyncio.gather(*[Connection(parley.port).__aenter__() for _ in some])
            waits = [request("GET", f"{API}/job/{job_id}", prefer="wait=60") for job_id in some]
            answers += [asyncio.create_task(client.send(one)) for client, one in zip(opened, waits, strict=True)]
            clients += opened
            await asyncio.sleep(0)
            await probe.send(request("GET", f"{API}/job/{jobs[0]}"))
    api = psutil.Process(parley.processes[0].pid)
    calm, until = 0, time.perf_counter() + SETTLE_S
    while calm < CALM and time.perf_counter() < until:
        before = sum(api.cpu_times()[:2])
        await asyncio.sleep(CALM_S)
        calm = calm + 1 if sum(api.cpu_times()[:2]) - before < CALM_S / 5 else 0
    return clients, answers


async def _woken(clients: list[Connection], answers: list[asyncio.Task[Answer]], began: float) -> Woken:
    """Wait until all have an answer; without limit when some were told something else than that the job has ended."""
    came = await asyncio.gather(*answers)
    took_s = time.perf_counter() - began
    told = Counter(str(answer.json["status"]) for answer in came)
    for client in clients:
        await client.__aexit__()
    others = {what: number for what, number in told.items() if what != "cancelled"}
    if not others:
        return Woken(took_s, "")
    return Woken(math.inf, f"after {took_s:.1f} s {told['cancelled']:,} rightly, of the others {others}")


if __name__ == "__main__":
    main(measure, __doc__)
