"""Forks the supervisors. A fork takes a millisecond; a Python that imports the supervisor takes fifty.

It imports only the standard library. It has one thread, holds no lock, and does nothing for a Job but fork.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

from functions.local import supervisor


def serve(folder: str, *, temporary: bool = False) -> None:
    """Fork a supervisor for each launch spec below `folder` that the socket on stdin names; answer with its pidfd.

    Returns when the kubelet has ended. If the platform's folder is `temporary`, another process removes it then.
    """
    signal.signal(signal.SIGCHLD, _reap)
    with suppress(ConnectionError), socket.socket(fileno=0) as kubelet:
        while name := kubelet.recv(4096):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
            child = os.fork()
            if not child:
                _supervise(Path(folder, os.fsdecode(name)))
            handle = os.pidfd_open(child)  # while SIGCHLD is blocked, the child is not reaped
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            try:
                socket.send_fds(kubelet, [b"!"], [handle])
            finally:
                os.close(handle)
    # Supervisors that end with the platform end with this process, and the removal waits for them.
    if temporary and not os.fork():
        from functions.local.leftovers import remove_platform_folder

        remove_platform_folder(Path(folder).parent)


def _reap(*_: object) -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _supervise(spec_file: Path) -> None:
    """Run the launch spec in a session of its own, without the socket, and exit."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        os.setsid()
        os.dup2(1, 0)
        supervisor.main(spec_file)
    finally:
        # The kubelet waits for the end of this process, so skip the clean-up of Python.
        os._exit(0)
