"""Whole workflows through the served functions: submit → configure → algorithm → publish → finished.

`submit` and `advance` are server processes, and the database is a real Postgres. The cluster is in memory, and every
Job succeeds at once. The driver plays the Provider, the ApiServerSource and the publish stage, on the same cores.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from statistics import median
from typing import NamedTuple

from benchmarks import data
from benchmarks.rows import Row, at_least, at_most
from benchmarks.serving import served, status_is
from functions.engine.app import App
from functions.workflow.model import Manifest, ResultFile, Stage, WorkflowId

WORKFLOWS, SHORT_WORKFLOWS = 600, 8
WARM_UP = 0.1  # of the workflows
AT_ONCE = 4


class _Done(NamedTuple):
    workflow: WorkflowId
    seconds: float
    hand_overs: tuple[float, float]  # seconds from the event that ends a stage to the next stage's Job


def measure(short: bool = False) -> Iterator[Row]:
    count = SHORT_WORKFLOWS if short else WORKFLOWS
    healthy = status_is("/healthz", 200)
    with (
        data.postgres() as url,
        data.environment(url) as environ,
        data.open_app(environ) as app,
        served("submit", healthy, environ) as submit,
        served("advance", healthy, environ) as advance,
    ):
        run_all(app, submit.port, advance.port, "warm", int(count * WARM_UP))
        began = time.perf_counter()
        done = run_all(app, submit.port, advance.port, "measured", count)
        minutes = (time.perf_counter() - began) / 60
        _check(app, done)
    whole = median(one.seconds for one in done)
    yield Row(f"workflows: submit → finished, {AT_ONCE} at once", len(done) / minutes, "per minute", at_least(2100))
    yield Row("workflows: one, submit → finished, p50", whole, "s")
    hand_over = median(seconds for one in done for seconds in one.hand_overs)
    yield Row("workflows: hand-over between stages, p50", hand_over * 1000, "ms", at_most(30))


def run_all(app: App, submit: int, advance: int, series: str, count: int) -> list[_Done]:
    todo, lock = iter(range(count)), threading.Lock()

    def client(number: int) -> list[_Done]:
        done: list[_Done] = []
        with closing(_connect(submit)) as to_submit, closing(_connect(advance)) as to_advance:
            while True:
                with lock:
                    nth = next(todo, None)
                if nth is None:
                    return done
                done.append(_one(app, to_submit, to_advance, f"{series}-{nth}", key=f"0x{number + 1:064x}"))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [one for part in pool.map(client, range(AT_ONCE)) for one in part]


def _one(
    app: App, submit: http.client.HTTPConnection, advance: http.client.HTTPConnection, agreement: str, key: str
) -> _Done:
    began = time.perf_counter()
    body = json.dumps(data.submission(agreement, key)).encode()
    text = _post(submit, "/api/v1/operator/compute", body, {"Content-Type": "application/json"}, 200)
    workflow = WorkflowId(json.loads(text)[0]["jobId"])
    hand_overs = _end(advance, workflow, Stage.CONFIGURE), _end(advance, workflow, Stage.ALGORITHM)
    file = ResultFile("outputs/result.csv", 8, "output", "file:///result.csv")
    app.storage.put_manifest(workflow, 1, Manifest((file,)))
    _end(advance, workflow, Stage.PUBLISH)
    return _Done(workflow, time.perf_counter() - began, hand_overs)


def _end(advance: http.client.HTTPConnection, workflow: WorkflowId, stage: Stage) -> float:
    """Send the event that ends a stage. Returns the seconds until the answer; by then the next stage's Job exists."""
    body = data.ended(workflow, stage)
    began = time.perf_counter()
    _post(advance, "/", body, data.event_headers(), 204)
    return time.perf_counter() - began


def _check(app: App, done: list[_Done]) -> None:
    for one in done:
        record = app.store.get(one.workflow)
        assert record is not None
        assert record.workflow.finished, one.workflow
        assert record.workflow.status == 70
        assert len(record.manifest.files) == 1


def _connect(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=60)


def _post(
    connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str], expected: int
) -> bytes:
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != expected:
        raise RuntimeError(f"{path} answered {answer.status}: {text[:300]!r}")
    return text
