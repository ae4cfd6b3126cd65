"""Starts the supervisor of the next stage in advance, because Python often takes longer to start than a stage to run.

The waiting process holds no lock and has no Job. It reads the path of a launch spec from stdin. It exits when the
kubelet ends, because its stdin is closed then.
"""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

from functions.local import launch_spec


class WarmSupervisor:
    """Hands launch specs below `folder` to supervisors. Not thread-safe.

    `temporary`: if this process is killed, the waiting one removes the platform's folder.
    """

    def __init__(self, folder: Path, *, temporary: bool = False) -> None:
        self._folder = folder
        self._temporary = temporary
        self._waiting: subprocess.Popen[bytes] | None = None
        self.prepare()

    def prepare(self) -> subprocess.Popen[bytes]:
        """The waiting process. Starts one if there is none, or if it has died."""
        if self._waiting is not None and self._waiting.poll() is not None:
            self.close()
        if self._waiting is None:
            self._waiting = self._start()
        return self._waiting

    def supervise(self, spec: Path) -> subprocess.Popen[bytes]:
        """Have the waiting process run the launch spec. It may die before it takes the lock of the Job."""
        supervisor, self._waiting = self.prepare(), None
        assert supervisor.stdin is not None
        with suppress(BrokenPipeError), supervisor.stdin:
            supervisor.stdin.write(f"{spec.relative_to(self._folder)}\n".encode())
        return supervisor

    def close(self) -> None:
        """Kill the waiting process."""
        if self._waiting is not None:
            self._waiting.kill()
            self._waiting.communicate()
            self._waiting = None

    def _start(self) -> subprocess.Popen[bytes]:
        arguments = f"{str(self._folder)!r}, temporary={self._temporary}"
        code = f"from functions.local.supervisor import wait_for_spec; wait_for_spec({arguments})"
        return subprocess.Popen(  # noqa: S603 - our own program
            launch_spec.bare_python(code),
            bufsize=0,  # the path is written in one piece
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={},
        )
