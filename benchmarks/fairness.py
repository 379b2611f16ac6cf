"""How long a second user's turn waits behind 160 turns of a first one, on 40 places of two workers.

All places are the first user's when the second one submits, at moments that are spread over a job's time; the figure
is the longest of its waits from submit to start, by the database's clock, in times of one job. And what a claim costs:
the choice of whose job is next, with 100,000 jobs of one account and 10,000 accounts queued, beside a queue of ten.
"""

import asyncio
import statistics
import time
from contextlib import ExitStack
from datetime import datetime
from uuid import uuid4

from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.client import API, Answer, Connection, text_of
from benchmarks.figures import Row, latency, main
from benchmarks.fill import Fill
from benchmarks.parley import KINDS, NAMES, Kind, databases, parley
from shared.models import LOCAL_USER_ID, Job, Session, User
from shared.services import fairness
from shared.sql.database import Database
from tests.factories import make_job

LIMIT, CLAIM_LIMIT = 1.5, 2.0
WORKERS, PLACES = 2, 20
QUEUED = 160
PASSWORD = "correct horse battery"  # noqa: S105 - of nobody


async def measure(quick: bool) -> list[Row]:  # noqa: FBT001 - as every question is asked
    """On both databases."""
    rows = []
    for kind in KINDS:
        rows += [await _waits(kind, turns=2 if quick else 6), await _claims(kind, 1_000 if quick else 100_000)]
    return rows


async def _waits(kind: Kind, turns: int) -> Row:
    think_s = 2.0
    limits = {"USER_JOBS_AT_A_TIME": "1000", "USER_REQUESTS_PER_MINUTE": "100000"}
    limits |= {"AUTH": "on", "REGISTRATION": "open", "WORKER_CONCURRENCY": str(PLACES)}
    async with (
        parley(kind, f"--think-s={think_s}", workers=WORKERS, **limits) as whole,
        Connection(whole.port) as client,
    ):
        first, second = await _account(client, "first"), await _account(client, "second")
        queued = QUEUED + turns * PLACES * WORKERS * 2
        mine, theirs = await _sessions(client, first, queued), await _sessions(client, second, turns)
        for session in mine:
            await _say(client, first, session)
        while await _number(client, first, "running") < PLACES * WORKERS:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
        waits, took = [], []
        for number, session in enumerate(theirs):
            await asyncio.sleep(think_s * number / turns)
            done = (await _say(client, second, session, prefer="wait=60")).json
            waits.append(_seconds(done["created_at"], done["started_at"]))
            took.append(_seconds(done["started_at"], done["finished_at"]))
        assert await _number(client, first, "queued"), "the first had not enough"
    longest, job_s = max(waits), statistics.median(took)
    question = f"a second user's turn behind {QUEUED} of a first on {PLACES * WORKERS} places, {NAMES[kind]}"
    beside = f"longest {longest:.2f} s, median {statistics.median(waits):.2f}; a job {job_s:.2f} s"
    return Row(f"{question}: its wait in times of one job", longest / job_s, LIMIT, beside=beside)


async def _account(client: Connection, name: str) -> dict[str, str]:
    body = {"username": name, "password": PASSWORD}
    await client.post(f"{API}/auth/register", body)
    token = (await client.post(f"{API}/auth/login", body)).json["access_token"]
    return {"authorization": f"Bearer {token}"}


async def _sessions(client: Connection, account: dict[str, str], number: int) -> list[str]:
    agent = (await client.post(f"{API}/agent", {"name": "Guide", "language": "en"}, **account)).json["id"]
    return [(await client.post(f"{API}/session", {"agent_id": agent}, **account)).json["id"] for _ in range(number)]


async def _say(client: Connection, account: dict[str, str], session_id: str, **headers: str) -> Answer:
    return await client.post(f"{API}/message/text", text_of(session_id), **account, **headers)


async def _number(client: Connection, account: dict[str, str], status: str) -> int:
    return len((await client.get(f"{API}/job?status={status}&limit=100", **account)).json["items"])


def _seconds(begun: str, ended: str) -> float:
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds()


async def _claims(kind: Kind, queued: int) -> Row:
    """Choices on a full queue and on one that is next to empty, in turn."""
    with ExitStack() as stack:
        resources = stack.enter_context(databases(kind))
        few = await _queue(await resources.new("few"), 9, 1)
        full = await _queue(await resources.new("crowded"), queued, queued // 10)
        took: dict[Database, list[float]] = {few: [], full: []}
        for _ in range(220):
            for database, times in took.items():
                async with database.write() as db:
                    began = time.perf_counter()
                    assert await fairness.choose(db, number=1, worker_id=uuid4())
                    times.append(time.perf_counter() - began)
        for database in took:
            await database.close()
    slow, fast = latency(took[full][20:]), latency(took[few][20:])
    question = f"whose job is next with {queued:,} jobs of one account and {queued // 10:,} accounts queued"
    return Row(f"{question}, {NAMES[kind]}, beside ten jobs: p50", slow.p50 / fast.p50, CLAIM_LIMIT,
               beside=f"{slow}; ten jobs {fast}")  # fmt: skip


async def _queue(url: str, jobs: int, accounts: int) -> Database:
    """A database where so many jobs of one account wait, and one each of others; copies of a real one."""
    database = Database(url)
    async with database.write() as db:
        job = await make_job(db)
    fill = Fill(create_async_engine(url))
    like = f"id = {fill.literal(str(job.id))}"
    everybody = range(1, jobs + accounts)
    await fill.copy(User, f"id = {fill.literal(str(LOCAL_USER_ID))}", everybody[jobs - 1 :], username="'user-' || n")
    await fill.copy(Session, f"id = {fill.literal(str(job.session_id))}", everybody)
    its = {"session_id": fill.id_of(Session, "n"), "leads_since": "NULL"}
    await fill.copy(Job, like, everybody[: jobs - 1], **its)
    its |= {"owner_id": fill.id_of(User, "n"), "leads_since": "old.waits_since"}
    await fill.copy(Job, like, everybody[jobs - 1 :], **its)
    await fill.engine.dispose()
    return database


if __name__ == "__main__":
    main(measure, __doc__)
