"""From a submit until its reply is visible, with models that take no time: what Parley adds to theirs.

Parley's client waits (`Prefer: wait`) on the submit itself; the plain Celery stack's polls every 2 ms, because it can't
wait. One turn at a time, of each in turn, so that they share all noise. Every session has the same history in each.
"""

import asyncio
import time
from contextlib import ExitStack
from itertools import cycle

from benchmarks.client import API, Connection, request, sessions, text_of
from benchmarks.figures import Latency, Row, latency, main
from benchmarks.parley import Parley, databases, folder, model_server
from benchmarks.peers.run import celery_stack

LIMIT = 1.0
POLL_S = 0.002
SESSIONS = 20
WARM = 10


async def measure(quick: bool) -> list[Row]:  # noqa: FBT001 - as every question is asked
    """Both ways to run Parley beside the plain stack."""
    turns = 40 if quick else 500
    with ExitStack() as stack:
        home = stack.enter_context(folder())
        postgres = stack.enter_context(databases("postgresql"))
        model_url = stack.enter_context(model_server())
        servers = stack.enter_context(Parley(home, await postgres.new(), model_url))
        servers.start_api()
        servers.start_worker()
        alone_home = stack.enter_context(folder())
        file = f"sqlite+aiosqlite:///{alone_home / 'parley.db'}"
        alone = stack.enter_context(Parley(alone_home, file, model_url))
        alone.start_standalone()
        peer = stack.enter_context(celery_stack(await postgres.new("peer", migrated=False), model_url))
        took = await _in_turn(servers.port, alone.port, peer, turns)
    return [
        _row("PostgreSQL + Redis", took["servers"], took["peer"]),
        _row("SQLite + fakeredis in one process", took["alone"], took["peer"]),
    ]


async def _in_turn(servers: int, alone: int, peer: int, turns: int) -> dict[str, Latency]:
    of_servers, of_alone = cycle(await sessions(servers, SESSIONS)), cycle(await sessions(alone, SESSIONS))
    took: dict[str, list[float]] = {"servers": [], "alone": [], "peer": []}
    async with Connection(servers) as to_servers, Connection(alone) as to_alone, Connection(peer) as to_peer:
        of_peer = cycle([(await to_peer.post("/conversation", None)).json["id"] for _ in range(SESSIONS)])
        for _ in range(turns + WARM):
            took["servers"].append(await waited(to_servers, next(of_servers)))
            took["alone"].append(await waited(to_alone, next(of_alone)))
            took["peer"].append(await polled(to_peer, next(of_peer)))
    return {name: latency(times[WARM:]) for name, times in took.items()}


async def waited(client: Connection, session_id: str) -> float:
    """Seconds of one turn of Parley's."""
    began = time.perf_counter()
    answer = await client.send(request("POST", f"{API}/message/text", text_of(session_id), prefer="wait=20"))
    assert answer.status == 200, answer.body
    assert answer.json["result"]["text"], answer.body
    return time.perf_counter() - began


async def polled(client: Connection, conversation_id: str) -> float:
    """Seconds of one turn of the plain stack's."""
    began = time.perf_counter()
    job = (await client.post("/message", {"conversation_id": conversation_id, "text": "When is breakfast?"})).json
    while not job["reply"]:
        await asyncio.sleep(POLL_S)
        job = (await client.get(f"/job/{job['id']}")).json
    return time.perf_counter() - began


def _row(how: str, ours: Latency, peer: Latency) -> Row:
    question = f"submit → reply visible by wait, {how}, beside the plain Celery stack polled every 2 ms"
    return Row(question, ours.p50 / peer.p50, LIMIT, beside=f"{ours}; Celery {peer}")


if __name__ == "__main__":
    main(measure, __doc__)
