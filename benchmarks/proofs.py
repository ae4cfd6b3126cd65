"""The cost of proofs: what the chain and its facts add to a transition, and the log with up to a million leaves.

A share is CPU time of the functions that make it, of all CPU time of transitions in a SQLite record with a cluster that
answers at once. The log is in Postgres: 500 heads are appended, and a head's place is proven.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from functools import wraps
from statistics import median
from tempfile import TemporaryDirectory
from timeit import repeat
from typing import Any
from unittest.mock import patch

import psycopg2

from benchmarks import data
from benchmarks.rows import Row, at_most
from functions.engine.app import App
from functions.store.migrate import migrate
from functions.store.sql import SqlStore
from functions.store.values import LogLeaf
from functions.trust import chain, facts, merkle
from functions.workflow import steps
from functions.workflow.decision import Verdict
from functions.workflow.model import Manifest, Outcome, Record, Stage
from functions.workflow.observation import StageEnded

SIZES, SHORT_SIZES = (1_000, 100_000, 1_000_000), (100, 2_000)
NEW = 500
PART = 50_000  # leaves that one transaction fills in
FILL_LEAVES = """
    INSERT INTO log_leaves (position, kind, subject, data)
    SELECT n, 'history', 'w', encode(sha256(n::text::bytea), 'hex') FROM generate_series(%(size)s, %(wanted)s - 1) n
"""
FILL_NODES = """
    INSERT INTO log_nodes (level, position, hash)
    SELECT %(level)s, n, repeat('ab', 32) FROM generate_series(%(size)s, %(wanted)s - 1) n
"""
IMAGE = "sha256:" + "cd" * 32
NOW = datetime(2026, 11, 27, tzinfo=UTC)


def measure(short: bool = False) -> Iterator[Row]:
    yield from _transitions(20 if short else 400)
    yield from _log(SHORT_SIZES if short else SIZES, 1 if short else 15)


# --- transitions ------------------------------------------------------------------------------


def _transitions(workflows: int) -> Iterator[Row]:
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/sluice.db"
        migrate(url)
        with data.environment(url) as environ, data.open_app(environ) as app:
            yield from _share(app, workflows)


def _share(app: App, workflows: int) -> Iterator[Row]:
    """The CPU time of whole workflows, and how much of it the chain and the facts of their lines take."""
    chained, stated = [0.0], [0.0]
    timed = [
        patch.object(chain, "seal", _timed(chain.seal, chained)),
        patch.object(chain, "recorded_cause", _timed(chain.recorded_cause, stated)),
        patch.object(facts, "of_submission", _timed(facts.of_submission, stated)),
        patch.object(steps, "proven", _timed(steps.proven, stated)),
    ]
    with ExitStack() as stack:
        for each in timed:
            stack.enter_context(each)
        began = time.thread_time()
        for number in range(workflows):
            _run(app, data.record(app, f"{number:032x}"))
        total = time.thread_time() - began
    yield Row("proofs: the chain, of a workflow's CPU time", 100 * chained[0] / total, "%")
    yield Row("proofs: facts and keyed names, of a workflow's CPU time", 100 * stated[0] / total, "%")
    both = 100 * (chained[0] + stated[0]) / total
    yield Row("proofs: both, of a workflow's CPU time", both, "%", at_most(5))


def _run(app: App, record: Record) -> None:
    app.transitions.submit(record, "0x" + "ab" * 20)
    for stage in (Stage.CONFIGURE, Stage.ALGORITHM, Stage.PUBLISH):
        state = app.store.state(record.workflow.id)
        assert state is not None
        seen = StageEnded(stage, 1, state.job_uid, Outcome.SUCCEEDED, 0, manifest=Manifest(), facts={"image": IMAGE})
        assert app.transitions.apply(record.workflow.id, seen, "bench") is Verdict.APPLIED


def _clock_seconds() -> float:
    """The time that reading the clock takes: more than a microsecond, which each call of a timed function adds."""
    return min(repeat(time.thread_time, number=1000, repeat=20)) / 1000


def _timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    clock = _clock_seconds()

    @wraps(function)
    def timed(*arguments: Any) -> Any:
        began = time.thread_time()
        try:
            return function(*arguments)
        finally:
            spent[0] += time.thread_time() - began - clock

    return timed


# --- the log ------------------------------------------------------------------------------------


def _log(sizes: tuple[int, ...], rounds: int) -> Iterator[Row]:
    """Logs of all sizes, each in a server of its own, measured in turn."""
    appended: dict[int, list[float]] = {size: [] for size in sizes}
    proven: dict[int, list[float]] = {size: [] for size in sizes}
    with ExitStack() as stack:
        logs = {size: _filled(stack, size) for size in sizes}
        for number in range(rounds):
            for wanted, store in logs.items():
                size = wanted + number * NEW
                began = time.perf_counter()
                _extend(store, size, NEW)
                appended[wanted].append(time.perf_counter() - began)
                proven[wanted] += [_prove(store, size + NEW, number * 3 + n) for n in range(3)]
    heads, place = ({size: median(times[size]) for size in sizes} for times in (appended, proven))
    for size in sizes:
        yield Row(f"proofs: {NEW} new heads, among {size:,}", heads[size] * 1000, "ms")
        yield Row(f"proofs: place of a head, among {size:,}", place[size] * 1000, "ms")
    least, most = sizes[0], sizes[-1]
    yield Row(f"proofs: {NEW} new heads, {most:,} / {least:,}", heads[most] / heads[least], "×", at_most(1.5))
    yield Row(f"proofs: place of a head, {most:,} / {least:,}", place[most] / place[least], "×", at_most(4))


def _filled(stack: ExitStack, wanted: int) -> SqlStore:
    """A log of this size in a server that has written the leaves to the disk."""
    url = stack.enter_context(data.postgres())
    store = stack.enter_context(closing(SqlStore(url)))
    for size in range(0, wanted, PART):
        _fill(store, size, min(wanted, size + PART))
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        connection.cursor().execute("VACUUM ANALYZE")
        connection.cursor().execute("CHECKPOINT")
    return store


def _fill(store: SqlStore, size: int, wanted: int) -> None:
    """Grow the log by SQL. Its inner hashes are made up: their values cost nothing."""
    with store.begin() as tx:
        new = {"size": size, "wanted": wanted}
        tx._session.execute(FILL_LEAVES, new)
        for level in range(1, wanted.bit_length()):
            tx._session.execute(FILL_NODES, {"level": level, "size": size >> level, "wanted": wanted >> level})
        tx._session.execute("UPDATE log_size SET size = %(wanted)s", new)


def _extend(store: SqlStore, size: int, count: int) -> None:
    leaves = [LogLeaf("history", "w", _head(size + n)) for n in range(count)]
    with store.begin() as tx:
        assert tx.log.lock() == size
        nodes, root = merkle.append(size, [bytes.fromhex(leaf.data) for leaf in leaves], tx.log.nodes)
        tx.log.extend(size, leaves, nodes, root, "note", NOW)


def _prove(store: SqlStore, size: int, number: int) -> float:
    wanted = _head((number * 7919) % size)
    began = time.perf_counter()
    index = store.log.position(wanted, size)
    assert index is not None
    path = merkle.inclusion_proof(index, size, store.log.nodes)
    taken = time.perf_counter() - began
    assert len(path) <= 21
    return taken


def _head(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()
