"""The CPU time of each stage program with next to nothing to do, beside that of Python itself.

Bytecode is compiled beforehand, as in the image. configure writes a short algorithm. publish uploads one small table
into the quarantine, check judges it, release copies it to the results; the storages are folders. The programs are run
in turn; the figures are medians.
"""

from __future__ import annotations

import compileall
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from msgspec.structs import replace

from benchmarks.rows import Row, at_most
from benchmarks.serving import ROOT
from functions.results.age import new_identity
from functions.results.files import FileStorage
from functions.workflow.document import Definition, parse
from functions.workflow.model import WorkflowId
from functions.workflow.stage_task import HeldTask, Task, encode

RUNS, SHORT_RUNS = 21, 1
WORKFLOW = "w"
_MODULE = "functions.staging"


def measure(short: bool = False) -> Iterator[Row]:
    compileall.compile_dir(str(ROOT / "functions"), quiet=1)
    with tempfile.TemporaryDirectory() as name:
        programs = _programs(Path(name))
        found: dict[str, list[float]] = {program: [] for program in programs}
        for _ in range(SHORT_RUNS if short else RUNS):
            for program, arguments in programs.items():
                found[program].append(_cpu_seconds(arguments))
    for program, seconds in found.items():
        goal = None if program == "`python -c pass`" else at_most(100)
        yield Row(f"stages: CPU of {program}", median(seconds) * 1000, "ms", goal)


def _programs(folder: Path) -> dict[str, list[str]]:
    """The arguments of Python for each program. Leaves results in the quarantine, for release."""
    volume, quarantine = folder / "volume", folder / "quarantine"
    identity, recipient = new_identity()
    held = HeldTask(quarantine=quarantine.as_uri(), recipient=recipient)
    task = Task(workflow=WORKFLOW, definition=_definition(), results=(folder / "results").as_uri(), held=held)
    common = ["--task", _written(folder / "task.json", task), "--volume", str(volume)]
    configure = ["-P", "-m", f"{_MODULE}.configure", *common]
    publish = ["-P", "-m", f"{_MODULE}.publish", *common, "--attempt", "1", "--scope", "quarantine"]
    _cpu_seconds(configure)
    (volume / "outputs" / "means.csv").write_text("sex,n,mean\nf,120,3.4\nm,118,3.6\n")
    _cpu_seconds(publish)
    manifest = FileStorage(quarantine).manifest(WorkflowId(WORKFLOW), 1)
    assert manifest is not None
    decided = replace(task, held=replace(held, identity=identity, files=manifest.files))
    release = ["--task", _written(folder / "release.json", decided), "--volume", str(volume)]
    return {
        "`python -c pass`": ["-P", "-c", "pass"],
        "configure with a short algorithm": configure,
        "check of one table": ["-P", "-m", f"{_MODULE}.check", *common],
        "publish of one table": publish,
        "release of one table": ["-P", "-m", f"{_MODULE}.release", *release],
    }


def _definition() -> Definition:
    algorithm = {"container": {"entrypoint": "python $ALGO", "image": "python"}, "rawcode": "pass"}
    return parse({"stages": [{"input": [], "algorithm": algorithm, "compute": {}, "output": {}}]})


def _written(path: Path, task: Task) -> str:
    path.write_bytes(encode(task))
    return str(path)


def _cpu_seconds(arguments: list[str]) -> float:
    """User and system time of `python ARGUMENTS`. Raises CalledProcessError."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environ = {**os.environ, "TERMINATION_LOG": os.devnull}
    subprocess.run([sys.executable, *arguments], check=True, stderr=subprocess.DEVNULL, env=environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
