"""`make bench`: measures every figure in the documentation, or only some: `python -m benchmarks growth idle`.

Prints a table with each figure, its goal, and whether the goal was met. `--markdown FILE` writes it to a file too, as
it stands in docs/performance.md. A bench that fails ends neither the others nor the table; the exit code is then 1.
`--short` only checks that the benches work: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import platform
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

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
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to a file as Markdown too")
    parser.add_argument("--short", action="store_true", help="run each bench once on little data")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BENCHES)
    if unknown:
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    with ExitStack() as stack:
        table = io.StringIO()
        if arguments.markdown:
            arguments.markdown.parent.mkdir(parents=True, exist_ok=True)
            table = stack.enter_context(arguments.markdown.open("w"))
        return run(arguments.names or BENCHES, table, short=arguments.short)


def run(names: Sequence[str], table: TextIO, *, short: bool) -> int:
    """Run the benches and print their rows; `table` gets them as Markdown. Return the exit code."""
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
    print(f"{machine}\nLoad average of the minute before: {os.getloadavg()[0]:.1f}\n")
    table.write(f"{machine}\n\n| figure | measured | goal | |\n|---|---:|---|---|\n")
    missed, failed = 0, []
    for name in names:
        print(f"… {name}", file=sys.stderr)
        began = time.monotonic()
        try:
            for row in rows(name, short=short):
                missed += row.goal is not None and not row.goal.met(row.value)
                print(line(row), flush=True)
                table.write(f"{line(row, markdown=True)}\n")
                table.flush()
        except Exception:
            traceback.print_exc()
            failed.append(name)
        print(f"… {name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(f"\n{missed} goals missed" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def rows(name: str, *, short: bool = False) -> Iterator[Row]:
    """Run one bench."""
    measured: Iterator[Row] = importlib.import_module(f"benchmarks.{name}").measure(short)
    return measured


def line(row: Row, markdown: bool = False) -> str:
    value = f"{row.value:,.0f}" if row.value >= 100 else f"{row.value:.2f}"
    goal = str(row.goal) if row.goal else ""
    verdict = "" if row.goal is None else ("met" if row.goal.met(row.value) else "MISSED")
    if markdown:
        return f"| {row.name} | {value} {row.unit} | {goal} | {verdict} |"
    return f"{row.name:62} {value:>10} {row.unit:12} {goal:>8}  {verdict}"


if __name__ == "__main__":
    sys.exit(main())
