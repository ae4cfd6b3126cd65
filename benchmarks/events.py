"""Events through `advance` over HTTP: those that change nothing, and those that each make a transition.

What changes nothing is held against an empty function; a transition against the very statements that it makes,
recorded from one and replayed by bare psycopg2 in a process of its own, as many at once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import data
from benchmarks.cold_start import empty
from benchmarks.rows import Row, at_least, at_most
from benchmarks.serving import Load, Request, load, served, status_is
from functions.workflow.model import Stage

DISCARDED = 400
DISCARD_ROUNDS = 25  # many and short, so that whatever else the machine does meets both
TRANSITIONS = 600
ROUNDS = 4
AT_ONCE = (1, 4, 16)


def measure() -> Iterator[Row]:
    yield from _discarded()
    yield from _transitions()


def _discarded() -> Iterator[Row]:
    event: Request = ("POST", "/", data.uninteresting_event(), data.event_headers())
    with (
        empty() as source,
        data.environment("postgresql://nobody@127.0.0.1:1/none") as environ,  # must not even be connected to
        served("empty", status_is("/", 204), source=source) as bare,
        served("advance", status_is("/healthz", 200), environ) as advance,
    ):
        rates: dict[int, list[float]] = {bare.port: [], advance.port: []}
        for _ in range(DISCARD_ROUNDS + 2):  # the first ones warm up
            for port, found in rates.items():
                found.append(load(port, [event] * DISCARDED, 4).rate)
    theirs, ours = (median(found[2:]) for found in rates.values())
    yield Row("discard: empty function", theirs, "events/s")
    yield Row("discard: advance, an event that changes nothing", ours, "events/s")
    yield Row("discard: advance / empty", ours / theirs, "×", at_least(0.8))


def _transitions() -> Iterator[Row]:
    with data.postgres() as url, data.environment(url) as environ:
        statements = _recorded(environ, "f" * 32)
        sent = [statement for statement, _ in statements]
        yield Row("transition: statements", float(len(sent) - sent.count("COMMIT")), "")
        yield Row("transition: commits that wait for the disk", float(sent.count("COMMIT")), "")
        with served("advance", status_is("/healthz", 200), environ, threads=16) as advance:
            _run(advance.port, environ, 900, 50, 4)  # warms up
            for at_once in AT_ONCE:
                yield from _beside(url, environ, advance.port, statements, at_once)


def _beside(
    url: str, environ: dict[str, str], port: int, statements: list[tuple[str, Any]], at_once: int
) -> Iterator[Row]:
    """`advance` and bare psycopg2 by turns; the median of their rates, and all latencies together."""
    ours, theirs, latencies = [], [], list[float]()
    for nth in range(ROUNDS):
        run = _run(port, environ, at_once * 1000 + nth, TRANSITIONS // ROUNDS, at_once)
        ours.append(run.rate)
        latencies += run.latencies
        theirs.append(_replayed(url, environ, statements, at_once * 1000 + 500 + nth, at_once))
    whole = Load(1, sorted(latencies))
    p50 = whole.percentile(50)
    name = f"transition, {at_once} at once"
    yield Row(f"{name}: advance", median(ours), "events/s")
    yield Row(f"{name}: bare psycopg2", median(theirs), "events/s")
    yield Row(f"{name}: advance / psycopg2", median(ours) / median(theirs), "×", at_least(0.5))
    yield Row(f"{name}: p50", p50 * 1000, "ms")
    yield Row(f"{name}: p99 / p50", whole.percentile(99) / p50, "×", at_most(10))


def _ids(series: int, count: int) -> list[str]:
    return [f"{series:016x}{n:016x}" for n in range(count)]


def _run(port: int, environ: dict[str, str], series: int, count: int, at_once: int) -> Load:
    """Transitions of new workflows: configure has ended, the algorithm's Job is created."""
    ids = _ids(series, count)
    _submit(environ, ids)
    requests: list[Request] = [
        ("POST", "/", data.ended(w, Stage.CONFIGURE), data.event_headers(n)) for n, w in enumerate(ids)
    ]
    return load(port, requests, at_once)


def _submit(environ: dict[str, str], ids: list[str]) -> None:
    with data.open_app(environ) as app:
        for workflow in ids:
            app.transitions.submit(data.record(app, workflow), "bench")


def _recorded(environ: dict[str, str], workflow: str) -> list[tuple[str, Any]]:
    """What one transition sends to the database, with its parameters, in order; COMMIT too."""
    from functions.advance.event_filter import interest
    from functions.advance.main import follow
    from functions.store.postgres import Postgres

    sent: list[tuple[str, Any]] = []

    class Recording(Postgres):
        def run(self, connection: Any, statement: str, parameters: Mapping[str, Any], opening: str = "") -> Any:
            sent.append((opening + statement, dict(parameters)))
            return super().run(connection, statement, parameters, opening)

    with data.open_app(environ) as app:
        app.transitions.submit(data.record(app, workflow), "bench")
        app.store._connections.driver = Recording(environ["DATABASE_URL"])  # type: ignore[attr-defined]
        hint = interest(
            {"type": "dev.knative.apiserver.resource.update"}, json.loads(data.ended(workflow, Stage.CONFIGURE))
        )
        assert hint is not None
        follow(app, hint, "bench-0")
    return sent


def _replayed(url: str, environ: dict[str, str], statements: list[tuple[str, Any]], series: int, at_once: int) -> float:
    """The same statements on as many new workflows, by bare psycopg2; transitions per second."""
    ids = _ids(series, TRANSITIONS // ROUNDS)
    _submit(environ, ids)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(
            {"url": url.replace("+psycopg2", ""), "statements": statements, "ids": ids, "at_once": at_once},
            file,
            default=str,
        )
        file.flush()
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("replay.py")), file.name],
            check=True,
            capture_output=True,
            text=True,
        )
    return float(done.stdout)
