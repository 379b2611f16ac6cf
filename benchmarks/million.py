"""Submits and polls of a Parley with 1,000,000 messages and 10,000 queued jobs, beside one that has next to nothing.

The full one holds 5,000 sessions of 100 finished turns each, with their jobs, steps and usage: copies of a real turn.
Each submit goes to a session of its own with nothing queued, is polled once, and is followed by the same at the empty
Parley, so that the two share all noise. No worker runs.
"""

import math
from contextlib import ExitStack
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.answer import waited
from benchmarks.client import API, Connection, request, sessions, text_of
from benchmarks.figures import Row, latency, main
from benchmarks.fill import Fill, copied_id
from benchmarks.parley import KINDS, NAMES, Kind, Parley, databases, folder, model_server, on_postgres
from shared.models import Job, Message, Session, Step, Usage
from shared.redis.queue import Queue, open_redis
from shared.sql.effects import Dispatch

LIMIT = 1.2
WARM = 20


class Size(NamedTuple):
    """How full: finished turns of each session, sessions, queued jobs; and how many sessions are submitted to."""

    turns: int
    sessions: int
    queued: int
    measured: int

    @property
    def messages(self) -> int:
        """Of the finished turns."""
        return 2 * self.turns * self.sessions

    @property
    def busy(self) -> int:
        """The sessions, from the first on, that have something queued."""
        return self.sessions - self.measured


FULL = Size(turns=100, sessions=5_000, queued=10_000, measured=1_000)
QUICK = Size(turns=20, sessions=120, queued=200, measured=60)


async def measure(quick: bool) -> list[Row]:  # noqa: FBT001 - as every question is asked
    """On both databases."""
    return [row for kind in KINDS for row in await _measure(kind, QUICK if quick else FULL)]


async def _measure(kind: Kind, size: Size) -> list[Row]:
    with ExitStack() as stack:
        resources = stack.enter_context(databases(kind))
        full_url, empty_url = await resources.new(), await resources.new("empty")
        model_url = stack.enter_context(model_server())
        full = stack.enter_context(Parley(stack.enter_context(folder()), full_url, model_url))
        empty = stack.enter_context(Parley(stack.enter_context(folder()), empty_url, model_url))
        await _fill(full, size)
        full.start_api()
        empty.start_api()
        took = await _in_turn(full.port, empty.port, size)
    rows = []
    for what in ("submit", "poll"):
        slow, fast = latency(took[f"{what} full"][WARM:]), latency(took[f"{what} empty"][WARM:])
        holds = f"{size.messages:,} messages and {size.queued:,} queued"
        question = f"{what} with {holds}, {NAMES[kind]}, beside empty: p50"
        rows.append(Row(question, slow.p50 / fast.p50, LIMIT, beside=f"{slow}; empty {fast}"))
    return rows


async def _in_turn(full: int, empty: int, size: Size) -> dict[str, list[float]]:
    of_full = [copied_id(Session, one) for one in range(size.busy, size.sessions)]
    of_empty = await sessions(empty, size.measured)
    took: dict[str, list[float]] = {"submit full": [], "submit empty": [], "poll full": [], "poll empty": []}
    async with Connection(full) as to_full, Connection(empty) as to_empty:
        for pair in zip(of_full, of_empty, strict=True):
            for name, client, session_id in zip(("full", "empty"), (to_full, to_empty), pair, strict=True):
                accepted = await client.send(request("POST", f"{API}/message/text", text_of(session_id)))
                assert accepted.status == 202, accepted.body
                took[f"submit {name}"].append(accepted.took_s)
                took[f"poll {name}"].append((await client.get(f"{API}/job/{accepted.json['id']}")).took_s)
    return took


async def _fill(full: Parley, size: Size) -> None:
    """A finished and a queued turn, made as clients make them, and then copied."""
    api = full.start_api()
    worker = full.start_worker()
    done_session, queued_session = await sessions(full.port, 2)
    async with Connection(full.port) as client:
        await waited(client, done_session)
        done = (await client.get(f"{API}/job")).json["items"][0]["id"]
        worker.stop()
        queued = (await client.post(f"{API}/message/text", text_of(queued_session))).json["id"]
    api.stop()
    fill = Fill(create_async_engine(full.database_url))
    waiting = f"CASE WHEN n < {size.busy} THEN {2 * math.ceil(size.queued / size.busy)} ELSE 0 END"
    next_seq = f"{2 * size.turns} + {waiting} + 1"
    await fill.copy(Session, f"id = {fill.literal(done_session)}", range(size.sessions), next_seq=next_seq)
    await _copy_done(fill, fill.literal(done), size)
    await _copy_queued(fill, fill.literal(queued), size)
    assert await fill.count(Message) == size.messages + size.queued + 3  # the two templates' own
    await fill.engine.dispose()
    if not fill.is_sqlite:
        await on_postgres(full.database_url, "VACUUM ANALYZE")  # as autovacuum would, but not while we measure
    queue = Queue(open_redis(full.redis.url))
    heads = _queued(size)[: size.busy]
    await queue.after_commit([Dispatch(UUID(copied_id(Job, one)), 1) for one in heads])
    await queue.close()


async def _copy_done(fill: Fill, job: str, size: Size) -> None:
    """The n-th turn is in session `n % sessions`."""
    turns, of_job = range(size.turns * size.sessions), f"job_id = {job}"
    seq = f"2 * (n / {size.sessions}) + 1"
    its = {"session_id": fill.id_of(Session, f"n % {size.sessions}")}
    await fill.copy(Job, f"id = {job}", turns, seq=seq, **its)
    its["job_id"] = fill.id_of(Job, "n")
    for role, second in (("user", 0), ("assistant", 1)):
        row_id = fill.id_of(Message, f"2 * n + {second}")
        await fill.copy(Message, f"{of_job} AND role = '{role}'", turns, id=row_id, seq=f"{seq} + {second}", **its)
    await fill.copy(Step, of_job, turns, **its)
    await fill.copy(Usage, of_job, turns, **its)


async def _copy_queued(fill: Fill, job: str, size: Size) -> None:
    numbers = _queued(size)
    nth = f"(n - {numbers[0]})"
    its = {
        "session_id": fill.id_of(Session, f"{nth} % {size.busy}"),
        "seq": f"{2 * size.turns} + 2 * ({nth} / {size.busy}) + 1",
    }
    await fill.copy(Job, f"id = {job}", numbers, **its)
    its |= {"id": fill.id_of(Message, "2 * n"), "job_id": fill.id_of(Job, "n")}
    await fill.copy(Message, f"job_id = {job}", numbers, **its)


def _queued(size: Size) -> range:
    """The numbers of the queued jobs: they follow those of the finished ones."""
    return range(size.turns * size.sessions, size.turns * size.sessions + size.queued)


if __name__ == "__main__":
    main(measure, __doc__)
