"""The laptop's cluster for tests: the adapter, and the node that runs what it was asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support.clusters import stage_job

from functions.cluster.events import ApiServerEvent
from functions.cluster.ports import Cluster, JobRef, StageJob
from functions.cluster.processes import ProcessCluster
from functions.local.isolation import Isolation, probe
from functions.local.kubelet import Node
from functions.workflow.model import JobUid


class ProcessDriver:
    """Jobs as processes, in as good an isolation as this machine grants. `announce` gets the events."""

    def __init__(
        self,
        folder: Path,
        announce: Callable[[ApiServerEvent], bool] = lambda event: True,
        isolation: Isolation | None = None,
    ) -> None:
        self.folder = folder
        self.isolation = isolation or probe()
        self.cluster: Cluster = ProcessCluster(folder)
        self._announce = announce
        self.node = self._new_node()

    def _new_node(self) -> Node:
        node = Node(self.folder, self._announce, self.isolation)
        node.start()
        return node

    def job(self, workflow: str, *, ends_with: int | None = None, attempt: int = 1) -> StageJob:
        what = "sleep 3600" if ends_with is None else f"exit {ends_with}"
        return stage_job(workflow, attempt=attempt, entrypoint=f"sh -c 'echo hello; echo there; {what}'")

    def create(self, job: StageJob) -> JobUid:
        return self.cluster.create(job)

    def lose(self, ref: JobRef) -> None:
        self.cluster.delete(ref)

    def occupy(self, ref: JobRef) -> bool:
        place = self.folder / ref.namespace / ref.workflow / f"{ref.stage}-{ref.attempt}"
        place.mkdir(parents=True)
        (place / "job.json").write_text("not one of ours")
        return True

    def restart_node(self) -> None:
        """A new node instead of the old one; what runs goes on."""
        self.node.stop(end_stages=False)
        self.node = self._new_node()

    def close(self) -> None:
        self.node.stop(end_stages=True)
