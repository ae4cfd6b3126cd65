"""Everything that can go wrong around a World, at random: lost and forged events, deaths, clocks that jump."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from support.death import Died, Fate, Mortal, MortalStore
from support.invariants import Invariants
from support.schedules import Schedule
from support.world import DOCUMENT, TASK

from functions.cluster.ports import ClusterUnavailable, JobRef, Rejected
from functions.store.ports import AgreementInUse
from functions.workflow.model import Outcome, Workflow, WorkflowId
from functions.workflow.tick import TickLevel

TASKS = 0.2  # of the workflows are tasks with several executors


class Chaos(Schedule):
    """A World whose processes die, whose events get lost, doubled, reordered and forged."""

    def __init__(self, dice: random.Random, more: Sequence[tuple[Callable[[Any], None], int]] = ()) -> None:
        super().__init__(
            max_jobs=dice.choice((1, 2, 4)),
            lingering=dice.random() < 0.3,
            filter_image=dice.choice(("", "operator/filter", "operator/filter")),
            queue_seconds=dice.choice((3600, 86_400)),
            storage_expiry=dice.choice((0, 3600)),
            attempts=3,
        )
        self.dice = dice
        self.fate = Fate()
        self.store = self.app.store
        self.app.store = MortalStore(self.store, self.fate, "store")
        self.app.cluster = Mortal(self.cluster, self.fate, "cluster")
        self.invariants = Invariants(self)
        # Each schedule has troubles of its own (swarm testing): that reaches corners which an even mix never meets.
        self.actions = [action for action, _ in (*ACTIONS, *more)]
        self.weights = [weight * dice.choice((0.2, 1, 1, 5)) for _, weight in (*ACTIONS, *more)]
        self.announced: list[tuple[Any, Any]] = []  # events that were announced, for duplicates and stale ones

    def state(self, workflow: WorkflowId) -> Workflow:
        found = self.store.state(workflow)
        assert found is not None
        return found

    def some_job(self) -> JobRef | None:
        refs = self.cluster.running()
        return self.dice.choice(refs) if refs else None

    def head_start(self) -> None:
        """The trouble begins at any stage, not only at the first."""
        is_task = self.dice.random() < TASKS
        w = self.submit(document=TASK if is_task else DOCUMENT)
        for _ in range(self.dice.randint(0, 5 if is_task else 3)):
            self.end_job(w)
            self.deliver()
            self.invariants.check()

    def step(self) -> None:
        self.fate.calls.clear()
        self.fate.at = self.dice.randint(1, 14) if self.dice.random() < 0.25 else 0
        self.fate.after = self.dice.random() < 0.5
        action = self.dice.choices(self.actions, self.weights)[0]
        # Whoever sent it tries again, or never comes back.
        with suppress(Died, ClusterUnavailable, AgreementInUse):
            action(self)
        self.fate.at = 0
        self.announced += self.events[-4:]
        self.invariants.check()

    # --- what can happen

    def act_submit(self) -> None:
        document = TASK if self.dice.random() < TASKS else DOCUMENT
        self.submit(agreement=f"agreement-{self.dice.randint(1, 8)}", document=document)

    def act_end(self) -> None:
        if ref := self.some_job():
            w = self.state(ref.workflow)
            if (w.stage, w.attempt, w.executor) != (ref.stage, ref.attempt, ref.executor):
                return
            code = 0 if self.dice.random() < 0.85 else self.dice.choice((1, 3, 31, 32, 62))
            self.end_job(ref.workflow, code, reason="" if code == 0 else "Error")

    def act_kill(self) -> None:
        if ref := self.some_job():
            outcome, reason, code = self.dice.choice(
                (
                    (Outcome.FAILED, "OOMKilled", 137),
                    (Outcome.FAILED, "Evicted", 137),
                    (Outcome.TIMED_OUT, "DeadlineExceeded", None),
                    (Outcome.TIMED_OUT, "DeadlineExceeded", None),
                )
            )
            self.cluster.finish(ref, code, reason, outcome=outcome, oom_killed=reason == "OOMKilled")

    def act_vanish(self) -> None:
        """A Job is deleted by hand or by its TTL. Not before its creation is recorded: nobody could tell it then from
        one that never came to be, and it would be created once more (docs/reliability.md, I2)."""
        recorded = {a.job_uid for w in self.workflows() for a in self.store.attempts(w.id)}
        if refs := [ref for ref in self.cluster.present() if ref.uid in recorded]:
            self.cluster.vanish(self.dice.choice(refs))

    def act_stick(self) -> None:
        if ref := self.some_job():
            self.cluster.stick(
                ref,
                self.dice.choice(("ImagePullBackOff", "Unschedulable", "NoPod")),
                self.clock() - timedelta(minutes=self.dice.choice((0, 5, 15, 15))),
            )

    def act_begin(self) -> None:
        """A container runs; its node's clock may be wrong."""
        if ref := self.some_job():
            self.cluster.begin(ref, self.clock() + timedelta(seconds=self.dice.choice((-300, -5, 0, 300))))

    def act_suspend(self) -> None:
        """Kueue suspends or resumes a Job, often one that is being deleted."""
        halting = [ref for ref in self.cluster.running() if self.cluster.is_being_deleted(ref)]
        if halting:
            self.cluster.suspend(self.dice.choice(halting))
        elif ref := self.some_job():
            (self.cluster.suspend if self.dice.random() < 0.5 else self.cluster.resume)(ref)

    def act_deliver(self) -> None:
        if self.events:
            self.receive(*self.events.pop(self.dice.randrange(len(self.events))))

    def act_deliver_again(self) -> None:
        if self.announced:
            event = self.dice.choice(self.announced)
            for _ in range(self.dice.randint(1, 4)):
                self.receive(*event)

    def act_drop(self) -> None:
        if self.events:
            self.events.pop(self.dice.randrange(len(self.events)))

    def act_forge(self) -> None:
        """An event says that a Job ended which the cluster knows to run; or speaks of nobody's Job."""
        if not self.announced:
            return
        headers, body = copy.deepcopy(self.dice.choice(self.announced))
        if ref := self.some_job():
            body["metadata"]["name"] = ref.name
            body["metadata"].setdefault("labels", {}).update(workflow=ref.workflow, component=str(ref.stage))
        if body["kind"] == "Job":
            body["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        if self.dice.random() < 0.3:
            body["metadata"].setdefault("labels", {})["workflow"] = "e" * 32
        self.receive(headers, body)

    def act_tick(self) -> None:
        """Time passes, and ticks come as the cluster was told."""
        self.pass_time(self.dice.choice((1, 15, 15, 60, 60, 400)))

    def act_jump(self) -> None:
        """Clocks that are set: forward for hours, back for minutes."""
        self.clock.sleep(self.dice.choice((-300, 3700, 90_000)))

    def act_trouble(self) -> None:
        """The API server fails, before or after doing what it was asked."""
        error: Exception = self.dice.choice(
            (
                ClusterUnavailable("500"),
                ClusterUnavailable("slow"),
                Rejected("QuotaExceeded", "", final=False),
                Rejected("Invalid", "", final=True),
            )
        )
        after = isinstance(error, ClusterUnavailable) and self.dice.random() < 0.5
        self.cluster.fail_next(
            self.dice.choice(("create", "set_tick") if isinstance(error, ClusterUnavailable) else ("create",))
            if not after
            else self.dice.choice(("create", "delete", "clean_up", "set_tick")),
            error,
            after=after,
        )

    # --- the end

    def settle(self) -> None:
        """No more trouble: Jobs end, nothing is announced, only ticks come. Everything must come to its end."""
        self.fate.at = 0
        self.cluster.fail_no_more()
        for _ in range(400):
            self.events.clear()
            open_ = [w for w in self.workflows() if not w.finished]
            if not open_ and not self.cluster.present():
                break
            for ref in self.cluster.present():
                if self.cluster.is_being_deleted(ref):
                    self.cluster.vanish(ref)
                elif ref in self.cluster.running() and self.state(ref.workflow).stage is ref.stage:
                    self.end_job(ref.workflow)
            self.pass_time(60)
            self.invariants.check()
        assert all(w.finished for w in self.workflows()), f"stuck: {[w for w in self.workflows() if not w.finished]}"
        assert self.cluster.present() == [], "left behind"  # I6
        self.pass_time(3600)
        assert self.cluster.tick is TickLevel.NONE, "awake without work"


ACTIONS = [
    (Chaos.act_submit, 4),
    (Chaos.act_stop, 1),
    (Chaos.act_delete, 1),
    (Chaos.act_end, 12),
    (Chaos.act_kill, 4),
    (Chaos.act_vanish, 1),
    (Chaos.act_stick, 2),
    (Chaos.act_begin, 1),
    (Chaos.act_suspend, 8),
    (Chaos.act_deliver, 12),
    (Chaos.act_deliver_again, 2),
    (Chaos.act_drop, 2),
    (Chaos.act_forge, 2),
    (Chaos.act_tick, 4),
    (Chaos.act_jump, 1),
    (Chaos.act_trouble, 1),
]
