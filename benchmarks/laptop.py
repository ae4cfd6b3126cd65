"""`sluice run` of a workflow whose stages do nothing, compared with starting the programs of its stages alone.

The run includes the command line, the functions, the broker, a new database, isolation, three supervised stages and the
results on disk. The programs alone are configure, which has only the algorithm's text to write, `true` in a shell, and
publish, which has nothing to upload. Both are run in turn; the figures are medians.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rows import Row, at_most
from benchmarks.serving import ROOT

RUNS, SHORT_RUNS = 7, 1
WORKFLOW: dict[str, Any] = {
    "stages": [
        {
            "index": 0,
            "input": [],
            "algorithm": {"rawcode": "pass", "container": {"entrypoint": "true", "image": "none"}},
            "compute": {},
            "output": {},
        }
    ]
}


def measure(short: bool = False) -> Iterator[Row]:
    runs = SHORT_RUNS if short else RUNS
    run, bare = [], []
    with tempfile.TemporaryDirectory() as name:
        for nth in range(runs + 1):  # the first is a warm-up
            folder = Path(name, str(nth))
            folder.mkdir()
            run.append(_run(folder))
            bare.append(_bare(folder))
    ours, floor = median(run[1:]), median(bare[1:])
    yield Row("laptop: three bare process starts", floor * 1000, "ms")
    yield Row("laptop: sluice run, three stages that do nothing", ours * 1000, "ms")
    yield Row("laptop: sluice run / bare starts", ours / floor, "×", at_most(3))


def _run(folder: Path) -> float:
    document = folder / "workflow.json"
    document.write_text(json.dumps(WORKFLOW))
    return _seconds([sys.executable, "-m", "functions.cli.main", "run", str(document), "--out", str(folder / "out")])


def _bare(folder: Path) -> float:
    volume, task = folder / "volume", folder / "task.json"
    results = (folder / "results").as_uri()
    task.write_text(json.dumps({"workflow": "w", "results": results, "definition": {"dialect": "ocean", **WORKFLOW}}))
    common = ["--task", str(task), "--volume", str(volume)]
    return sum(
        (
            _seconds([sys.executable, "-m", "functions.staging.configure", *common]),
            _seconds(["/bin/sh", "-c", "true"]),
            _seconds([sys.executable, "-m", "functions.staging.publish", *common, "--attempt", "1", "--scope", "all"]),
        )
    )


def _seconds(command: list[str]) -> float:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.perf_counter()
    done = subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.decode()[-500:]}")
    return time.perf_counter() - began
