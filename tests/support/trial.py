"""Trials: a handler in a process that dies at one of its calls, and the end that follows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

from msgspec.structs import replace
from support.death import Died, Fate, Mortal, MortalStore
from support.invariants import Invariants
from support.review import leave_results
from support.world import MemoryStorage, World

from functions.cluster.ports import Cluster
from functions.results.ports import Storage
from functions.store.ports import Store
from functions.store.values import Query
from functions.workflow.model import Record, Stage, WorkflowId

W = WorkflowId("1".zfill(32))
EXPIRY = 100_000  # seconds, longer than `settled` waits


class Trial(World):
    """A World in which one handler is watched, or killed."""

    def __init__(self) -> None:
        super().__init__(filter_image="operator/filter", max_jobs=1, storage_expiry=EXPIRY)
        told = "http://127.0.0.1:1/"
        settings = dataclasses.replace(
            self.app.settings, signature_required=False, notify_start_url=told, notify_stop_url=told
        )
        self.app.settings = settings
        self.app.new_id = lambda: W
        self.quarantine = MemoryStorage()
        self.app.quarantine = self.quarantine
        self.fate = Fate()

    def dying(self, at: int, after: bool, handler: Callable[[], Any]) -> list[str]:
        """Run `handler` in a process that dies at its `at`-th call; the calls it made."""
        self.fate = fate = Fate(at, after)
        app = self.app
        store, cluster, storage, quarantine = app.store, app.cluster, app.storage, app.quarantine
        app.store = cast(Store, MortalStore(store, fate, "store"))
        app.cluster = cast(Cluster, Mortal(cluster, fate, "cluster"))
        app.storage = cast(Storage, Mortal(storage, fate, "storage"))
        app.quarantine = cast(Storage, Mortal(quarantine, fate, "quarantine"))
        with suppress(Died):
            handler()
        app.store, app.cluster, app.storage, app.quarantine = store, cluster, storage, quarantine
        return fate.calls

    def end_job(self, workflow: WorkflowId, exit_code: int | None = 0, **how: Any) -> None:
        if exit_code == 0 and leave_results(self, self.quarantine, workflow):
            self.cluster.finish(self.job(workflow), exit_code, **how)
        else:
            super().end_job(workflow, exit_code, **how)

    def records(self) -> Sequence[Record]:
        return self.app.store.find(Query())


Kind = TypeVar("Kind", bound=Trial)


def announced(new: Record) -> Record:
    """Submitted as a WorkFlow object, whose status is to be kept up to date."""
    submission = replace(new.submission, origin="ocean-compute/w")
    return Record(replace(new.workflow, reported=True), submission)


def reach(world: Trial, stage: Stage | None) -> None:
    """Let everything go well until `stage` runs (None: until the end), and nothing is told of it any more."""
    while world.state(W).stage is not stage:
        world.end_job(W)
        world.deliver()
    world.events.clear()


def settled(world: Trial) -> Any:
    """The end that comes when nothing else goes wrong, without what may differ: times, and what caused which line."""
    for _ in range(70):
        for ref in world.cluster.running():
            world.end_job(ref.workflow)
        world.deliver()
        world.pass_time(60)
    found = [world.app.store.get(WorkflowId(str(n).zfill(32))) for n in (1, 2)]
    return [
        None
        if r is None
        else (
            r.workflow.phase,
            r.workflow.status,
            r.workflow.stop,
            (r.workflow.removed, r.workflow.expired),
            r.workflow.ending,
            r.manifest,
            [
                (a.stage, a.attempt, a.executor, a.end and a.end.outcome)
                for a in world.app.store.attempts(r.workflow.id)
            ],
            list(world.lines(r.workflow.id)),
            [decision.by for decision in world.app.store.decisions(r.workflow.id)],
            (held := world.app.store.held(r.workflow.id)) and (held.manifest, bool(held.key.identity)),
        )
        for r in found
    ] + [
        sorted(world.cluster.created.items()),
        world.cluster.present(),
        set(world.storage.removed),
        (set(world.quarantine.removed), set(world.quarantine.manifests), set(world.storage.manifests)),
        world.storage.files,
        [letter["event_id"] for letter in world.app.store.dead_letters(10)],
        world.cluster.tick,
        {origin: (w.phase, w.status, w.step) for origin, w in world.cluster.reported.items()},
    ]


def check_every_death(prepare: Callable[[Kind], Callable[[], Any]], again: bool, kind: type[Kind]) -> int:
    """Let a process die before and after each call of a handler; the end must be the undisturbed one. How many calls.

    `again`: the handler runs once more afterwards. Otherwise only ticks come.
    """
    undisturbed = kind()
    calls = undisturbed.dying(0, False, prepare(undisturbed))
    expected = settled(undisturbed)
    assert calls
    for at in range(1, len(calls) + 1):
        for after in (False, True):
            world = kind()
            handler = prepare(world)
            world.dying(at, after, handler)
            Invariants(world).never_asleep()
            if again:
                handler()
            where = f"died {'after' if after else 'before'} call {at} of {len(calls)}: {calls[at - 1]}"
            assert settled(world) == expected, where
    return len(calls)
