"""Polls of a finished job per second, beside a bare FastAPI route that reads one row by its key; and 304 beside 200.

Each has one API process under the same uvicorn, the same database, the same row, and a pool of the same size; they are
asked in turn by the same clients. The bare route knows no users, ETags, results or links.
"""

import statistics
from contextlib import ExitStack
from itertools import repeat

from benchmarks.answer import waited
from benchmarks.client import API, Connection, rate, request, sessions
from benchmarks.figures import Row, main
from benchmarks.parley import KINDS, NAMES, Kind, Parley, databases, folder, model_server
from benchmarks.peers.run import served

BARE, GET = 0.9, 1.3
CLIENTS = 16
ROUNDS = 5
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
            await waited(client, session_id)
            job = (await client.get(f"{API}/job")).json["items"][0]
            path = f"{API}/job/{job['id']}"
            etag = (await client.get(path)).header("etag")
        worker.stop()
        home = stack.enter_context(folder())
        bare = stack.enter_context(served("benchmarks.peers.bare_api", home, DATABASE_URL=url, POOL_SIZE=POOL[kind]))
        asked = {
            "bare": (bare, request("GET", f"/job/{job['id']}"), 200),
            "get": (parley.port, request("GET", path), 200),
            "304": (parley.port, request("GET", path, if_none_match=etag), 304),
        }
        rates: dict[str, list[float]] = {name: [] for name in asked}
        for _ in range(ROUNDS + 1):
            for name, (port, one, status) in asked.items():
                rates[name].append(await rate(port, repeat(one), CLIENTS, seconds, status))
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
