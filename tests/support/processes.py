"""The laptop's cluster for tests: the adapter, a kubelet, and helpers that run Jobs and read what became of them."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from msgspec.structs import replace
from support.clusters import stage_job
from support.laptop import command_line, pids, until

from functions.cluster.events import ApiServerEvent
from functions.cluster.ports import Cluster, JobRef, JobStatus, StageJob, State
from functions.cluster.processes import ProcessCluster, tick_level
from functions.local.isolation import Isolation, probe
from functions.local.kubelet import Kubelet
from functions.local.launch_spec import LaunchOptions
from functions.workflow.model import JobUid, Stage
from functions.workflow.tick import TickLevel

__all__ = ["command_line", "pids"]
MIB = 1 << 20


class ProcessDriver:
    """Runs Jobs as processes, with the best isolation that this machine grants. `announce` receives the events."""

    def __init__(
        self,
        folder: Path,
        announce: Callable[[ApiServerEvent], bool] = lambda event: True,
        isolation: Isolation | None = None,
        shown: Sequence[Path] = (),
    ) -> None:
        self.folder = folder
        self.isolation = isolation or probe()
        self.cluster: Cluster = ProcessCluster(folder)
        self._announce = announce
        self.shown = shown
        self.kubelet = self.new_kubelet()

    def new_kubelet(self) -> Kubelet:
        options = LaunchOptions(self.isolation, platform=self.folder, shown=self.shown)
        kubelet = Kubelet(self.folder, self._announce, options)
        kubelet.start()
        return kubelet

    def job(self, workflow: str, *, ends_with: int | None = None, attempt: int = 1) -> StageJob:
        what = "sleep 3600" if ends_with is None else f"exit {ends_with}"
        return stage_job(workflow, attempt=attempt, entrypoint=f"sh -c 'echo hello; echo there; {what}'")

    def create(self, job: StageJob) -> JobUid:
        return self.cluster.create(job)

    def lose(self, ref: JobRef) -> None:
        self.cluster.delete(ref)

    def tick(self) -> TickLevel:
        return tick_level(self.folder)

    def occupy(self, ref: JobRef) -> bool:
        place = self.folder / ref.namespace / ref.workflow / f"{ref.stage}-{ref.attempt}"
        place.mkdir(parents=True)
        (place / "job.json").write_text("not one of ours")
        return True

    def restart_kubelet(self) -> None:
        """Replace the kubelet by a new one; running stages continue."""
        self.kubelet.stop(end_stages=False)
        self.kubelet = self.new_kubelet()

    def close(self) -> None:
        self.kubelet.stop(end_stages=True)


class Announcements:
    """Receives the kubelet's events. It refuses the first `refusals`."""

    def __init__(self) -> None:
        self.events: queue.Queue[ApiServerEvent] = queue.Queue()
        self.refusals = 0

    def __call__(self, event: ApiServerEvent) -> bool:
        self.refusals -= 1
        if self.refusals >= 0:
            return False
        self.events.put(event)
        return True


def shell_job(command: str, stage: Stage = Stage.ALGORITHM, **limits: Any) -> StageJob:
    """A Job whose program is a shell script. `limits` replace those of the same name."""
    job = stage_job(uuid4().hex, stage, entrypoint=command)
    return replace(job, limits=replace(job.limits, **limits))


def run_to_end(driver: ProcessDriver, job: StageJob) -> JobStatus:
    """Create the Job and wait until it has ended."""
    driver.cluster.create(job)
    return until(lambda: driver.cluster.read(job.ref), lambda status: status.state is State.ENDED)


def read_log(driver: ProcessDriver, job: StageJob) -> str:
    return b"".join(driver.cluster.logs(job.ref, 10**6, 100 * MIB)).decode()


def volume(driver: ProcessDriver, job: StageJob) -> Path:
    """The folder that is the Job's volume."""
    return driver.folder / job.ref.namespace / job.workflow / "data"


def supervisor_pid(driver: ProcessDriver, job: StageJob) -> int:
    lock = driver.folder / job.ref.namespace / job.workflow / f"{job.stage}-{job.attempt}" / "lock"
    return int(lock.read_text())
