"""What must hold after every step, whatever happened (I1 to I8 and I12 of docs/reliability.md), read off a World."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from functions.workflow.model import Outcome, Phase, Stage, Stop, WorkflowId
from functions.workflow.tick import TickLevel

ORDER = list(Stage)


def _place(job: Any) -> tuple[int, int, int]:
    """Where an attempt, or a Job, stands in the order in which they run."""
    return ORDER.index(job.stage), job.executor, job.attempt


@dataclass
class Invariants:
    """Watches a World. Remembers ends and acknowledged stops, because those must never be taken back."""

    world: Any
    ends: dict[WorkflowId, tuple[Any, ...]] = field(default_factory=dict)
    stopped: dict[WorkflowId, int] = field(default_factory=dict)  # algorithm Jobs created when it was acknowledged

    def check(self) -> None:
        for found in self.world.records():
            w = found.workflow
            self._end_is_final(w)
            self._history_is_a_path(w)
            self._has_a_wake_up(w)
            self._results_only_if_published(found)
            self._no_start_after_a_stop(w)
        self._one_job_alive()
        self._stages_in_their_order()
        self._slots_hold()
        self.never_asleep()

    def acknowledged_stop(self, workflow: WorkflowId) -> None:
        self.stopped.setdefault(workflow, self._algorithms(workflow))

    def _algorithms(self, workflow: WorkflowId) -> int:
        prefix = f"{workflow}-{Stage.ALGORITHM}-"
        return sum(n for name, n in self.world.cluster.created.items() if name.startswith(prefix))

    def never_asleep(self) -> None:
        """I12"""
        workflows = [found.workflow for found in self.world.records()]
        unfinished = [w.id for w in workflows if w.phase not in (Phase.FINISHED, Phase.HELD)]
        assert not unfinished or self.world.cluster.tick is not TickLevel.NONE, f"asleep with {unfinished}"

    def _end_is_final(self, w: Any) -> None:
        """I1"""
        if w.finished:
            end = (w.status, w.ending, w.finished_at, w.stop)
            assert self.ends.setdefault(w.id, end) == end, f"{w.id} changed its end"
        else:
            assert w.id not in self.ends, f"{w.id} came back to life"

    def _one_job_alive(self) -> None:
        """I2"""
        alive = Counter((ref.workflow, ref.stage) for ref in self.world.cluster.running())
        assert all(n == 1 for n in alive.values()), f"more than one Job alive: {alive}"
        assert all(n == 1 for n in self.world.cluster.created.values()), "an attempt had two Jobs"

    def _stages_in_their_order(self) -> None:
        """I3"""
        for ref in self.world.cluster.present():
            attempts = self.world.store.attempts(ref.workflow)
            for earlier in attempts:
                before = _place(earlier) < _place(ref)
                assert not before or earlier.end is not None, f"{ref.name} exists beside an open {earlier}"

    def _history_is_a_path(self, w: Any) -> None:
        """I4"""
        lines = [line for line, _ in self.world.store.history(w.id)]
        assert [line.step for line in lines] == list(range(1, w.step + 1)), f"history of {w.id} has gaps"
        for one, next_ in pairwise(lines):
            assert one.after is next_.before, f"history of {w.id} jumps"
        assert not lines or lines[-1].after is w.phase

    def _has_a_wake_up(self, w: Any) -> None:
        """I5"""
        assert w.finished or w.wake_at is not None, f"{w.id} is forgotten"

    def _results_only_if_published(self, found: Any) -> None:
        """I7"""
        if found.manifest.files or found.manifest.admin_files:
            ends = [a.end for a in self.world.store.attempts(found.workflow.id) if a.stage is Stage.PUBLISH]
            assert any(end and end.outcome is Outcome.SUCCEEDED for end in ends), "results without a publish"

    def _no_start_after_a_stop(self, w: Any) -> None:
        """I8"""
        if w.id in self.stopped:
            assert self._algorithms(w.id) == self.stopped[w.id], f"{w.id} started after its stop"
            assert w.stop is not Stop.NONE

    def _slots_hold(self) -> None:
        for environment in self.world.app.environments.values():
            running = [
                f
                for f in self.world.records()
                if f.workflow.environment == environment.id
                and f.workflow.phase not in (Phase.QUEUED, Phase.HELD, Phase.RELEASE, Phase.FINISHED)
            ]
            assert len(running) <= environment.max_jobs
