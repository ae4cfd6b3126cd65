"""The supervisor of the next stage, started ahead: Python takes longer to start than many a stage takes to run.

One waits for its plan, without a lock and without a Job. It ends with the node: then its stdin ends.
"""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

from functions.local import plan as plans


class Standby:
    """Gives plans below `folder` to supervisors. For one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next = self._started()

    def supervise(self, plan: Path) -> subprocess.Popen[bytes]:
        """The process above the stage of `plan`, which may have died before it took the lock."""
        if self._next.poll() is not None:
            self.close()
            self._next = self._started()
        supervisor, self._next = self._next, self._started()
        assert supervisor.stdin is not None
        with suppress(BrokenPipeError), supervisor.stdin:
            supervisor.stdin.write(f"{plan.relative_to(self._folder)}\n".encode())
        return supervisor

    def close(self) -> None:
        """End the one that waits."""
        self._next.kill()
        self._next.communicate()

    def _started(self) -> subprocess.Popen[bytes]:
        code = f"from functions.local.supervisor import wait; wait({str(self._folder)!r})"
        return subprocess.Popen(  # noqa: S603 - it is the purpose
            plans.bare_python(code),
            bufsize=0,  # a plan's name goes out in one piece
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={},
        )
