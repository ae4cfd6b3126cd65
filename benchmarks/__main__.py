"""`make bench`: measure all that the documents claim, or only what is named (`python -m benchmarks growth idle`).

Prints a table with what was to be reached and whether it was; `--markdown` prints it as docs/performance.md holds it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys

from benchmarks.rows import Row

BENCHES = ("cold_start", "events", "workflows", "laptop", "growth", "idle", "configure_throughput")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="BENCH", help=f"one of {', '.join(BENCHES)} (all, if none is named)"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BENCHES)
    if unknown:
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    missed = 0
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}")
    print(f"{os.getloadavg()[0]:.1f} other processes wanted a core in the minute before\n")
    if arguments.markdown:
        print("| figure | measured | to reach | |\n|---|---:|---|---|")
    for name in arguments.names or BENCHES:
        print(f"… {name}", file=sys.stderr)
        for row in importlib.import_module(f"benchmarks.{name}").measure():
            missed += row.reach is not None and not row.reach.reached(row.value)
            print(line(row, arguments.markdown), flush=True)
    print(f"\n{missed} not reached")
    return 0


def line(row: Row, markdown: bool) -> str:
    value = f"{row.value:,.0f}" if row.value >= 100 else f"{row.value:.2f}"
    reach = str(row.reach) if row.reach else ""
    verdict = "" if row.reach is None else ("reached" if row.reach.reached(row.value) else "NOT reached")
    if markdown:
        return f"| {row.name} | {value} {row.unit} | {reach} | {verdict} |"
    return f"{row.name:62} {value:>10} {row.unit:12} {reach:>8}  {verdict}"


if __name__ == "__main__":
    sys.exit(main())
