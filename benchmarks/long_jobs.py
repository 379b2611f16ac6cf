"""A job of 1,334 steps and 51 kB of text, read beside a small one: by poll, wait, events, and in a list of twelve.

The long ones are copies of a real turn, whose reply was spoken in 1,332 sentences. Long and small ones are asked for in
turn by the same client. Memory is the most that the API ever held while eight clients read such lists, by the kernel's
own count, beside another API that reads lists of small ones.
"""

import statistics
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path

from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.answer import waited
from benchmarks.client import API, Connection, all_of, request, sessions
from benchmarks.figures import Row, main
from benchmarks.fill import Fill, copied_id
from benchmarks.parley import KINDS, NAMES, Kind, Parley, databases, folder, model_server
from shared.models import Job, Message, Session, Step

LIMIT = 2.0
JOBS = 12
STEPS = 1_334
TEXT = 51_000
CLIENTS = 8
SMALL, LONG = range(JOBS), range(JOBS, 2 * JOBS)


async def measure(quick: bool) -> list[Row]:  # noqa: FBT001 - as every question is asked
    """On both databases."""
    return [row for kind in KINDS for row in await _measure(kind, 10 if quick else 200)]


async def _measure(kind: Kind, rounds: int) -> list[Row]:
    with ExitStack() as stack:
        url = await stack.enter_context(databases(kind)).new()
        model_url = stack.enter_context(model_server())
        parley = stack.enter_context(Parley(stack.enter_context(folder()), url, model_url))
        await _fill(parley)
        took, peaks = await _in_turn(parley, rounds), []
        for session in (0, 1):
            api = parley.start_api()
            lists = repeat(request("GET", _list(session)), CLIENTS * (2 if rounds == 10 else 10))
            assert all(answer.status == 200 for answer in await all_of(parley.port, lists, CLIENTS))
            peaks.append(_peak_mb(api.pid))
            api.stop()
    times = {name: statistics.median(long) / statistics.median(small) for name, (small, long) in took.items()}
    beside = "; ".join(
        f"{name} {1_000 * statistics.median(long):.1f} ms, small {1_000 * statistics.median(small):.1f}"
        for name, (small, long) in took.items()
    )
    question = f"a job of {STEPS:,} steps and {TEXT // 1_000} kB, {NAMES[kind]}, beside a small one"
    memory = f"{peaks[1]:.0f} MB, small ones {peaks[0]:.0f}"
    return [
        Row(f"{question}: read by {name}, p50", ratio, LIMIT, beside=beside if n == 0 else "")
        for n, (name, ratio) in enumerate(times.items())
    ] + [Row(f"{question}: memory of the API, {CLIENTS} clients", peaks[1] / peaks[0], LIMIT, beside=memory)]


async def _in_turn(parley: Parley, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds of each way to read, small and long."""
    api = parley.start_api()
    one = [f"{API}/job/{copied_id(Job, numbers[0])}" for numbers in (SMALL, LONG)]
    ways = {
        "poll": [request("GET", path) for path in one],
        "wait": [request("GET", path, prefer="wait=9") for path in one],
        "events": [request("GET", f"{path}/events") for path in one],
        f"list of {JOBS}": [request("GET", _list(session)) for session in (0, 1)],
    }
    took: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ways}
    async with Connection(parley.port) as client:
        for _ in range(rounds):
            for name, requests in ways.items():
                for ask, times in zip(requests, took[name], strict=True):
                    answer = await client.send(ask)
                    assert answer.status == 200, answer.body
                    times.append(answer.took_s)
    api.stop()
    return took


def _list(session: int) -> str:
    return f"{API}/job?session_id={copied_id(Session, session)}&limit={JOBS}"


def _peak_mb(pid: int) -> float:
    (peak,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(peak.split()[1]) / 1_000


async def _fill(parley: Parley) -> None:
    """One real turn, copied: twelve as they are, and twelve long ones."""
    api, worker = parley.start_api(), parley.start_worker()
    (session,) = await sessions(parley.port, 1)
    async with Connection(parley.port) as client:
        await waited(client, session)
        (job,) = (await client.get(f"{API}/job")).json["items"]
    worker.stop()
    api.stop()
    fill = Fill(create_async_engine(parley.database_url))
    await fill.copy(Session, f"id = {fill.literal(session)}", range(2))
    of_job = f"job_id = {fill.literal(job['id'])}"
    for session_number, numbers in enumerate((SMALL, LONG)):
        its = {"session_id": fill.id_of(Session, str(session_number)), "seq": "2 * n + 1"}
        await fill.copy(Job, f"id = {fill.literal(job['id'])}", numbers, **its)
        its["job_id"] = fill.id_of(Job, "n")
        long = {"text": f"'{'a' * TEXT}'"} if numbers is LONG else {}
        await fill.copy(Message, f"{of_job} AND role = 'user'", numbers, id=fill.id_of(Message, "2 * n"), **its)
        its["seq"] = "2 * n + 2"
        row_id = fill.id_of(Message, "2 * n + 1")
        await fill.copy(Message, f"{of_job} AND role = 'assistant'", numbers, id=row_id, **its, **long)
        its = {"job_id": its["job_id"]}
        await fill.copy(Step, of_job, numbers, id=fill.id_of(Step, f"n * {STEPS}"), **its)
    spoken = range(LONG[0] * STEPS, LONG[-1] * STEPS + STEPS)
    sentence = {"job_id": fill.id_of(Job, f"n / {STEPS}"), "name": f"'speak/' || (n % {STEPS})"}
    await fill.copy(Step, of_job, spoken, id=fill.id_of(Step, f"n + {10**9}"), **sentence)
    await fill.engine.dispose()


if __name__ == "__main__":
    main(measure, __doc__)
