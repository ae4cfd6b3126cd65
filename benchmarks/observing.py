"""What it costs to be observed: cold starts with telemetry, recording a span, and following a log.

The OTLP endpoint does not answer, which is the worst case: exports are tried again while the function works.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks import data
from benchmarks.rows import Row, at_least, at_most
from benchmarks.serving import served, status_is
from functions.cluster.job_folder import JobFolder
from functions.cluster.ports import StageJob
from functions.cluster.processes import ProcessCluster
from functions.instruments import TRANSITIONS
from functions.telemetry import Span, Telemetry
from functions.workflow.document import parse
from functions.workflow.environment import Environment
from functions.workflow.model import Limits, Scope, Stage, WorkflowId

RUNS, SHORT_RUNS = 9, 1
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
_ROUTE = "/api/v1/operator/environments?chainId=1"
_LOG = 64 << 20  # bytes


def measure(short: bool = False) -> Iterator[Row]:
    yield from _cold_starts(SHORT_RUNS if short else RUNS)
    yield from _recording(100 if short else 5000)
    yield from _following(1 << 20 if short else _LOG)


def _cold_starts(runs: int) -> Iterator[Row]:
    """The two are started in turn, so that a noisy neighbour meets both."""
    plain: list[tuple[float, float]] = []
    observed: list[tuple[float, float]] = []
    with data.postgres() as url, data.environment(url) as environ:
        for _ in range(runs):
            for variables, found in ((environ, plain), ({**environ, **ENDPOINT}, observed)):
                with served("status", status_is(_ROUTE, 200), variables) as it:
                    found.append((it.seconds, it.memory()))
    without, with_it = (median(seconds for seconds, _ in found) for found in (plain, observed))
    yield Row("cold start: status with an OTLP endpoint", with_it * 1000, "ms")
    yield Row("cold start: status with an OTLP endpoint / without", with_it / without, "×", at_most(1.2))


def _recording(count: int) -> Iterator[Row]:
    now = datetime.now(UTC)
    span = Span("transition", "ab" * 16, "cd" * 8, "", now, now, {"sluice.workflow.id": "w"})
    with closing(Telemetry(lambda: lambda spans, measurements: None)) as telemetry:
        began = time.perf_counter()
        for _ in range(count):
            telemetry.add(span)
            telemetry.measure(TRANSITIONS, 0.01, event="StageEnded", verdict="applied")
        seconds = time.perf_counter() - began
    yield Row("telemetry: a span and a measurement", seconds / count * 1e6, "µs", at_most(100))


def _following(size: int) -> Iterator[Row]:
    """A log on the laptop that is followed from its beginning; its Job has ended."""
    job = StageJob(
        workflow=WorkflowId("w"),
        stage=Stage.ALGORITHM,
        attempt=1,
        environment=Environment(id="demo", namespace="demo"),
        limits=Limits(),
        definition=parse(data.submission("a")["workflow"]),
        secret="",
        scope=Scope.ALL,
        results="",
    )
    with tempfile.TemporaryDirectory() as folder:
        cluster = ProcessCluster(Path(folder))
        cluster.create(job)
        files = JobFolder(Path(folder) / "demo" / "w" / "algorithm-1")
        files.log.parent.mkdir(parents=True)
        files.log.write_bytes((b"x" * 99 + b"\n") * (size // 100))
        files.end_file.write_text('{"outcome": "succeeded"}')
        began = time.perf_counter()
        followed = sum(map(len, cluster.follow(job.ref, 0)))
        seconds = time.perf_counter() - began
    yield Row("follow: a log on the laptop", followed / seconds / 1e6, "MB/s", at_least(100))
