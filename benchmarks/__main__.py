"""`make bench`: measures every figure in the documentation, or only some: `python -m benchmarks growth idle`.

Prints a table with each figure, its goal, and whether the goal was met. `--markdown` prints it for
docs/performance.md. `--short` only checks that the benches work: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from collections.abc import Iterator

from benchmarks.rows import Row

BENCHES = (
    "cold_start",
    "events",
    "workflows",
    "stages",
    "laptop",
    "growth",
    "idle",
    "configure_throughput",
    "scale",
    "checks",
    "observing",
    "proofs",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="BENCH", help=f"one of {', '.join(BENCHES)}; default: all")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--short", action="store_true", help="run each bench once on little data")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BENCHES)
    if unknown:
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    missed = 0
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}")
    print(f"Load average of the minute before: {os.getloadavg()[0]:.1f}\n")
    if arguments.markdown:
        print("| figure | measured | goal | |\n|---|---:|---|---|")
    for name in arguments.names or BENCHES:
        print(f"… {name}", file=sys.stderr)
        for row in rows(name, short=arguments.short):
            missed += row.goal is not None and not row.goal.met(row.value)
            print(line(row, arguments.markdown), flush=True)
    print(f"\n{missed} goals missed")
    return 0


def rows(name: str, *, short: bool = False) -> Iterator[Row]:
    """Run one bench."""
    measured: Iterator[Row] = importlib.import_module(f"benchmarks.{name}").measure(short)
    return measured


def line(row: Row, markdown: bool) -> str:
    value = f"{row.value:,.0f}" if row.value >= 100 else f"{row.value:.2f}"
    goal = str(row.goal) if row.goal else ""
    verdict = "" if row.goal is None else ("met" if row.goal.met(row.value) else "MISSED")
    if markdown:
        return f"| {row.name} | {value} {row.unit} | {goal} | {verdict} |"
    return f"{row.name:62} {value:>10} {row.unit:12} {goal:>8}  {verdict}"


if __name__ == "__main__":
    sys.exit(main())
