"""Replays recorded events against the rules: one workflow in its algorithm stage, and the recorded cluster."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace
from support.recorded import (
    REF,
    START,
    RecordedApi,
    Sent,
    job_uid,
)

from functions.advance.event_filter import hint_of
from functions.advance.reconcile import observation_of
from functions.cluster.kubernetes.cluster import KubernetesCluster
from functions.settings import Settings
from functions.workflow.decide import decide
from functions.workflow.decision import AttemptEnd, DeleteJob
from functions.workflow.model import Limits, Outcome, Phase, Workflow
from functions.workflow.observation import Tick

EXPECTED: dict[str, tuple[Outcome, str, int | None]] = {
    "success": (Outcome.SUCCEEDED, "", 0),
    "suspended": (Outcome.SUCCEEDED, "", 0),
    "ttl": (Outcome.SUCCEEDED, "", 0),
    "exit-1": (Outcome.FAILED, "AlgorithmExit:1", 1),
    "oom": (Outcome.FAILED, "OOMKilled", 137),
    "retry-then-ok": (Outcome.FAILED, "AlgorithmExit:3", 3),
    "exit-42-policy": (Outcome.FAILED, "AlgorithmExit:42", 42),
    "deadline": (Outcome.TIMED_OUT, "DeadlineExceeded", None),
    "image-missing": (Outcome.TIMED_OUT, "DeadlineExceeded", None),
    "unschedulable": (Outcome.TIMED_OUT, "DeadlineExceeded", None),
    "configmap-missing": (Outcome.TIMED_OUT, "DeadlineExceeded", None),
    "deleted": (Outcome.LOST, "Lost", None),
}


class Replay:
    """One workflow in its algorithm stage, and the recorded cluster."""

    def __init__(self, scenario: str, *, stuck_seconds: int = 3600) -> None:
        self.api = RecordedApi(scenario)
        self.cluster = KubernetesCluster(Settings(), self.api)
        self.workflow = Workflow(
            REF.workflow,
            "demo",
            Limits(stuck_seconds=stuck_seconds, start_seconds=stuck_seconds),
            START,
            phase=Phase.ALGORITHM,
            attempt=1,
            job_uid=job_uid(scenario),
            deadline=START + timedelta(hours=1),
        )
        self.ended: list[AttemptEnd] = []
        self.ended_at = 0.0
        self.waited = ""  # the last reason to wait that a read has shown

    def deliver(self, sent: Sent, at: float) -> None:
        """Do what `advance` does with an event: drop it, or read the Job and decide."""
        hint = hint_of(sent.attributes, sent.body)
        if hint is not None and (hint.ref.stage, hint.ref.attempt) == (self.workflow.stage, self.workflow.attempt):
            self.look(at, hint.pod)

    def look(self, at: float, pod: str | None = None) -> None:
        self.api.at = at
        ref = replace(REF, uid=self.workflow.job_uid)
        seen = observation_of(ref, self.cluster.read(ref, pod)) if self.workflow.stage is REF.stage else Tick()
        decision = decide(self.workflow, seen, self.api.now)
        self.workflow = decision.workflow
        self.waited = self.workflow.waiting.reason if self.workflow.waiting else self.waited
        if decision.closed is not None:
            self.ended.append(decision.closed)
            self.ended_at = at
        if any(isinstance(effect, DeleteJob) for effect in decision.effects):
            self.api.gone_at = at + 1

    def expected(self, scenario: str) -> tuple[Outcome, str, int | None]:
        """A stage that never ran fails with the reason that a read has shown, or else by its deadline."""
        return (Outcome.FAILED, self.waited, None) if self.waited else EXPECTED[scenario]

    @property
    def ends(self) -> list[tuple[Outcome, str, int | None]]:
        return [(end.outcome, end.reason, end.exit_code) for end in self.ended]
