"""A log is followed through the laptop's gateway while its algorithm runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.laptop import ROOT, Laptop, document

pytestmark = pytest.mark.xdist_group("e2e")
CODE = "echo begun; while [ ! -e $OUTPUTS/go ]; do sleep 0.1; done; echo done"


def test_a_log_is_printed_while_its_algorithm_runs(laptop: Laptop, tmp_path: Path) -> None:
    job = laptop.submit(document(CODE))
    command = [sys.executable, "-m", "functions.cli.main", "logs", job, "--follow", "--url", laptop.url]
    environment = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"begun\n"
            (outputs,) = (laptop.folder / "cluster").glob(f"*/{job}/data/outputs")
            (outputs / "go").touch()
            assert process.stdout.read() == b"done\n"
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert laptop.finished(job)["status"] == 70
