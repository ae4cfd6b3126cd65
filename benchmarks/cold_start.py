"""Cold start: the time from starting a server process to its first correct answer, and its peak memory.

A function is asked `/readyz` first, as Knative does before it sends a request to a new Pod. Each case is compared with
an empty function under the same server. All are run in turn; the figures are medians. Bytecode is compiled beforehand.
The database is a real Postgres. The cluster is in memory; a Kubernetes API would add the time of its own answers.
"""

from __future__ import annotations

import compileall
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import data
from benchmarks.rows import Row, at_most
from benchmarks.serving import EMPTY, ROOT, get, served, status_is

RUNS, SHORT_RUNS = 9, 1
_API = "/api/v1/operator"


# How many times the start of an empty function each may take.
GOALS = {
    "status, a route without database": 1.6,
    "status, a route with database": 1.6,
    "status, a Provider's signed request": 1.6,
    "status, a TES task in MINIMAL": 1.6,
    "advance, an event that changes nothing": 1.3,
    "advance, a transition": 2.5,
    "submit": 2.5,
}


class Case(NamedTuple):
    name: str
    target: str
    probe: Callable[[int], bool]


def measure(short: bool = False) -> Iterator[Row]:
    runs = SHORT_RUNS if short else RUNS
    compileall.compile_dir(str(ROOT / "functions"), quiet=1)
    with data.postgres() as url, empty() as source, data.environment(url) as environ:
        bare = lambda port: get(port, "/")[0] == 204  # noqa: E731
        baseline: list[tuple[float, float]] = []
        found: dict[str, list[tuple[float, float]]] = {}
        for run in range(runs):
            with served("empty", bare, source=source) as it:
                baseline.append((it.seconds, it.memory()))
            for case in _cases(url, run):
                with served(case.target, _when_ready(case.probe), environ) as it:
                    found.setdefault(case.name, []).append((it.seconds, it.memory()))
    floor = median(seconds for seconds, _ in baseline)
    yield Row("cold start: empty function", floor * 1000, "ms")
    for name, measured in found.items():
        seconds, memory = (median(column) for column in zip(*measured, strict=True))
        yield Row(f"cold start: {name}", seconds * 1000, "ms")
        yield Row(f"cold start: {name} / empty", seconds / floor, "×", at_most(GOALS[name]))
        yield Row(f"cold start: {name}, peak memory", memory, "MB", at_most(80))


def _cases(url: str, run: int) -> list[Case]:
    """The cases of one run. What is submitted and advanced is new in each."""
    transition = data.running_workflow(url, f"{run:032x}")
    return [
        Case("status, a route without database", "status", status_is("/", 200)),
        Case("status, a route with database", "status", status_is(f"{_API}/environments?chainId=1", 200)),
        Case("status, a Provider's signed request", "status", status_is(data.signed_question(), 200)),
        Case("status, a TES task in MINIMAL", "status", status_is(f"/ga4gh/tes/v1/tasks/{data.task(url)}", 200)),
        Case("advance, an event that changes nothing", "advance", _event(data.uninteresting_event())),
        Case("advance, a transition", "advance", _event(transition)),
        Case("submit", "submit", _submission(run)),
    ]


def _when_ready(probe: Callable[[int], bool]) -> Callable[[int], bool]:
    return lambda port: get(port, "/readyz")[0] == 200 and probe(port)


def _event(body: bytes) -> Callable[[int], bool]:
    return lambda port: get(port, "/", "POST", body, data.event_headers())[0] == 204


def _submission(run: int) -> Callable[[int], bool]:
    def probe(port: int) -> bool:
        body = json.dumps(data.submission(f"cold-{run}")).encode()
        status, text = get(port, f"{_API}/compute", "POST", body, {"Content-Type": "application/json"})
        return status == 200 and len(json.loads(text)) == 1

    return probe


@contextmanager
def empty() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "main.py"
        path.write_text(EMPTY)
        compileall.compile_file(str(path), quiet=1)
        yield path
