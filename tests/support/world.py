"""A whole Sluice in memory: record, cluster, results, a clock that tests turn, events that wait for delivery."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from support.memory_cluster import MemoryCluster
from support.memory_store import MemoryStore

from functions.advance.event_filter import hint_of
from functions.advance.main import handle_hint
from functions.advance.sweep import sweep
from functions.cluster.ports import JobRef, job_ref
from functions.engine.app import App
from functions.results.ports import Content
from functions.settings import Settings
from functions.workflow.decision import Verdict
from functions.workflow.document import parse
from functions.workflow.environment import Environment, grant, grant_task
from functions.workflow.model import Manifest, Record, ResultFile, Stage, Submission, Workflow, WorkflowId
from functions.workflow.observation import DeleteRequested, StopRequested
from functions.workflow.tes_task import read
from functions.workflow.tick import PERIODS

# The stages of a workflow whose data have no policy.
STAGES = (Stage.CONFIGURE, Stage.ALGORITHM, Stage.FILTER, Stage.PUBLISH)
AFTER_A_SLOW_TICK = (0, 47, 100, 333, 590)  # seconds
START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ENVIRONMENT = "ocean-compute"
DOCUMENT: dict[str, Any] = {
    "stages": [
        {
            "index": 0,
            "input": [{"index": 0, "id": "did:op:1", "url": "https://data.example/1.csv"}],
            "compute": {},
            "algorithm": {"rawcode": "print(1)", "container": {"entrypoint": "python3 $ALGO", "image": "python"}},
            "output": {},
        }
    ]
}


@dataclass
class Clock:
    """Time that goes on only when told to."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class MemoryStorage:
    """Results that publish would have left: a manifest per attempt, set by `published`."""

    manifests: dict[tuple[str, int], Manifest] = field(default_factory=dict)
    files: set[tuple[str, int]] = field(default_factory=set)  # attempts that have left some, listed or not
    removed: list[str] = field(default_factory=list)

    def manifest(self, workflow: WorkflowId, attempt: int) -> Manifest | None:
        return self.manifests.get((workflow, attempt))

    def remove(self, workflow: WorkflowId, before: int | None = None) -> None:
        self.removed.append(workflow)
        for key in [key for key in self.manifests if key[0] == workflow and (before is None or key[1] < before)]:
            del self.manifests[key]
        self.files = {key for key in self.files if key[0] != workflow or (before is not None and key[1] >= before)}

    def put(self, key: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
        raise NotImplementedError

    def put_manifest(self, workflow: WorkflowId, attempt: int, manifest: Manifest) -> None:
        self.manifests[workflow, attempt] = manifest

    def open(self, file: ResultFile, start: int = 0, end: int | None = None) -> Content:
        raise NotImplementedError


TASK: dict[str, Any] = {
    "executors": [
        {"image": "alpine", "command": ["sh", "-c", "exit $RANDOM"], "ignore_error": True},
        {"image": "alpine", "command": ["true"]},
        {"image": "alpine", "command": ["false"], "ignore_error": True},
    ]
}


def environment(**changes: Any) -> Environment:
    return Environment(**{"id": ENVIRONMENT, "max_jobs": 4, **changes})


def assemble(
    store: Any = None,
    cluster: Any = None,
    storage: Any = None,
    clock: Callable[[], datetime] | None = None,
    **limits: Any,
) -> App:
    """The parts, with these adapters instead of those that settings would name."""
    clock = clock or Clock()
    return App(
        Settings(cluster="memory", results_url="memory:"),
        clock=clock,
        environments={ENVIRONMENT: environment(**limits)},
        store=store if store is not None else MemoryStore(),
        cluster=cluster if cluster is not None else MemoryCluster(clock=clock),
        storage=storage if storage is not None else MemoryStorage(),
    )


def record(app: App, number: int | str, agreement: str | None = None, document: Mapping[str, Any] = DOCUMENT) -> Record:
    """A submission as `submit` would record it."""
    id_ = WorkflowId(number if isinstance(number, str) else f"{number:032x}")
    if is_task := "executors" in document:
        limits = grant_task(app.environments[ENVIRONMENT], read(document))
    else:
        limits = grant(app.environments[ENVIRONMENT], parse(document))
    workflow = Workflow(id_, ENVIRONMENT, limits, app.clock())
    dialect = "tes" if is_task else "ocean"
    asked = Submission(agreement or f"agreement-{id_}", "0xowner", "0xprovider", document, "secret", dialect=dialect)
    return Record(workflow, asked)


def _grid(now: datetime, period: timedelta) -> datetime:
    """The next time after `now` at which a PingSource of that period sends."""
    return now + period - (now - START.replace(hour=0)) % period


class World:
    """What happens around a Sluice: users, Jobs that end, events that come, ticks."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.events: list[tuple[Mapping[str, str], Any]] = []
        self.storage = MemoryStorage()
        self.cluster = MemoryCluster(
            announce=lambda event: self.events.append((event.headers, event.body)),
            clock=self.clock,
            lingering=options.pop("lingering", False),
        )
        self.app = assemble(
            options.pop("store", None), options.pop("cluster", self.cluster), self.storage, self.clock, **options
        )
        self._numbers = count(1)
        self.wakes = 0

    # --- users

    def submit(self, **options: Any) -> WorkflowId:
        new = record(self.app, next(self._numbers), **options)
        return self.app.transitions.submit(new, "test").workflow.id

    def reached(self, stage: Stage) -> WorkflowId:
        """A new workflow for which all went well until `stage` runs."""
        workflow = self.submit()
        while self.state(workflow).stage is not stage:
            self.end_job(workflow)
            self.deliver()
        return workflow

    def with_running_algorithm(self) -> WorkflowId:
        """A new workflow whose algorithm's container has started."""
        workflow = self.reached(Stage.ALGORITHM)
        self.cluster.begin(self.job(workflow), self.clock())
        return workflow

    def stop(self, workflow: WorkflowId) -> Verdict:
        return self.app.transitions.apply(workflow, StopRequested(), "test")

    def delete(self, workflow: WorkflowId) -> Verdict:
        return self.app.transitions.apply(workflow, DeleteRequested(), "test")

    # --- Jobs

    def job(self, workflow: WorkflowId) -> JobRef:
        """The Job of the current attempt."""
        state = self.state(workflow)
        assert state.stage is not None
        return job_ref(state, state.stage, state.attempt, self.app.environments, state.executor)

    def end_job(self, workflow: WorkflowId, exit_code: int | None = 0, **how: Any) -> None:
        """The current Job's program ends; a publish that succeeds has left its manifest."""
        ref = self.job(workflow)
        if ref.stage is Stage.PUBLISH and exit_code == 0:
            files = (ResultFile("outputs/a.csv", 1, "output", f"memory:{workflow}"),)
            self.storage.put_manifest(workflow, ref.attempt, Manifest(files))
        self.cluster.finish(ref, exit_code, **how)

    # --- events and time

    def deliver(self) -> int:
        """Deliver what was announced, oldest first, until nothing new comes; how many events that were."""
        delivered = 0
        while self.events:
            self.receive(*self.events.pop(0))
            delivered += 1
        return delivered

    def receive(self, headers: Mapping[str, str], body: Any) -> None:
        """What `advance` does with an event."""
        attributes = {key.removeprefix("ce-").lower(): value for key, value in headers.items()}
        if hint := hint_of(attributes, body):
            handle_hint(self.app, hint, attributes.get("id", ""))

    def pass_time(self, seconds: float, *, hourly: bool = True) -> None:
        """Let time pass. Ticks come when their PingSources send them, as the cluster was told; `wakes` counts them."""
        end = self.clock.now + timedelta(seconds=seconds)
        while (at := self._next_tick(hourly)) <= end:
            self.clock.now = at
            self.wakes += 1
            on_the_hour = at == _grid(at - timedelta(microseconds=1), timedelta(hours=1))
            sweep(self.app, None if hourly and on_the_hour else self.cluster.tick)
        self.clock.now = end

    def _next_tick(self, hourly: bool) -> datetime:
        times = [_grid(self.clock.now, PERIODS[self.cluster.tick])] if self.cluster.tick in PERIODS else []
        if hourly:
            times.append(_grid(self.clock.now, timedelta(hours=1)))
        return min(times, default=datetime.max.replace(tzinfo=UTC))

    def tick(self, seconds: float = 60) -> Mapping[str, int]:
        """Time passes and the sweep runs."""
        self.clock.sleep(seconds)
        return sweep(self.app)

    def run(self, workflow: WorkflowId) -> None:
        """Every Job succeeds and every event comes, to the end."""
        while not self.state(workflow).finished:
            self.wait_for_job(workflow)
            self.end_job(workflow)
            self.deliver()

    def wait_for_job(self, workflow: WorkflowId) -> None:
        """Ticks, while a further attempt has its pause."""
        for _ in range(30):
            if self.state(workflow).job_uid is not None:
                return
            self.tick()
        raise AssertionError(f"no Job comes to be for {self.state(workflow)}")

    # --- what there is

    def state(self, workflow: WorkflowId) -> Workflow:
        found = self.app.store.state(workflow)
        assert found is not None
        return found

    def lines(self, workflow: WorkflowId) -> Iterator[str]:
        """The events of the history."""
        return (line.event for line, _ in self.app.store.history(workflow))
