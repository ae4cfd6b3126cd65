"""A cluster without a machine behind it: every Job succeeds the moment it is created.

For trying out the functions and for benchmarks (`SLUICE_CLUSTER=memory`). It has no state: whatever it answers follows
from the Job's name, so that several processes see the same cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import NAMESPACE_URL, uuid5

from functions.cluster.ports import JobRef, JobStatus, StageJob, State
from functions.workflow.model import JobUid, Outcome, Workflow, WorkflowId
from functions.workflow.tick import TickLevel


class InstantCluster:
    """The adapter. It never raises."""

    def create(self, job: StageJob) -> JobUid:
        return uid_of(job.ref)

    def delete(self, ref: JobRef) -> bool:
        return True

    def read(self, ref: JobRef, pod: str | None = None) -> JobStatus:
        return JobStatus(State.ENDED, uid_of(ref), Outcome.SUCCEEDED, 0)

    def clean_up(self, workflow: WorkflowId, namespace: str) -> None:
        """Do nothing: no object exists."""

    def orphans(self, namespace: str, limit: int) -> Sequence[WorkflowId]:
        return ()

    def logs(self, ref: JobRef, lines: int, max_bytes: int) -> Iterator[bytes]:
        return iter(())

    def follow(self, ref: JobRef, since: int) -> Iterator[bytes]:
        return iter(())

    def set_tick(self, level: TickLevel) -> None:
        """Do nothing: no tick comes."""

    def workflow_object(self, origin: str) -> None:
        """Return None: there are no WorkFlow objects."""

    def report(self, origin: str, workflow: Workflow) -> None:
        """Do nothing: there are no WorkFlow objects."""


def uid_of(ref: JobRef, number: int = 0) -> JobUid:
    """A UID that follows from the Job's name. `number` tells Jobs of the same name apart, one made after the other."""
    return JobUid(str(uuid5(NAMESPACE_URL, f"{ref.namespace}/{ref.name}/{number}")))
