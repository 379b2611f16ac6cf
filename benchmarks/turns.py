"""Text turns a second through one API and one worker, with models that take no time.

All turns are submitted as fast as eight clients can, and timed until SQL says that the last has ended; of Parley and of
the plain Celery stack in turn, the same number over the same number of conversations. What Parley does when each client
waits for its reply before it says the next thing stands beside, and where the CPU time goes.
"""

import asyncio
import statistics
import time
from contextlib import ExitStack
from itertools import cycle

import asyncpg

from benchmarks.client import API, Connection, all_of, rate, request, sessions, text_of
from benchmarks.figures import Row, main
from benchmarks.parley import Parley, cpu_s, databases, folder, model_server, per_turn
from benchmarks.peers.run import celery_stack

LIMIT = 2.0
CLIENTS = 8
WAITING = 16
CONVERSATIONS = 200
ROUNDS = 3
LOOK_S = 0.02
LEFT = "SELECT count(*) FROM job WHERE status IN ('queued', 'running')"


async def measure(quick: bool) -> list[Row]:  # noqa: FBT001 - as every question is asked
    """Parley and the plain stack in turn."""
    turns = 100 if quick else 1_500
    with ExitStack() as stack:
        postgres = stack.enter_context(databases("postgresql"))
        ours_url, peer_url = await postgres.new(), await postgres.new("peer", migrated=False)
        model_url = stack.enter_context(model_server())
        ours = stack.enter_context(Parley(stack.enter_context(folder()), ours_url, model_url))
        ours.start_api()
        ours.start_worker()
        peer = stack.enter_context(celery_stack(peer_url, model_url))
        ids = await sessions(ours.port, CONVERSATIONS)
        say = [request("POST", f"{API}/message/text", text_of(session_id)) for session_id in ids]
        async with Connection(peer) as client:
            known = [(await client.post("/conversation", None)).json["id"] for _ in range(CONVERSATIONS)]
        bodies = [{"conversation_id": one, "text": text_of("")["text"]} for one in known]
        ask = [request("POST", "/message", body) for body in bodies]
        await until_done(ours.port, ours_url, say[:CLIENTS], CLIENTS)
        await until_done(peer, peer_url, ask[:CLIENTS], CLIENTS)
        our_rates, peer_rates, ratios = [], [], []
        for _ in range(ROUNDS):
            before = cpu_s()
            our_rates.append(await until_done(ours.port, ours_url, say, turns))
            our_cpu, before = per_turn(before, turns), cpu_s()
            peer_rates.append(await until_done(peer, peer_url, ask, turns))
            peer_cpu = per_turn(before, turns)
            ratios.append(our_rates[-1] / peer_rates[-1])
        wait = [request("POST", f"{API}/message/text", text_of(session_id), prefer="wait=30") for session_id in ids]
        waited = await rate(ours.port, cycle(wait), WAITING, 2 if quick else 10, 200)
    both = f"Parley {statistics.median(our_rates):.0f}, Celery {statistics.median(peer_rates):.0f} turns/s"
    beside = f"{both}; {WAITING} waiting clients {waited:.0f}/s; Parley's {our_cpu}; Celery's {peer_cpu}"
    question = "text turns a second, submitted at once, beside the plain Celery stack"
    return [Row(question, statistics.median(ratios), LIMIT, at_least=True, beside=beside)]


async def until_done(port: int, database_url: str, requests: list[bytes], turns: int) -> float:
    """Turns a second, from the first submit to the end of the last turn."""
    again = cycle(requests)
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    began = time.perf_counter()
    answers = await all_of(port, (next(again) for _ in range(turns)), CLIENTS)
    assert all(answer.status == 202 for answer in answers)
    while await connection.fetchval(LEFT):  # noqa: ASYNC110 - SQL tells nobody
        await asyncio.sleep(LOOK_S)
    took_s = time.perf_counter() - began
    await connection.close()
    return turns / took_s


if __name__ == "__main__":
    main(measure, __doc__)
