"""Polls of a finished job per second, beside a bare FastAPI route that reads one row by its key; and 304 beside 200.

Each has one API process under the same uvicorn, the same database, the same 64 rows in turn, and a pool of the same
size; they are asked in turn by the same clients. The bare route knows no users, ETags, results or links.
"""

import statistics
from contextlib import ExitStack
from itertools import cycle

from benchmarks.answer import waited
from benchmarks.client import API, Connection, rate, request, sessions
from benchmarks.figures import Row, main
from benchmarks.parley import KINDS, NAMES, Kind, Parley, databases, folder, model_server
from benchmarks.peers.run import served

BARE, GET = 0.9, 1.3
CLIENTS = 16
ROUNDS = 5
JOBS = 64  # so that no two clients ask for the same one at the same time
POOL = {"sqlite": "5", "postgresql": "20"}


async def measure(quick: bool) -> list[Row]:  # noqa: FBT001 - as every question is asked
    """On both databases."""
    return [row for kind in KINDS for row in await _measure(kind, 0.3 if quick else 2.0)]


async def _measure(kind: Kind, seconds: float) -> list[Row]:
    with ExitStack() as stack:
        url = await stack.enter_context(databases(kind)).new()
        model_url = stack.enter_context(model_server())
        parley = stack.enter_context(Parley(stack.enter_context(folder()), url, model_url))
        parley.start_api()
        worker = parley.start_worker()
        (session_id,) = await sessions(parley.port, 1)
        async with Connection(parley.port) as client:
            for _ in range(JOBS):
                await waited(client, session_id)
            ids = [job["id"] for job in (await client.get(f"{API}/job?limit={JOBS}")).json["items"]]
            etags = {job_id: (await client.get(f"{API}/job/{job_id}")).header("etag") for job_id in ids}
        worker.stop()
        home = stack.enter_context(folder())
        bare = stack.enter_context(served("benchmarks.peers.bare_api", home, DATABASE_URL=url, POOL_SIZE=POOL[kind]))
        asked = {
            "bare": (bare, [request("GET", f"/job/{one}") for one in ids], 200),
            "get": (parley.port, [request("GET", f"{API}/job/{one}") for one in ids], 200),
            "304": (parley.port, [request("GET", f"{API}/job/{one}", if_none_match=etags[one]) for one in ids], 304),
        }
        rates: dict[str, list[float]] = {name: [] for name in asked}
        for _ in range(ROUNDS + 1):
            for name, (port, polls, status) in asked.items():
                rates[name].append(await rate(port, cycle(polls), CLIENTS, seconds, status))
    bare_s, get_s, unchanged_s = [statistics.median(rates[name][1:]) for name in ("bare", "get", "304")]
    question = f"GET job a second, {NAMES[kind]}"
    beside_bare, beside_get = f"{get_s:,.0f}/s, bare {bare_s:,.0f}/s", f"{unchanged_s:,.0f}/s"
    return [
        Row(
            f"{question}: beside a bare route with one ORM read",
            get_s / bare_s,
            BARE,
            at_least=True,
            beside=beside_bare,
        ),
        Row(f"{question}: 304 beside 200", unchanged_s / get_s, GET, at_least=True, beside=beside_get),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
