"""The laptop reads the end of a log that an algorithm may have replaced by anything."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from support.clusters import stage_job

from functions.cluster.processes import ProcessCluster

KIB = 1 << 10


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """The folder of the logs of a Job that runs."""
    folder = tmp_path / "cluster" / "demo" / "w" / "data" / "logs"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def read(tmp_path: Path) -> Callable[[int, int], bytes]:
    cluster, job = ProcessCluster(tmp_path / "cluster"), stage_job("w")
    cluster.create(job)
    return lambda lines, max_bytes: b"".join(cluster.logs(job.ref, lines, max_bytes))


def test_the_last_lines_are_read(logs: Path, read: Callable[[int, int], bytes]) -> None:
    (logs / "algorithm.log").write_bytes(b"".join(b"line %d\r%%\n" % n for n in range(1000)) + b"end")
    assert read(3, KIB) == b"line 998\r%\nline 999\r%\nend"
    assert read(0, KIB) == b""


def test_a_huge_file_of_holes_costs_no_memory(logs: Path, read: Callable[[int, int], bytes]) -> None:
    with (logs / "algorithm.log").open("wb") as file:
        file.truncate(50 << 30)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + (256 << 20), hard))
    try:
        assert len(read(10**6, KIB)) == KIB
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_a_pipe_in_place_of_the_log_does_not_block(logs: Path, read: Callable[[int, int], bytes]) -> None:
    os.mkfifo(logs / "algorithm.log")
    assert read(10, KIB) == b""


@pytest.mark.parametrize("kind", ["link", "hard link", "linked folder"])
def test_a_link_in_place_of_the_log_is_not_followed(
    logs: Path, tmp_path: Path, read: Callable[[int, int], bytes], kind: str
) -> None:
    secret = tmp_path / "elsewhere" / "algorithm.log"
    secret.parent.mkdir()
    secret.write_text("secret")
    match kind:
        case "link":
            (logs / "algorithm.log").symlink_to(secret)
        case "hard link":
            (logs / "algorithm.log").hardlink_to(secret)
        case _:
            logs.rmdir()
            logs.symlink_to(secret.parent)
    assert read(10, KIB) == b""
