"""Random schedules: a seed each, what users do in all of them, and the loop that names the seed of a failure."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from support.invariants import Invariants
from support.world import World

from functions.store.ports import Store
from functions.store.values import Query
from functions.workflow.decision import Verdict
from functions.workflow.model import Record, Workflow

LONG = bool(os.environ.get("SLUICE_LONG"))
FIRST_SEED = int(os.environ.get("SLUICE_SEED", "0"))


class Schedule(World):
    """A World in which one random thing after another happens, and its users."""

    dice: random.Random
    store: Store  # the record itself, without the faults that a schedule puts in front of it
    invariants: Invariants

    def head_start(self) -> None:
        """Bring the World into the state in which the trouble begins."""

    def step(self) -> None:
        """Let one random thing happen, and check the invariants."""
        raise NotImplementedError

    def settle(self) -> None:
        """End the trouble, and check that everything comes to its end."""
        raise NotImplementedError

    def records(self) -> Sequence[Record]:
        return self.store.find(Query())

    def workflows(self) -> list[Workflow]:
        return [found.workflow for found in self.records()]

    def some(self) -> Workflow | None:
        found = self.workflows()
        return self.dice.choice(found) if found else None

    def act_stop(self) -> None:
        w = self.some()
        if w and self.stop(w.id) is Verdict.APPLIED:
            self.invariants.acknowledged_stop(w.id)

    def act_delete(self) -> None:
        w = self.some()
        if w and self.delete(w.id) is Verdict.APPLIED and not w.finished:
            self.invariants.acknowledged_stop(w.id)


S = TypeVar("S", bound=Schedule)


def run(make: Callable[[random.Random], S], schedules: int, steps: int) -> Iterator[S]:
    """Run so many schedules, and yield each at its end."""
    for seed in range(FIRST_SEED, FIRST_SEED + schedules):
        schedule = make(random.Random(seed))
        try:
            schedule.head_start()
            for _ in range(steps):
                schedule.step()
            schedule.settle()
        except BaseException:
            print(f"\nseed {seed}: SLUICE_SEED={seed} repeats it")
            raise
        yield schedule
    print(f"\n{schedules} schedules from seed {FIRST_SEED}, 0 violations")
