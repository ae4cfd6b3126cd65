"""The supervisor of the next stage, started ahead: Python takes longer to start than many a stage takes to run.

One waits for its plan, without a lock and without a Job. It ends with the node: then its stdin ends.
"""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

from functions.local import launch_spec as plans


class Standby:
    """Gives plans below `folder` to supervisors. For one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: subprocess.Popen[bytes] | None = None
        self.prepare()

    def prepare(self) -> subprocess.Popen[bytes]:
        """The one that waits: started, if there is none or it has died."""
        if self._waiting is not None and self._waiting.poll() is not None:
            self.close()
        if self._waiting is None:
            self._waiting = self._started()
        return self._waiting

    def supervise(self, plan: Path) -> subprocess.Popen[bytes]:
        """The process above the stage of `plan`, which may have died before it took the lock; nobody waits then."""
        supervisor, self._waiting = self.prepare(), None
        assert supervisor.stdin is not None
        with suppress(BrokenPipeError), supervisor.stdin:
            supervisor.stdin.write(f"{plan.relative_to(self._folder)}\n".encode())
        return supervisor

    def close(self) -> None:
        """End the one that waits."""
        if self._waiting is not None:
            self._waiting.kill()
            self._waiting.communicate()
            self._waiting = None

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
