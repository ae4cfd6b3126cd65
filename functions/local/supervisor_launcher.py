"""Starts supervisors through a fork server, because Python often takes longer to start than a stage takes to run.

The fork server exits when the kubelet ends, because its socket is closed then. Supervisors notice that the platform has
ended by a socket of their own, so that a fork server may die and be replaced while they run.
"""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from functions.local import program_environment

_TIMEOUT = 10.0  # seconds for one fork, the start of the fork server included


class SupervisorLauncher:
    """Starts a supervisor for each launch spec below `folder`. Not thread-safe.

    `temporary`: if this process is killed, the fork server removes the platform's folder.
    """

    def __init__(self, folder: Path, *, temporary: bool = False) -> None:
        self._folder = folder
        self._temporary = temporary
        self._server: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket
        self._platform, self._seen_by_supervisors = socket.socketpair()
        self.fork_server()

    def fork_server(self) -> subprocess.Popen[bytes]:
        """Return the fork server. Start one if there is none, or if it has died."""
        if self._server is not None and self._server.poll() is not None:
            self._kill_server()
        if self._server is None:
            self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._socket.settimeout(_TIMEOUT)
            with other:
                self._server = self._start(other.fileno())
        return self._server

    def launch(self, spec: Path) -> int | None:
        """Start a supervisor that runs the launch spec. Returns its pidfd; None if it cannot be started now.

        A fork server that does not answer is replaced. If it forked before, there are two supervisors of one spec: the
        one that cannot lock the Job's folder exits.
        """
        for _ in range(2):
            self.fork_server()
            with suppress(OSError):
                self._socket.send(os.fsencode(spec.relative_to(self._folder)))
                answer, handles, _, _ = socket.recv_fds(self._socket, 1, 1, socket.MSG_CMSG_CLOEXEC)
                if answer:
                    return int(handles[0]) if handles else None
            self._kill_server()
        return None

    def close(self) -> None:
        """Kill the fork server for good. Supervisors live on, unless their launch spec ends them with the platform."""
        self._kill_server()
        self._platform.close()
        self._seen_by_supervisors.close()

    def _kill_server(self) -> None:
        if self._server is not None:
            # It must not read that its socket was closed: it would remove the platform's folder.
            self._server.kill()
            self._server.wait()
            self._server = None
            self._socket.close()

    def _start(self, standard_input: int) -> subprocess.Popen[bytes]:
        platform = self._seen_by_supervisors.fileno()
        arguments = f"{str(self._folder)!r}, {platform}, temporary={self._temporary}"
        code = f"from functions.local.fork_server import serve; serve({arguments})"
        return subprocess.Popen(  # noqa: S603 - our own program
            program_environment.bare_python(code),
            stdin=standard_input,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(platform,),
            start_new_session=True,
            env={},
        )
