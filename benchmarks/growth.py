"""The cost of queries and sweeps with a thousand, a hundred thousand and a million workflows in Postgres.

At every size, each owner has 100 workflows, and one workflow in twenty is queued. The others are finished, with their
history and attempts. All sizes are measured in turn; the figures are medians. The console's first page is what the
server answers: it counts the unfinished workflows, so it grows with them.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from functools import partial
from statistics import median
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from werkzeug.test import Client
from werkzeug.wrappers import Request

from benchmarks import data
from benchmarks.rows import Row, at_most
from functions.advance.sweep import sweep
from functions.engine.app import App
from functions.status.console.routes import PREFIX
from functions.status.main import ROUTER
from functions.store.json_columns import encode
from functions.store.values import Query
from functions.workflow import decide as rules
from functions.workflow.model import Limits, WorkflowId
from functions.workflow.observation import Admitted

SIZES, SHORT_SIZES = (1_000, 100_000, 1_000_000), (1_000, 2_000)
ROUNDS, SHORT_ROUNDS = 40, 1
DUE = 10
QUEUE = "crowded"  # not in the environments file, so nothing is admitted from its queue
SOMEBODY = WorkflowId("28dd2c7955ce926456240b2ff0100bde")  # md5 of 77

Action = Callable[[], object]


def measure(short: bool = False) -> Iterator[Row]:
    sizes, rounds = (SHORT_SIZES, SHORT_ROUNDS) if short else (SIZES, ROUNDS)
    with ExitStack() as stack:
        server = stack.enter_context(data.postgres())
        apps = {size: crowd(stack, server, size) for size in sizes}
        actions: dict[str, Callable[[App], Action]] = {
            "status of one": _status,
            "list of an owner's 100": _list,
            f"sweep with {DUE} due": _sweep,
            "admission of the oldest in the queue": _admission,
        }
        for name, prepare in actions.items():
            yield from _compared(name, {size: partial(prepare, app) for size, app in apps.items()}, rounds)
        for size, app in apps.items():
            yield Row(f"growth: console's first page, among {size:,}", _first_page(app, rounds), "ms", at_most(1000))


def _compared(name: str, prepares: dict[int, Callable[[], Action]], rounds: int) -> Iterator[Row]:
    seconds: dict[int, list[float]] = {size: [] for size in prepares}
    for nth in range(rounds + 1):
        for size, prepare in prepares.items():
            action = prepare()
            began = time.perf_counter()
            action()
            if nth:  # the first is a warm-up
                seconds[size].append(time.perf_counter() - began)
    least, most = min(prepares), max(prepares)
    times = {size: median(found) for size, found in seconds.items()}
    for size, taken in times.items():
        yield Row(f"growth: {name}, among {size:,}", taken * 1000, "ms")
    yield Row(f"growth: {name}, {most:,} / {least:,}", times[most] / times[least], "×", at_most(1.5))
    ratio = _memory(prepares[most]) / _memory(prepares[least])
    yield Row(f"growth: {name}, memory, {most:,} / {least:,}", ratio, "×", at_most(1.1))


def _memory(prepare: Callable[[], Action]) -> int:
    """Peak bytes that Python allocates."""
    action = prepare()
    tracemalloc.start()
    action()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


# --- the actions ----------------------------------------------------------------------------


def _status(app: App) -> Action:
    return lambda: app.store.get(SOMEBODY)


def _list(app: App) -> Action:
    return lambda: app.store.find(Query(owner="owner-3"))


def _sweep(app: App) -> Action:
    """A sweep that finds Jobs whose end was not announced."""
    import psycopg2

    new = [WorkflowId(uuid4().hex) for _ in range(DUE)]
    for workflow in new:
        app.transitions.submit(data.record(app, workflow), "bench")
    with closing(psycopg2.connect(app.settings.database)) as connection, connection, connection.cursor() as cursor:
        due = (app.clock() - timedelta(seconds=1)).replace(tzinfo=None)
        cursor.execute("UPDATE jobs SET wake_at = %s WHERE workflowid = ANY(%s)", (due, new))

    def action() -> None:
        done = sweep(app)
        assert done["configure moved on"] == DUE, done

    return action


def _admission(app: App) -> Action:
    def action() -> None:
        with app.store.begin() as tx:
            tx.slots(QUEUE)
            oldest = tx.oldest_queued(QUEUE)
            assert oldest is not None
            tx.save(rules.decide(oldest, Admitted(), app.clock()), "bench")

    return action


def _first_page(app: App, rounds: int) -> float:
    """The median milliseconds until both requests of the console's first page are answered, without HTTP."""
    client = Client(Request.application(lambda request: ROUTER.answer(request, lambda: app)))
    times = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        for page in ("overview", "workflows"):
            answer = client.get(f"{PREFIX}/api/{page}")
            assert answer.status_code == 200, answer.text
        times.append(time.perf_counter() - began)
    return median(times[1:]) * 1000


# --- the workflows --------------------------------------------------------------------------


def crowd(stack: ExitStack, server: str, size: int) -> App:
    """An application on a migrated database of its own, on the same server, that holds `size` workflows."""
    from functions.store.migrate import migrate

    beside = urlsplit(server)
    name = f"{beside.path[1:]}_{size}"
    run_script(server, f"CREATE DATABASE {name}")
    url = beside._replace(path=f"/{name}").geturl()
    migrate(url)
    run_script(
        url,
        # Generated data: skip the constraint checks and the waits for the disk.
        "SET session_replication_role = replica",
        "SET synchronous_commit = off",
        *_SCRIPTS,
        "VACUUM ANALYZE",
        "CHECKPOINT",
        **_parameters(size),
    )
    return stack.enter_context(data.open_app(stack.enter_context(data.environment(url))))


def run_script(url: str, *statements: str, **parameters: Any) -> None:
    import psycopg2

    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement, parameters if "%(" in statement else None)


def _parameters(size: int) -> dict[str, Any]:
    document = {"kind": "WorkFlow", "metadata": {"secret": "s"}, "spec": {"metadata": data.WORKFLOW}}
    return {"size": size, "queue": QUEUE, "document": encode(document), "limits": encode(Limits())}


_SCRIPTS = (
    """
    INSERT INTO jobs (agreementid, workflowid, owner, provider, status, namespace, workflow, limits, phase, step,
                      datecreated, datefinished, wake_at, deadline)
    SELECT 'agreement-' || n, md5(n::text), 'owner-' || n %% (%(size)s / 100), 'provider-' || n %% 10,
           CASE WHEN n %% 20 = 0 THEN 1 ELSE 70 END, %(queue)s, %(document)s, %(limits)s,
           CASE WHEN n %% 20 = 0 THEN 'queued' ELSE 'finished' END,
           CASE WHEN n %% 20 = 0 THEN 1 ELSE 5 END,
           timestamp '2026-01-01' + n * interval '1 second',
           CASE WHEN n %% 20 > 0 THEN timestamp '2026-06-01' END,
           CASE WHEN n %% 20 = 0 THEN timestamp '2100-01-01' END,
           CASE WHEN n %% 20 = 0 THEN timestamp '2100-01-01' END
    FROM generate_series(1, %(size)s) n
    """,
    """
    INSERT INTO history (workflow, step, at, before, after, status, event, reason, attempt, cause)
    SELECT workflowid, line, datecreated, 'queued', 'finished', 70, 'x', '', 0, 'bench'
    FROM jobs, LATERAL generate_series(1, step) line
    """,
    """
    INSERT INTO stage_attempts (workflow, stage, executor, attempt, created_at, job_uid)
    SELECT workflowid, stage, 0, 1, datecreated, 'uid'
    FROM jobs, unnest(ARRAY['configure', 'algorithm', 'publish']) stage WHERE phase = 'finished'
    """,
)
