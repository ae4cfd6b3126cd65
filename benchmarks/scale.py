"""The cost of one workflow in each part, and of 1, 12 and 100 workflows a second (12/s are a million a day).

Unit costs come from served functions and a real Postgres; CPU time hardly depends on what else the machine does. The
rates are simulated in virtual time, among a million finished workflows (benchmarks/simulation.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from benchmarks import data
from benchmarks.contention import contention
from benchmarks.growth import crowd, run_script
from benchmarks.rows import Row, at_most
from benchmarks.serving import Request, cpu, load, served, status_is
from benchmarks.simulation import Result, Scenario, Simulation
from benchmarks.workflows import run_all
from functions.cluster.kubernetes.access import Access
from functions.cluster.kubernetes.client import Api
from functions.cluster.kubernetes.cluster import KubernetesCluster
from functions.cluster.ports import StageJob
from functions.engine.app import App
from functions.settings import Settings
from functions.store.driver import Statement
from functions.store.postgres import Postgres
from functions.workflow.document import parse
from functions.workflow.environment import Environment, grant
from functions.workflow.model import Scope, Stage, WorkflowId

STAGES = (Stage.CONFIGURE, Stage.ALGORITHM, Stage.PUBLISH)


@dataclass(frozen=True)
class Size:
    workflows: int = 400
    discarded: int = 4000
    crowd: int = 1_000_000
    scenarios: tuple[Scenario, ...] = (Scenario(1, 300), Scenario(12, 90), Scenario(100, 10))
    submissions: int = 200  # of a round
    rounds: int = 9


SHORT = Size(8, 16, 1_000, (Scenario(2, 5, environments=3, lost=0.5),), 16, 1)


def measure(short: bool = False) -> Iterator[Row]:
    size = SHORT if short else Size()
    yield from _kubernetes()
    yield from _unit_costs(size)
    yield from contention(size.submissions, size.rounds)
    with ExitStack() as stack:
        app = crowd(stack, stack.enter_context(data.postgres()), size.crowd)
        for scenario in size.scenarios:
            yield from _simulated(app, scenario)


# --- the cluster ----------------------------------------------------------------------------


class _CountingApi(Api):
    """A Kubernetes API that has room for everything; it keeps what was created."""

    def __init__(self) -> None:
        super().__init__(Access("", lambda: ""), 1)
        self.calls = 0
        self.created: list[dict[str, Any]] = []

    def post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self.calls += 1
        self.created.append({**body, "metadata": {**body["metadata"], "uid": str(uuid4())}})
        return self.created[-1]

    def get(self, path: str, **query: str) -> Mapping[str, Any]:
        self.calls += 1
        return next(made for made in self.created if made["metadata"]["name"] == path.split("/")[-1])


def _kubernetes() -> Iterator[Row]:
    """The objects that the adapter creates for one workflow."""
    api = _CountingApi()
    cluster = KubernetesCluster(Settings(image="registry.example/sluice:1"), api)
    environment, definition = Environment(id=data.ENVIRONMENT), parse(data.WORKFLOW)
    for stage in STAGES:
        cluster.create(
            StageJob(
                workflow=WorkflowId("f" * 32),
                stage=stage,
                attempt=1,
                environment=environment,
                limits=grant(environment, definition),
                definition=definition,
                secret="secret",
                scope=Scope.ALL,
                results="s3://results",
            )
        )
    yield Row("scale: objects that Sluice creates for a workflow", len(api.created), "")
    yield Row("scale: their size as JSON", len(json.dumps(api.created)) / 1024, "KiB")
    yield Row("scale: calls to create them", api.calls, "", at_most(8))


# --- unit costs -----------------------------------------------------------------------------


def _unit_costs(size: Size) -> Iterator[Row]:
    healthy = status_is("/healthz", 200)
    with (
        data.postgres() as url,
        data.environment(url) as environ,
        data.open_app(environ) as app,
        served("submit", healthy, environ) as submit,
        served("advance", healthy, environ) as advance,
        served("status", healthy, environ) as status,
    ):
        empty = _stored(app, url)
        parts = {"submit": submit.process.pid, "advance": advance.process.pid, "Postgres": _postgres_pid(app)}
        run_all(app, submit.port, advance.port, "warm", max(4, size.workflows // 10))
        before, wal = {name: cpu(pid) for name, pid in parts.items()}, _wal(app)
        run_all(app, submit.port, advance.port, "measured", size.workflows)
        for name, pid in parts.items():
            milliseconds = (cpu(pid) - before[name]) / size.workflows * 1000
            yield Row(f"scale: CPU of {name} for a workflow", milliseconds, "ms")
        yield Row("scale: WAL of a workflow", (_wal(app) - wal) / size.workflows / 1024, "KiB")
        (found,) = app.store.pool.read("SELECT count(*) AS workflows FROM jobs")  # type: ignore[attr-defined]
        stored = (_stored(app, url) - empty) / found["workflows"] / 1024
        yield Row("scale: stored of a finished workflow, with indexes", stored, "KiB", at_most(16))
        discard = _cpu_of(advance.process.pid, advance.port, _discarded(size.discarded))
        yield Row("scale: CPU of advance for an event that changes nothing", discard, "ms")
        question = _cpu_of(status.process.pid, status.port, _questions(app, size.workflows))
        yield Row("scale: CPU of status for one job's status", question, "ms")


def _cpu_of(pid: int, port: int, requests: list[Request]) -> float:
    """CPU milliseconds of a server for each of the requests."""
    warm_up = len(requests) // 4
    load(port, requests[:warm_up], 4)
    before = cpu(pid)
    load(port, requests[warm_up:], 4)
    return (cpu(pid) - before) / (len(requests) - warm_up) * 1000


def _discarded(number: int) -> list[Request]:
    return [("POST", "/", data.uninteresting_event(), data.event_headers(n)) for n in range(number)]


def _questions(app: App, number: int) -> list[Request]:
    (newest,) = app.store.pool.read("SELECT workflowid FROM jobs ORDER BY datecreated DESC LIMIT 1")  # type: ignore[attr-defined]
    return [("GET", data.signed_question(newest["workflowid"]), b"", {}) for _ in range(number)]


def _postgres_pid(app: App) -> int:
    (row,) = app.store.pool.read("SHOW data_directory")  # type: ignore[attr-defined]
    return int(Path(row["data_directory"], "postmaster.pid").read_text().split()[0])


def _stored(app: App, url: str) -> int:
    """Bytes of all tables and indexes, without what is dead in them."""
    run_script(url, "VACUUM FULL")
    size = "SELECT sum(pg_total_relation_size(oid))::bigint AS bytes FROM pg_class WHERE relkind = 'r'"
    (row,) = app.store.pool.read(f"{size} AND relnamespace = 'public'::regnamespace")  # type: ignore[attr-defined]
    return int(row["bytes"])


def _wal(app: App) -> float:
    """Bytes of WAL since the server was created."""
    (row,) = app.store.pool.read("SELECT pg_current_wal_insert_lsn() - '0/0' AS bytes")  # type: ignore[attr-defined]
    return float(row["bytes"])


# --- a million workflows --------------------------------------------------------------------


@contextmanager
def _counted() -> Iterator[list[int]]:
    """The number of statements, commits included, while the context is open."""
    total, run = [0], Postgres.run

    def counting(self: Postgres, connection: Any, statements: Sequence[Statement], opening: str = "") -> Any:
        total[0] += len(statements)
        return run(self, connection, statements, opening)

    with patch.object(Postgres, "run", counting):
        yield total


def _simulated(app: App, scenario: Scenario) -> Iterator[Row]:
    simulation = Simulation(app.store, scenario)  # type: ignore[arg-type]
    wal = _wal(app)
    with _counted() as statements:
        result = simulation.run()
    name = f"scale: {scenario.rate:g}/s"
    yield Row(f"{name}: workflows, {scenario.lost:.0%} of their events lost", result.submitted, "")
    yield Row(f"{name}: of these not finished", result.submitted - result.finished, "", at_most(0))
    yield Row(f"{name}: unfinished at once, at most", result.most_unfinished, "")
    yield Row(f"{name}: statements of a workflow, with sweeps", statements[0] / result.submitted, "", at_most(90))
    yield Row(f"{name}: WAL of a workflow", (_wal(app) - wal) / result.submitted / 1024, "KiB")
    yield Row(f"{name}: checks by sweeps of a workflow", result.checks / result.submitted, "")
    yield from _times(name, result)
    yield Row(f"{name}: latest notice of an end, virtual", result.latest, "s")


def _times(name: str, result: Result) -> Iterator[Row]:
    for kind, seconds in result.seconds.items():
        yield Row(f"{name}: {kind}, p50", median(seconds) * 1000, "ms")
    for kind, seconds in result.seconds.items():
        yield Row(f"{name}: {kind}, for a workflow", sum(seconds) / result.submitted * 1000, "ms")
    yield Row(f"{name}: longest sweep", max(result.seconds["sweep"]), "s", at_most(40))
