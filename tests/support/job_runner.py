"""Runs shell commands as Jobs of a laptop, under another user where the tests run as root.

It is a process of its own: `python -m support.job_runner FOLDER ISOLATION`. It reads one JSON request a line from
stdin and answers with one line.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import astuple

from functions.local.sandbox_check import SandboxReport

ROOT = Path(__file__).parents[2]
ORDINARY_USER = 12345
# Programs that every user can start.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Ended(NamedTuple):
    """How a Job ended, what it printed, and its outputs by name."""

    outcome: str
    reason: str
    exit_code: int | None
    log: str
    outputs: Mapping[str, str]


class JobRunner:
    """A laptop's cluster under one user and one level of isolation. `folder` lies where that user can reach it."""

    def __init__(self, isolation: str, user: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sluice-test-"))
        self.folder.chmod(0o711)
        (self.folder / "cluster").mkdir()
        switched = user == "user" and os.getuid() == 0
        if switched:
            os.chown(self.folder / "cluster", ORDINARY_USER, ORDINARY_USER)
        python = (interpreter_of_all() if os.getuid() == 0 else "") or sys.executable
        self._process = subprocess.Popen(
            [python, "-m", "support.job_runner", str(self.folder / "cluster"), isolation],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            env={
                **os.environ,
                "PYTHONPATH": _python_path(),
                "PATH": _PATH,
                "HOME": str(self.folder),
            },
            user=ORDINARY_USER if switched else None,
            group=ORDINARY_USER if switched else None,
            extra_groups=[] if switched else None,
        )

    @cached_property
    def best_isolation(self) -> str:
        """The best isolation that this machine grants to the runner's user."""
        return str(self._ask({"probe": True})[0])

    def run(self, command: str, *, shown: str = "", stage: str = "algorithm", **limits: int) -> Ended:
        """Run a shell command as an algorithm, to its end."""
        return Ended(*self._ask({"command": command, "shown": shown, "stage": stage, "limits": limits}))

    def check(self) -> SandboxReport:
        """Run the escape probe and the programs that exceed their limits."""
        return SandboxReport(*self._ask({}))

    def _ask(self, request: Mapping[str, Any]) -> list[Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer: list[Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def interpreter_of_all() -> str:
    """A Python of our version that every user can start; empty if there is none."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        command = [python, "-c", "import msgspec"]
        env = {"PYTHONPATH": _python_path()}
        with suppress(OSError):
            if subprocess.run(command, user=ORDINARY_USER, cwd="/", env=env, capture_output=True).returncode == 0:
                return python
    return ""


def _python_path() -> str:
    packages = Path(msgspec.__file__).parents[1]
    return os.pathsep.join(map(str, (ROOT / "tests", ROOT, packages)))


def _serve(folder: str, isolation: str) -> None:
    from support.processes import ProcessDriver, read_log, run_to_end, shell_job, volume

    from functions.local.isolation import Isolation, probe
    from functions.local.sandbox_check import check
    from functions.workflow.model import Stage

    driver: ProcessDriver | None = None
    for line in sys.stdin:
        request = json.loads(line)
        if "probe" in request:
            print(json.dumps([probe()]), flush=True)
            continue
        if not request:
            print(json.dumps(astuple(check(Isolation(isolation)))), flush=True)
            continue
        shown = [Path(request["shown"])] if request["shown"] else []
        if driver is None or driver.shown != shown:
            if driver is not None:
                driver.close()
            driver = ProcessDriver(Path(folder), isolation=Isolation(isolation), shown=shown)
        job = shell_job(request["command"], Stage(request["stage"]), **request["limits"])
        status = run_to_end(driver, job)
        outputs = {}
        for path in (volume(driver, job) / "outputs").rglob("*"):
            if path.is_file() and path.stat().st_size < 1 << 20:
                outputs[path.name] = path.read_text(errors="replace")
        log = read_log(driver, job)
        print(json.dumps([status.outcome, status.reason, status.exit_code, log, outputs]), flush=True)
    if driver is not None:
        driver.close()


if __name__ == "__main__":
    with suppress(ImportError):  # this interpreter may be the system's, where coverage does not start by itself
        import coverage

        coverage.process_startup()
    _serve(*sys.argv[1:])
