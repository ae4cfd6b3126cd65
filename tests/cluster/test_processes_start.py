"""The laptop tells when a Job was started: when its supervisor wrote its process id into the lock."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from support.clusters import stage_job

from functions.cluster.ports import State
from functions.cluster.processes import ProcessCluster, job_folders


def test_a_job_that_waits_has_no_start_and_a_running_one_has(tmp_path: Path) -> None:
    cluster, job = ProcessCluster(tmp_path / "cluster"), stage_job("w")
    cluster.create(job)
    (folder,) = job_folders(tmp_path / "cluster")
    assert (cluster.read(job.ref).state, cluster.read(job.ref).since) == (State.RUNNING, None)
    folder.lock.touch()
    assert cluster.read(job.ref).since is None
    folder.lock.write_text("4711")
    os.utime(folder.lock, (1_700_000_000, 1_700_000_000))
    assert cluster.read(job.ref).since == datetime.fromtimestamp(1_700_000_000, UTC)
