"""Events sent to `advance` over HTTP: some change nothing, others each make a transition.

An event that changes nothing is compared with an empty function. A transition is compared with its own SQL statements:
they are recorded once, and replayed with bare psycopg2 in a separate process, with the same number at once. The goal
compares with one `execute` for each statement, as programs use psycopg2. BEGIN comes with the first one, which saves
bare psycopg2 two round trips.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from benchmarks import data
from benchmarks.cold_start import empty
from benchmarks.rows import Row, at_least, at_most
from benchmarks.serving import Load, Request, load, served, status_is
from functions.store.driver import Statement
from functions.workflow.model import Stage

Message = Sequence[Statement]  # sent to the database in one round trip


@dataclass(frozen=True)
class Size:
    discarded: int = 400  # events of a round
    discard_rounds: int = 25  # many short rounds, so that other load on the machine affects both sides
    transitions: int = 150  # of a round
    rounds: int = 4
    at_once: tuple[int, ...] = (1, 4, 16)


SHORT = Size(discarded=8, discard_rounds=1, transitions=8, rounds=1, at_once=(1, 4))


def measure(short: bool = False) -> Iterator[Row]:
    size = SHORT if short else Size()
    yield from _discarded(size)
    yield from _transitions(size)


def _discarded(size: Size) -> Iterator[Row]:
    event: Request = ("POST", "/", data.uninteresting_event(), data.event_headers())
    with (
        empty() as source,
        data.environment("postgresql://nobody@127.0.0.1:1/none") as environ,  # such an event must not connect to it
        served("empty", status_is("/", 204), source=source) as bare,
        served("advance", status_is("/healthz", 200), environ) as advance,
    ):
        rates: dict[int, list[float]] = {bare.port: [], advance.port: []}
        for _ in range(size.discard_rounds + 2):  # the first two are a warm-up
            for port, found in rates.items():
                found.append(load(port, [event] * size.discarded, 4).rate)
    theirs, ours = (median(found[2:]) for found in rates.values())
    yield Row("discard: empty function", theirs, "events/s")
    yield Row("discard: advance, an event that changes nothing", ours, "events/s")
    yield Row("discard: advance / empty", ours / theirs, "×", at_least(0.8))


def _transitions(size: Size) -> Iterator[Row]:
    with data.postgres() as url, data.environment(url) as environ:
        messages = _recorded(environ, "f" * 32)
        sent = [statement for message in messages for statement, _ in message]
        yield Row("transition: statements", float(len(sent) - sent.count("COMMIT")), "")
        yield Row("transition: round trips", float(len(messages)), "")
        yield Row("transition: commits that wait for the disk", float(sent.count("COMMIT")), "")
        with served("advance", status_is("/healthz", 200), environ, threads=16) as advance:
            _run(advance.port, environ, 900, size.transitions // 3, 4)  # warm-up
            for at_once in size.at_once:
                yield from _compared(size, url, environ, advance.port, messages, at_once)


def _compared(
    size: Size, url: str, environ: dict[str, str], port: int, messages: list[Message], at_once: int
) -> Iterator[Row]:
    """Run `advance` and bare psycopg2 in turn: the medians of their rates, and percentiles over all latencies.

    Bare psycopg2 runs twice: as programs use it, a message for each statement, and with the messages of `advance`.
    """
    one_by_one = [[statement] for message in messages for statement in message]
    ours, latencies = [], list[float]()
    theirs, theirs_together = list[float](), list[float]()
    for nth in range(size.rounds):
        run = _run(port, environ, at_once * 1000 + nth, size.transitions, at_once)
        ours.append(run.rate)
        latencies += run.latencies
        for rates, sent, series in ((theirs, one_by_one, 300), (theirs_together, messages, 600)):
            ids = _ids(at_once * 1000 + series + nth, size.transitions)
            rates.append(_replayed(url, environ, sent, ids, at_once))
    whole = Load(1, sorted(latencies))
    p50 = whole.percentile(50)
    name = f"transition, {at_once} at once"
    yield Row(f"{name}: advance", median(ours), "events/s")
    yield Row(f"{name}: bare psycopg2", median(theirs), "events/s")
    yield Row(f"{name}: bare psycopg2, messages of advance", median(theirs_together), "events/s")
    yield Row(f"{name}: advance / psycopg2", median(ours) / median(theirs), "×", at_least(0.5))
    yield Row(f"{name}: p50", p50 * 1000, "ms")
    yield Row(f"{name}: p99 / p50", whole.percentile(99) / p50, "×", at_most(10))


def _ids(series: int, count: int) -> list[str]:
    return [f"{series:016x}{n:016x}" for n in range(count)]


def _run(port: int, environ: dict[str, str], series: int, count: int, at_once: int) -> Load:
    """Send the end of configure for `count` new workflows; each event creates the algorithm's Job."""
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


def _recorded(environ: dict[str, str], workflow: str) -> list[Message]:
    """The messages of one transition, each with its statements and parameters, in order, including COMMIT."""
    from functions.advance.event_filter import hint_of
    from functions.advance.main import handle_hint
    from functions.store.postgres import Postgres

    sent: list[Message] = []
    run = Postgres.run

    def record(self: Postgres, connection: Any, statements: Message, opening: str = "") -> Any:
        (first, parameters), *others = statements
        sent.append([(opening + first, parameters), *others])
        return run(self, connection, statements, opening)

    with data.open_app(environ) as app:
        app.transitions.submit(data.record(app, workflow), "bench")
        hint = hint_of(
            {"type": "dev.knative.apiserver.resource.update"}, json.loads(data.ended(workflow, Stage.CONFIGURE))
        )
        assert hint is not None
        with patch.object(Postgres, "run", record):
            handle_hint(app, hint, "bench-0")
    return sent


def _replayed(url: str, environ: dict[str, str], messages: Sequence[Message], ids: list[str], at_once: int) -> float:
    """Replay the messages with bare psycopg2 for new workflows of these ids. Returns transitions per second."""
    _submit(environ, ids)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(
            {"url": url.replace("+psycopg2", ""), "messages": messages, "ids": ids, "at_once": at_once},
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
