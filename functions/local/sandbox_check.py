"""Checks the sandbox of this machine: runs the escape probe, and programs that exceed their limits, as algorithms."""

from __future__ import annotations

import json
import shlex
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from msgspec import Struct
from msgspec.structs import replace

from functions.cluster import escape_probe
from functions.cluster.canary_job import canary_job
from functions.cluster.ports import JobStatus, StageJob, State
from functions.cluster.processes import ProcessCluster
from functions.local.isolation import Isolation
from functions.local.kubelet import Kubelet
from functions.local.launch_spec import LaunchOptions
from functions.workflow.model import Limits

MEMORY, DISK = 64 << 20, 20 << 20  # bytes: the limits of the programs that exceed them
_SECONDS = 120.0  # for each Job
_POLL = 0.05
_WAIT = "import time; time.sleep(5)"  # a program keeps what it took until the supervisor ends it
# What a program takes: more than both limits, and less than twice MEMORY, which is the size of /dev/shm.
_EXCESS = MEMORY + MEMORY // 2
_WRITE = f"b = bytes(1 << 20)\nfor n in range({_EXCESS >> 20}): f.write(b)\nf.flush(); {_WAIT}"
# Programs that must not end well, and the reason that they must end with.
_EXCESSES = {
    "memory of a process": ("OOMKilled", f"x = bytearray(b'x') * {_EXCESS}; {_WAIT}"),
    "memory in /dev/shm": ("OOMKilled", f"import tempfile; f = tempfile.TemporaryFile(dir='/dev/shm')\n{_WRITE}"),
    "memory in a memfd": ("OOMKilled", f"import os; f = open(os.memfd_create('x'), 'wb')\n{_WRITE}"),
    "disk in outputs": ("DiskExceeded", f"import os; f = open(os.environ['OUTPUTS'] + '/x', 'wb')\n{_WRITE}"),
    "disk in logs": ("DiskExceeded", f"import os\nfor n in range({2 * DISK >> 20}):\n"
                     f"  open(f'{{os.environ[\"LOGS\"]}}/{{n}}', 'wb').write(bytes(1 << 20))\n{_WAIT}"),
    "disk in unlinked files": ("DiskExceeded", f"import tempfile\nfs = []\nfor n in range({2 * DISK >> 20}):\n"
                               "  f = tempfile.TemporaryFile(); f.write(bytes(1 << 20)); f.flush(); fs.append(f)\n"
                               f"{_WAIT}"),
}  # fmt: skip


class NoReport(Exception):
    """The check proved nothing. The message says why."""


class SandboxReport(Struct, frozen=True):
    """Ways out that the probe tried and that were open; limits that were tried and that did not hold."""

    tried: Sequence[str]
    open: Sequence[str]
    limits: Sequence[str]
    exceeded: Sequence[str]


def check(isolation: Isolation) -> SandboxReport:
    """Run the probe and the programs at this level of isolation. Raises NoReport."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-check-")))
        folder.chmod(0o711)
        bait = stack.enter_context(_bait())
        jobs = _Jobs(folder / "cluster", isolation)
        stack.callback(jobs.close)
        tried, reached = jobs.probe(bait)
        exceeded = [name for name, (reason, code) in _EXCESSES.items() if jobs.run(code).reason != reason]
    return SandboxReport(tried, reached, list(_EXCESSES), exceeded)


class _Jobs:
    """A cluster of processes of its own."""

    def __init__(self, folder: Path, isolation: Isolation) -> None:
        self._cluster = ProcessCluster(folder)
        self._folder = folder
        self._kubelet = Kubelet(folder, lambda event: True, LaunchOptions(isolation, folder, ends_with_platform=True))
        self._kubelet.start()

    def close(self) -> None:
        self._kubelet.stop(end_stages=True)

    def probe(self, bait: dict[str, str]) -> tuple[list[str], list[str]]:
        """Run the probe; what it tried, and what it reached."""
        source = Path(escape_probe.__file__).read_text()
        job = self._job(f"{_python()} $ALGO {shlex.quote(json.dumps(bait))}")
        algorithm = self._folder / job.ref.namespace / job.workflow / "data" / "transformations" / "algorithm"
        algorithm.parent.mkdir(parents=True)
        algorithm.write_text(source)
        status = self._ended(job)
        log = b"".join(self._cluster.logs(job.ref, 1000, 1 << 20)).decode(errors="replace")
        try:
            report = json.loads(log.splitlines()[-1])
        except (ValueError, IndexError):
            raise NoReport(f"the probe ended with exit code {status.exit_code}: {log.strip()[-300:]}") from None
        return report["tried"], report["reached"]

    def run(self, code: str) -> JobStatus:
        return self._ended(self._job(f"{_python()} -c {shlex.quote(code)}"))

    def _job(self, entrypoint: str) -> StageJob:
        job = canary_job(f"check-{uuid4().hex}", entrypoint)
        return replace(job, limits=Limits(memory=MEMORY, disk=DISK, algorithm_seconds=int(_SECONDS)))

    def _ended(self, job: StageJob) -> JobStatus:
        self._cluster.create(job)
        end = time.monotonic() + 2 * _SECONDS
        while (status := self._cluster.read(job.ref)).state is not State.ENDED:
            if time.monotonic() > end:
                raise NoReport(f"a program did not end within {2 * _SECONDS:.0f} s")
            time.sleep(_POLL)
        return status


def _python() -> str:
    return f"{shlex.quote(sys.executable)} -I"


@contextmanager
def _bait() -> Iterator[dict[str, str]]:
    """Make a file, shared memory and servers that each program of this machine can reach, and no algorithm may."""
    name = f"sluice-bait-{uuid4().hex}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-bait-")))
        folder.chmod(0o755)
        (folder / "file").write_text("bait")
        shared = Path("/dev/shm", name)  # noqa: S108
        shared.write_text("bait")
        stack.callback(shared.unlink)
        address = _listen(stack, socket.AF_INET, ("127.0.0.1", 0))
        _listen(stack, socket.AF_UNIX, str(folder / "socket"))
        (folder / "socket").chmod(0o777)
        _listen(stack, socket.AF_UNIX, f"\0{name}")
        yield {
            "host_name": socket.gethostname(),
            "file": str(folder / "file"),
            "shared_memory": str(shared),
            "socket": str(folder / "socket"),
            "abstract_socket": name,
            "address": f"127.0.0.1:{address[1]}",
        }


def _listen(stack: ExitStack, family: socket.AddressFamily, address: object) -> tuple[str, int]:
    server = stack.enter_context(socket.socket(family))
    server.bind(address)  # type: ignore[arg-type]
    server.listen(8)
    name: tuple[str, int] = server.getsockname()
    return name
