"""The fork server: a process that has imported the supervisor and forks one for each stage.

A fork takes a millisecond; starting Python and importing the supervisor takes fifty. The fork server imports only the
standard library and our modules that do so too. It has one thread and holds no lock. It does nothing for a Job but
fork. functions/local/supervisor_launcher.py is its client.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from functions.local import supervisor


def serve(folder: str, platform: int, *, temporary: bool = False) -> None:
    """Fork a supervisor for each launch spec that the socket on stdin names, and answer with its pidfd.

    Each message is a launch spec's path below `folder`. An answer without a pidfd says that the fork failed. Returns
    when the kubelet has ended. `platform`: a socket that supervisors see closed when the platform has ended. If its
    folder is `temporary`, it is removed then.
    """
    os.set_inheritable(platform, False)  # no stage gets it
    signal.signal(signal.SIGCHLD, _reap)
    with suppress(ConnectionError), socket.socket(fileno=0) as kubelet:
        while path := kubelet.recv(4096):
            handles = _fork(Path(folder, os.fsdecode(path)), platform)
            try:
                socket.send_fds(kubelet, [b"!"], handles)  # a descriptor needs a byte to travel with
            finally:
                for handle in handles:
                    os.close(handle)
    if temporary:
        from functions.local.leftovers import remove_platform_folder

        remove_platform_folder(Path(folder).parent)


def _fork(spec_file: Path, platform: int) -> list[int]:
    """Fork a supervisor. Returns its pidfd, or nothing if the kernel refuses a process or a descriptor."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    try:
        child = os.fork()
        if not child:
            _supervise(spec_file, platform)
        return [os.pidfd_open(child)]  # safe: while SIGCHLD is blocked, the child is not reaped
    except OSError:
        return []
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _reap(*_: object) -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _supervise(spec_file: Path, platform: int) -> NoReturn:
    """Run the launch spec in a session of its own, without the socket, and exit."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        os.setsid()
        os.dup2(1, 0)  # /dev/null takes the place of the socket
        supervisor.main(spec_file, platform)
    finally:
        # The kubelet waits for the end of this process, so skip the clean-up of Python.
        os._exit(0)
