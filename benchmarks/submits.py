"""Submits per second, beside a FastAPI route that does nothing but insert one row through SQLAlchemy and commit.

A submit takes numbers of its session, writes a message and a job, and sends the job to the queue. No worker runs, and
every submit goes to a session of its own, so that each of them does reach the queue. Same uvicorn, same database, same
pragmas, a pool of the same size (SQLite has one writer in both); asked in turn by the same clients.
"""

import statistics
from contextlib import ExitStack
from itertools import cycle, repeat

from benchmarks.client import API, rate, request, sessions, text_of
from benchmarks.figures import Row, main
from benchmarks.fill import more_sessions
from benchmarks.parley import KINDS, NAMES, Kind, Parley, databases, folder
from benchmarks.peers.run import served

LIMIT = 0.8
CLIENTS = 16
ROUNDS = 5
SESSIONS = 50_000
POOL = {"sqlite": "1", "postgresql": "20"}


async def measure(quick: bool) -> list[Row]:  # noqa: FBT001 - as every question is asked
    """On both databases."""
    return [await _measure(kind, 0.3 if quick else 2.0) for kind in KINDS]


async def _measure(kind: Kind, seconds: float) -> Row:
    with ExitStack() as stack:
        url = await stack.enter_context(databases(kind)).new()
        parley = stack.enter_context(Parley(stack.enter_context(folder()), url))
        parley.start_api()
        ids = await more_sessions(url, (await sessions(parley.port, 1))[0], SESSIONS)
        home = stack.enter_context(folder())
        bare = stack.enter_context(served("benchmarks.peers.bare_api", home, DATABASE_URL=url, POOL_SIZE=POOL[kind]))
        submits = cycle([request("POST", f"{API}/message/text", text_of(session_id)) for session_id in ids])
        inserts = repeat(request("POST", "/note", text_of(ids[0])))
        ours, theirs = [], []
        for _ in range(ROUNDS + 1):
            theirs.append(await rate(bare, inserts, CLIENTS, seconds, 202))
            ours.append(await rate(parley.port, submits, CLIENTS, seconds, 202))
    submit_s, insert_s = statistics.median(ours[1:]), statistics.median(theirs[1:])
    question = f"submits a second, {NAMES[kind]}, beside a bare route that inserts one row"
    beside = f"{submit_s:,.0f}/s, bare {insert_s:,.0f}/s"
    return Row(question, submit_s / insert_s, LIMIT, at_least=True, beside=beside)


if __name__ == "__main__":
    main(measure, __doc__)
