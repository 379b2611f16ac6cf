"""Figures: what a latency is in short, a row with the limit that it is held against, and the table of all rows."""

import argparse
import asyncio
import math
import resource
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import uvloop

OPEN_FILES = 20_000
Measure = Callable[[bool], Awaitable[Sequence["Row"]]]


class Latency(NamedTuple):
    """Seconds: half, 95 of a hundred and 99 of a hundred took no longer."""

    p50: float
    p95: float
    p99: float

    def __str__(self) -> str:
        return f"p50 {1_000 * self.p50:.1f}, p95 {1_000 * self.p95:.1f} ms"


def latency(took: Sequence[float]) -> Latency:
    """Of these."""
    slower = sorted(took)
    return Latency(*[slower[min(len(slower) - 1, math.floor(len(slower) * part))] for part in (0.5, 0.95, 0.99)])


@dataclass(frozen=True)
class Row:
    """One figure and its limit; `beside` are the absolute figures behind it."""

    question: str
    figure: float
    limit: float
    unit: str = "×"
    at_least: bool = False
    beside: str = ""

    @property
    def held(self) -> bool:
        """Whether the figure keeps the limit."""
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """The row of the table."""
        reach = f"{'≥' if self.at_least else '≤'} {self.limit:g} {self.unit}"
        figure = f"{self.figure:.3g}" if abs(self.figure) < 100 else f"{self.figure:,.0f}"
        return self.question, f"{figure} {self.unit}", reach, "held" if self.held else "**missed**", self.beside


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = ["| question | measured | limit | | absolute figures |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *["| " + " | ".join(row.cells) + " |" for row in rows]]) + "\n"


def show(row: Row) -> None:
    """Print one row as soon as it is known."""
    question, figure, reach, held, beside = row.cells
    print(f"{held.strip('*'):7} {question}: {figure} (limit {reach})" + (f"; {beside}" if beside else ""), flush=True)


def measured(measure: Measure, *, quick: bool) -> Sequence[Row]:
    """Measure in an event loop of its own, with as many open files as the machine allows, and print the rows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if 0 <= most < OPEN_FILES else OPEN_FILES, most))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rows = runner.run(_measure(measure, quick=quick))
    for row in rows:
        show(row)
    return rows


async def _measure(measure: Measure, *, quick: bool) -> Sequence[Row]:
    return await measure(quick)


def main(measure: Measure, doc: str | None) -> None:
    """The command line of one question."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--quick", action="store_true", help="small numbers: to see that it works, not what it says")
    measured(measure, quick=parser.parse_args().quick)
