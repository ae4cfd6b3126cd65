"""Cold start: from the start of a server process to its first correct answer, and its peak memory.

Bytecode is compiled before. Each is compared with an empty function under the same server, in alternating runs; the
median counts. The record is a real Postgres, the cluster is in memory (a Kubernetes API adds its own answer's time).
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

RUNS = 9
_API = "/api/v1/operator"


class Case(NamedTuple):
    name: str
    target: str
    reach: float
    probe: Callable[[int], bool]


def measure() -> Iterator[Row]:
    compileall.compile_dir(str(ROOT / "functions"), quiet=1)
    with data.postgres() as url, empty() as source, data.environment(url) as environ:
        bare = lambda port: get(port, "/")[0] == 204  # noqa: E731
        baseline: list[tuple[float, float]] = []
        found: dict[str, list[tuple[float, float]]] = {}
        cases = _cases(url)
        for run in range(RUNS):
            with served("empty", bare, source=source) as it:
                baseline.append((it.seconds, it.memory()))
            for case in cases(run):
                with served(case.target, case.probe, environ) as it:
                    found.setdefault(case.name, []).append((it.seconds, it.memory()))
    floor = median(seconds for seconds, _ in baseline)
    yield Row("cold start: empty function", floor * 1000, "ms")
    for case in cases(RUNS):
        seconds, memory = (median(column) for column in zip(*found[case.name], strict=True))
        yield Row(f"cold start: {case.name}", seconds * 1000, "ms")
        yield Row(f"cold start: {case.name} / empty", seconds / floor, "×", at_most(case.reach))
        yield Row(f"cold start: {case.name}, peak memory", memory, "MB", at_most(80))


def _cases(url: str) -> Callable[[int], list[Case]]:
    """The cases of one run; what is submitted or advanced must be new in each."""

    def cases(run: int) -> list[Case]:
        transition = data.running_workflow(url, f"{run:032x}") if run < RUNS else b""
        return [
            Case("status, what needs no record", "status", 1.6, status_is("/", 200)),
            Case("status, a question to the record", "status", 1.6, status_is(f"{_API}/environments?chainId=1", 200)),
            Case("status, a Provider's signed question", "status", 1.6, status_is(data.signed_question(), 200)),
            Case("advance, an event that changes nothing", "advance", 1.3, _event(data.uninteresting_event())),
            Case("advance, a transition", "advance", 2.5, _event(transition)),
            Case("submit", "submit", 2.5, _submission(run)),
        ]

    return cases


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
