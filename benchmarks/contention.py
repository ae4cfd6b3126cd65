"""What submissions wait for that share locks: the tick's row, and the row of their environment."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from statistics import median
from uuid import uuid4

from benchmarks import data
from benchmarks.rows import Row, at_most
from functions.engine.app import App
from functions.settings import Settings
from functions.store.sql import SqlStore
from functions.workflow.environment import Environment
from functions.workflow.tick import TickLevel


def contention(submissions: int, rounds: int) -> Iterator[Row]:
    """Have eight threads submit at once, beside a sweep each 20 ms. Both variants run in turn; figures are medians.

    `submissions`: of one round.
    """
    names = [f"env-{n:03}" for n in range(100)]
    with data.postgres() as url, closing(SqlStore(url, pool_size=10)) as store:
        app = App(
            Settings(cluster="memory", results_url="memory:"),
            environments={name: Environment(id=name, max_jobs=1_000_000) for name in names},
            store=store,
        )
        many, one = _Waits(), _Waits()
        for _ in range(rounds):
            many.during(app, lambda: _submit(app, names, submissions))
            one.during(app, lambda: _submit(app, names[:1], submissions))
    yield Row("scale: submissions by 8 threads, 100 environments", median(many.rates), "per second")
    yield Row("scale: of their time, waiting for the tick's row", many.share("tick") * 100, "%", at_most(5))
    yield Row("scale: of their time, waiting for an environment's row", many.share("slots") * 100, "%", at_most(20))
    yield Row("scale: the same in one environment / in 100", median(one.rates) / median(many.rates), "×")
    yield Row("scale: of their time, waiting for its row", one.share("slots") * 100, "%")


class _Waits:
    """What submissions wait for, in samples taken every 20 ms, each between two steps of the tick's control."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self._waits: Counter[str] = Counter()  # by table
        self._samples = 0

    def share(self, table: str) -> float:
        return self._waits[table] / max(self._samples, 1)

    def during(self, app: App, action: Callable[[], float]) -> None:
        ended = threading.Event()

        def sample() -> None:
            while not ended.wait(0.02):
                app.transitions.tick.settle(TickLevel.FAST)
                for row in app.store.pool.read(_BUSY):  # type: ignore[attr-defined]
                    self._samples += row["busy"]
                    self._waits.update(tick=row["tick"], slots=row["slots"])

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            self.rates.append(action())
        finally:
            ended.set()
            thread.join()


_BUSY = """
    SELECT count(*) AS busy,
           count(*) FILTER (WHERE wait_event_type = 'Lock' AND query LIKE '%%FROM tick%%FOR%%') AS tick,
           count(*) FILTER (WHERE wait_event_type = 'Lock' AND query LIKE '%%FROM slots%%') AS slots
    FROM pg_stat_activity
    WHERE state <> 'idle' AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


def _submit(app: App, names: list[str], number: int) -> float:
    """Submissions per second."""
    ids = iter([uuid4().hex for _ in range(number)])
    order, lock = count(), threading.Lock()

    def work(_: int) -> None:
        while True:
            with lock:
                id_, nth = next(ids, None), next(order)
            if id_ is None:
                return
            app.transitions.submit(data.record(app, id_, names[nth % len(names)]), "bench")

    began = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    return number / (time.perf_counter() - began)
