"""`python -m benchmarks` asks every question and writes RESULTS.md; it fails only when something can't be measured."""

import argparse
import os
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    answer,
    crowd,
    fairness,
    long_jobs,
    million,
    pickup,
    polls,
    start,
    submits,
    turns,
    voice,
    waiting,
    workers,
)
from benchmarks.figures import Row, measured, table

QUESTIONS = (pickup, answer, turns, voice, crowd, waiting, polls, long_jobs, submits, workers, fairness, million, start)
RESULTS = Path(__file__).parent / "RESULTS.md"
CPUS = Path("/proc/cpuinfo")


def main() -> int:
    """Ask one after another; a question that breaks does not keep the others from being asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, and RESULTS.md is left as it is")
    quick: bool = parser.parse_args().quick
    rows: list[Row] = []
    broken: list[str] = []
    for question in QUESTIONS:
        name, began = question.__name__.rpartition(".")[2], time.monotonic()
        try:
            rows += measured(question.measure, quick=quick)
        except Exception:  # noqa: BLE001 - whatever it is, the others are still asked
            traceback.print_exc()
            broken.append(name)
        print(f"        {name} took {time.monotonic() - began:.0f} s", flush=True)
    if not quick:
        RESULTS.write_text(results(rows, broken))
    return bool(broken)


def results(rows: list[Row], broken: list[str]) -> str:
    """The page: when, on what, and the table."""
    held = sum(row.held for row in rows)
    machine = f"{os.cpu_count()} cores of {cpu_model()}, shared by clients, models, stores and all that is measured"
    lines = [
        "# Results",
        "",
        "Written by `make bench`; [README.md](README.md) says how to read it.",
        "",
        f"{datetime.now(UTC):%d %B %Y}. {machine}. {held} of {len(rows)} limits held.",
        "",
        table(rows),
    ]
    lines += [f"Could not be measured: {', '.join(broken)}.\n"] if broken else []
    return "\n".join(lines)


def cpu_model() -> str:
    """As the machine names it."""
    named = [line for line in CPUS.read_text().splitlines() if line.startswith("model name")] if CPUS.exists() else []
    return named[0].partition(":")[2].strip() if named else "an unknown model"


if __name__ == "__main__":
    sys.exit(main())
