"""Sluice in virtual time: workflows arrive, Jobs run and end, events come or are lost, ticks come. The record is real.

Each request, event and sweep runs at once on the real code and the real database, one after the other, while the clock
stands still. So the simulated hours cost only what Sluice and Postgres do in them.
"""

from __future__ import annotations

import heapq
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from benchmarks import data
from functions.advance.event_filter import Hint
from functions.advance.main import handle_hint
from functions.advance.sweep import sweep
from functions.cluster.instant import InstantCluster, uid_of
from functions.cluster.ports import JobRef, JobStatus, StageJob, State
from functions.engine.app import App
from functions.results.ports import Content
from functions.settings import Settings
from functions.store.sql import SqlStore
from functions.store.transaction_port import Transaction
from functions.workflow.environment import Environment
from functions.workflow.model import (
    JobUid,
    Manifest,
    Outcome,
    ResultFile,
    Stage,
    WorkflowId,
)
from functions.workflow.tick import PERIODS, TickLevel

START_SECONDS = 2.0  # from a Job to its container, as on the cluster of docs/performance.md
STAGE_SECONDS = 3.0  # of configure and publish
LONGEST = timedelta(hours=2)  # after this the simulation ends in any case
MEDIAN_SECONDS, SPREAD = 60.0, 1.0  # of the algorithm: a log-normal distribution with a mean of 99 s


@dataclass(frozen=True)
class Scenario:
    """`rate`: workflows per second, for `seconds`; then all run to their end."""

    rate: float
    seconds: float
    environments: int = 100
    lost: float = 0.01  # share of the events that never come
    seed: int = 1


@dataclass
class Result:
    """What a simulation cost. Times are real seconds."""

    submitted: int = 0
    finished: int = 0
    most_unfinished: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)  # of each submission, event, sweep
    checks: int = 0  # Jobs that sweeps have read
    latest: float = 0.0  # virtual seconds from the end of a Job to the next stage, at most
    calls: Counter[str] = field(default_factory=Counter)  # to the cluster, by method

    def busy(self, virtual: float) -> float:
        """Threads that are busy on average."""
        return sum(map(sum, self.seconds.values())) / virtual


class _Cluster(InstantCluster):
    """Jobs that take their time. `on_end` is told when a new Job will end."""

    def __init__(self, clock: Callable[[], datetime], on_end: Callable[[JobRef, datetime], None], seed: int) -> None:
        self.tick = TickLevel.NONE
        self.calls: Counter[str] = Counter()
        self._clock = clock
        self._on_end = on_end
        self._dice = random.Random(seed)
        self._times: dict[str, tuple[datetime, datetime]] = {}  # of each Job: its container's start and end

    def create(self, job: StageJob) -> JobUid:
        self.calls["create"] += 1
        runs = self._dice.lognormvariate(0, SPREAD) * MEDIAN_SECONDS if job.stage is Stage.ALGORITHM else STAGE_SECONDS
        start = self._clock() + timedelta(seconds=START_SECONDS)
        end = start + timedelta(seconds=min(runs, 3000))
        self._times[job.ref.name] = (start, end)
        self._on_end(job.ref, end)
        return uid_of(job.ref)

    def read(self, ref: JobRef, pod: str | None = None) -> JobStatus:
        self.calls["read"] += 1
        start, end = self._times[ref.name]
        if self._clock() >= end:
            return JobStatus(State.ENDED, uid_of(ref), Outcome.SUCCEEDED, 0)
        return JobStatus(State.RUNNING, uid_of(ref), since=start if self._clock() >= start else None)

    def clean_up(self, workflow: WorkflowId, namespace: str) -> None:
        self.calls["clean_up"] += 1
        for stage in Stage:
            self._times.pop(JobRef(workflow, stage, 1, namespace).name, None)

    def set_tick(self, level: TickLevel) -> None:
        self.calls["set_tick"] += 1
        self.tick = level


class _Storage:
    """The manifest that publish would have left: one small file."""

    def manifest(self, workflow: WorkflowId, attempt: int) -> Manifest:
        return Manifest((ResultFile("outputs/result.csv", 8, "output", f"s3://results/{workflow}/result.csv"),))

    def remove(self, workflow: WorkflowId, before: int | None = None) -> None:
        raise NotImplementedError

    def put(self, key: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
        raise NotImplementedError

    def put_manifest(self, workflow: WorkflowId, attempt: int, manifest: Manifest) -> None:
        raise NotImplementedError

    def open(self, file: ResultFile, start: int = 0, end: int | None = None) -> Content:
        raise NotImplementedError


class Simulation:
    """One run of a scenario on the record of `store`."""

    def __init__(self, store: SqlStore, scenario: Scenario) -> None:
        self._scenario = scenario
        self._dice = random.Random(f"{scenario}")
        self._began = self.now = datetime.now(UTC).replace(microsecond=0)
        self._todo: list[tuple[datetime, int, Callable[[], None]]] = []
        self._order = count()
        self._ended: dict[WorkflowId, tuple[JobRef, datetime]] = {}  # whose end nobody has noticed yet
        self._tick_planned = False
        self.result = Result()
        self.cluster = _Cluster(lambda: self.now, self._plan_end, scenario.seed)
        names = [f"env-{n:03}" for n in range(scenario.environments)]
        self.app = App(
            Settings(cluster="memory", results_url="memory:"),
            clock=lambda: self.now,
            environments={name: Environment(id=name, max_jobs=1_000_000, max_job_duration=3600) for name in names},
            store=store,
            cluster=self.cluster,
            storage=_Storage(),
        )
        with store.begin() as tx:
            self.cluster.tick = tx.read_tick().applied  # as an earlier simulation on this record has left it

    def run(self) -> Result:
        """Simulate until every workflow is finished, or LONGEST after the last came."""
        at, arrivals = 0.0, 0
        while (at := at + self._dice.expovariate(self._scenario.rate)) < self._scenario.seconds:
            self._plan(self._began + timedelta(seconds=at), self._submit)
            arrivals += 1
        last = self._began + timedelta(seconds=self._scenario.seconds) + LONGEST
        while self.result.finished < arrivals and self.now < last:
            self.now, _, action = heapq.heappop(self._todo)
            action()
            self._plan_tick()
        self.result.calls = self.cluster.calls
        return self.result

    # --- what happens

    def _submit(self) -> None:
        number = self.result.submitted
        id_ = f"{self._dice.getrandbits(128):032x}"
        record = data.record(self.app, id_, f"env-{number % self._scenario.environments:03}")
        nonce = time.time_ns()
        self._timed("submission", lambda: self.app.transitions.submit(record, "simulation", lambda tx: _use(tx, nonce)))
        self.result.submitted += 1
        self.result.most_unfinished = max(self.result.most_unfinished, self.result.submitted - self.result.finished)

    def _end(self, ref: JobRef) -> None:
        """The container of a Job ends. Its event comes at once, or never."""
        self._ended[ref.workflow] = (ref, self.now)
        if self._dice.random() >= self._scenario.lost:
            self._timed("event", lambda: handle_hint(self.app, Hint(ref), "simulation"))
            self._noticed(ref)

    def _noticed(self, ref: JobRef) -> None:
        """Note how late the end of a stage was noticed."""
        _, ended = self._ended.pop(ref.workflow)
        self.result.latest = max(self.result.latest, (self.now - ended).total_seconds())
        if ref.stage is Stage.PUBLISH:
            self.result.finished += 1

    def _tick(self) -> None:
        self._tick_planned = False
        reads = self.cluster.calls["read"]
        self._timed("sweep", lambda: sweep(self.app, self.cluster.tick))
        self.result.checks += self.cluster.calls["read"] - reads
        for ref, _ in list(self._ended.values()):
            state = self.app.store.state(ref.workflow)
            if state is None or state.stage is not ref.stage:
                self._noticed(ref)

    # --- when it happens

    def _plan(self, at: datetime, action: Callable[[], None]) -> None:
        heapq.heappush(self._todo, (at, next(self._order), action))

    def _plan_end(self, ref: JobRef, at: datetime) -> None:
        self._plan(at, lambda: self._end(ref))

    def _plan_tick(self) -> None:
        if not self._tick_planned and self.cluster.tick in PERIODS:
            self._tick_planned = True
            self._plan(self.now + PERIODS[self.cluster.tick], self._tick)

    def _timed(self, kind: str, action: Callable[[], object]) -> None:
        began = time.perf_counter()
        action()
        self.result.seconds.setdefault(kind, []).append(time.perf_counter() - began)


def _use(tx: Transaction, nonce: int) -> None:
    assert tx.use_nonce("0xprovider", nonce)
