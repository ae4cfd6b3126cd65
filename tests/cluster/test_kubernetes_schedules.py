"""Random schedules on the adapter for Kubernetes, whose API fails at random, on every kind and verb (F24, F26, F42).

A quota conflict, another conflict, throttling, an exceeded quota, an internal error, a cut connection: before or after
the call was carried out. Each schedule is a seed; a failure names it. The long profile (`make faults`) runs 10 000.
"""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import timedelta

import pytest
from support.fake_kube import QUOTA_CONFLICT
from support.invariants import Invariants
from support.kube_answers import Fault
from support.kube_objects import KubeObjects
from support.kube_world import UPDATE, KubeView, KubeWorld
from support.schedules import LONG, Schedule, run

from functions.backoff import Backoff
from functions.cluster.kubernetes import client
from functions.cluster.ports import ClusterUnavailable, JobRef
from functions.store.ports import AgreementInUse

SCHEDULES = 10_000 if LONG else 250
STEPS = 30
# The longest pause of a retry or of a further attempt (15 minutes), and the tick after it.
LONGEST_PAUSE = timedelta(minutes=17)
EXCEEDED = 'jobs.batch "x" is forbidden: exceeded quota: environment'


class KubeChaos(KubeWorld, Schedule):
    """A KubeWorld whose API fails at random and whose events get lost, doubled and reordered."""

    def __init__(self, dice: random.Random) -> None:
        # A Pod that waits for a volume which nobody creates would wait for `start_seconds`.
        super().__init__(KubeObjects(), max_jobs=dice.choice((1, 2, 4)), attempts=3, start_seconds=86_400)
        self.dice = dice
        self.store = self.app.store
        self.view = KubeView(self.kube, self.app.cluster)
        self.invariants = Invariants(Watched(self))
        self.rate = dice.choice((0.05, 0.2, 0.5))
        self.injected = 0
        self.removed_by_hand: set[str] = set()
        self.kube.chance = self.fault

    def fault(self, verb: str, resource: str) -> Fault | None:
        if self.dice.random() >= self.rate:
            return None
        after = self.dice.random() < 0.5
        faults = [
            Fault(409, "the object has been modified"),
            Fault(429, "too many requests", {"Retry-After": "1"}),
            Fault(self.dice.choice((500, 503, 504)), after=after),
            Fault(0, after=after),
        ]
        if verb == "create":
            faults += [QUOTA_CONFLICT, QUOTA_CONFLICT, Fault(403, EXCEEDED)]
        self.injected += 1
        return self.dice.choice(faults)

    def step(self) -> None:
        action = self.dice.choices([action for action, _ in ACTIONS], [weight for _, weight in ACTIONS])[0]
        with suppress(ClusterUnavailable, AgreementInUse):  # the sender tries again, or never comes back
            action(self)
        self.check()

    def check(self) -> None:
        self.invariants.check()
        for ref in self.view.present():
            missing = list(self.missing(ref))
            assert not missing, f"{ref.name} runs without {missing}"

    def missing(self, ref: JobRef) -> list[str]:
        """The objects that a Job's Pod mounts and that do not exist."""
        spec = (self.kube.find("jobs", ref.name) or {})["spec"]["template"]["spec"]
        claims = [v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v]
        secrets = [v["secret"]["secretName"] for v in spec["volumes"] if not v.get("secret", {}).get("optional", True)]
        wanted = [("persistentvolumeclaims", name) for name in claims] + [("secrets", name) for name in secrets]
        return [name for plural, name in wanted if self.kube.find(plural, name) is None]

    # --- what can happen

    def act_submit(self) -> None:
        self.submit(agreement=f"agreement-{self.dice.randint(1, 6)}")

    def act_end(self) -> None:
        """A program ends; its Job says so now or later; the events come, twice, or not at all."""
        if (ref := self.some_job()) is None:
            return
        code = 0 if self.dice.random() < 0.85 else self.dice.choice((1, 31, 32, 62, 137))
        if code == 0:
            self.publish(ref)
        body = self.pod_body(self.kube.terminate(ref.name, code))
        bodies = [body] * self.dice.choice((0, 1, 1, 2))
        if code or self.dice.random() < 0.5:
            self.kube.finish(ref.name, code)
            bodies += [self.job_body(ref.name)] * self.dice.choice((0, 1))
        for each in bodies:
            self.receive(UPDATE, each)

    def act_remove_by_hand(self) -> None:
        """A Job is deleted by hand, if its creation is recorded."""
        recorded = {attempt.job_uid for w in self.workflows() for attempt in self.store.attempts(w.id)}
        uids = {ref: (self.kube.find("jobs", ref.name) or {})["metadata"]["uid"] for ref in self.view.present()}
        if refs := [ref for ref, uid in uids.items() if uid in recorded]:
            self.kube.remove("jobs", self.dice.choice(refs).name)

    def act_tick(self) -> None:
        self.tick(self.dice.choice((1, 15, 60, 400)))

    # --- the end

    def settle(self) -> None:
        """No more faults and no events: programs end and ticks come. Everything must finish, and soon."""
        self.kube.chance = lambda verb, resource: None
        began, created = self.clock(), self.kube.created.total()
        for _ in range(200):
            open_ = [w for w in self.workflows() if not w.finished]
            if not open_ and not self.kube.objects:
                return
            for ref in self.view.running():
                if self.state(ref.workflow).stage is ref.stage:
                    self.publish(ref)
                    self.kube.finish(ref.name)
            if self.kube.created.total() > created:
                began, created = self.clock(), self.kube.created.total()
            assert not open_ or self.clock() - began <= LONGEST_PAUSE, f"nothing happens for {open_}"
            self.tick()
            self.check()
        raise AssertionError(f"not finished: {[w for w in self.workflows() if not w.finished]}, {self.kube.objects}")

    def some_job(self) -> JobRef | None:
        refs = [ref for ref in self.view.running() if self.state(ref.workflow).stage is ref.stage]
        return self.dice.choice(refs) if refs else None


class Watched:
    """What the invariants read."""

    def __init__(self, world: KubeChaos) -> None:
        self.cluster, self.store, self.app, self.records = world.view, world.store, world.app, world.records


ACTIONS = [
    (KubeChaos.act_submit, 4),
    (KubeChaos.act_stop, 1),
    (KubeChaos.act_delete, 1),
    (KubeChaos.act_end, 12),
    (KubeChaos.act_remove_by_hand, 1),
    (KubeChaos.act_tick, 6),
]


@pytest.mark.timeout(3600 if LONG else 120)
def test_f42_faults_of_the_api_on_every_kind_delay_a_workflow_and_break_no_invariant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "CONFLICT_BACKOFF", Backoff(0, 1, 0))
    faults, met = 0, set[tuple[str, str]]()
    for chaos in run(KubeChaos, SCHEDULES, STEPS):
        faults += chaos.injected
        met |= chaos.kube.calls.keys()
    print(f"{faults} faults of the API")
    kinds = ("configmaps", "secrets", "persistentvolumeclaims", "jobs")
    assert met >= {*(("create", kind) for kind in kinds), ("delete", "jobs"), ("get", "jobs"), ("list", "pods")}
