"""One worker, two and four: turns a second when only the models take time.

Each worker runs four turns at a time and a reply takes a second, so sixteen at a time need little of two cores. All
turns are submitted at once; what is counted lies between the end of the first wave and that of the last but one.
"""

from itertools import cycle, islice

from benchmarks.client import API, all_of, request, sessions, text_of
from benchmarks.crowd import done
from benchmarks.figures import Row, main
from benchmarks.parley import Parley, on_postgres, parley

LIMIT = 0.95
FLEETS = (1, 2, 4)
AT_ONCE = 4
CLIENTS = 8
FINISHED = "SELECT extract(epoch FROM finished_at) AS at_s FROM job ORDER BY finished_at DESC LIMIT {}"


async def measure(quick: bool) -> list[Row]:  # noqa: FBT001 - as every question is asked
    """The same Parley with more and more workers."""
    waves, think_s = (5, 0.5) if quick else (14, 1.0)
    rates: dict[int, float] = {}
    async with parley("postgresql", f"--think-s={think_s}", workers=0, WORKER_CONCURRENCY=str(AT_ONCE)) as whole:
        ids = await sessions(whole.port, FLEETS[-1] * AT_ONCE * waves)
        for number in FLEETS:
            while len(whole.processes) < 1 + number:
                whole.start_worker()
            await _turns(whole, ids, number * AT_ONCE)
            rates[number] = await _rate(whole, ids, number * AT_ONCE, waves)
    ideal = f"model time alone allows {AT_ONCE / think_s:.1f} turns/s a worker"
    return [
        Row(f"{number} workers, turns bound by model time: of {number} times one worker",
            rates[number] / (number * rates[1]), LIMIT, at_least=True,
            beside=f"{rates[number]:.1f} turns/s, one {rates[1]:.1f}; {ideal}")
        for number in FLEETS[1:]
    ]  # fmt: skip


async def _rate(whole: Parley, ids: list[str], at_once: int, waves: int) -> float:
    await _turns(whole, ids, at_once * waves)
    rows = await on_postgres(whole.database_url, FINISHED.format(at_once * waves))
    ends = sorted(float(row["at_s"]) for row in rows)[at_once - 1 : -at_once]
    return (len(ends) - 1) / (ends[-1] - ends[0])


async def _turns(whole: Parley, ids: list[str], number: int) -> None:
    submits = [request("POST", f"{API}/message/text", text_of(session_id)) for session_id in islice(cycle(ids), number)]
    answers = await all_of(whole.port, submits, CLIENTS)
    assert all(answer.status == 202 for answer in answers), answers[-1].body
    await done(whole)


if __name__ == "__main__":
    main(measure, __doc__)
