"""A plugin of coverage: measures the interpreters that the laptop starts without site-packages, and their children.

Coverage starts by itself only in interpreters that have site-packages. The program of a stage starts in a file system
without the folder of coverage's data. A process in there sends its data to a process outside, which writes them.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import coverage

_PACKAGES = str(Path(coverage.__file__).parents[1])
_ROOT = str(Path(__file__).parents[2])


def coverage_init(registry: object, options: object) -> None:
    """Measure the bare interpreters that this process starts. Coverage calls this; a second call does nothing."""
    if hasattr(subprocess.Popen, "measures_bare"):
        return
    start = subprocess.Popen.__init__

    def start_measured(self: Any, args: Any, *rest: Any, **options: Any) -> None:
        start(self, _measured(args), *rest, **options)

    subprocess.Popen.__init__ = start_measured  # type: ignore[method-assign]
    subprocess.Popen.measures_bare = True  # type: ignore[attr-defined]


def _measured(args: Any) -> Any:
    config = os.environ.get("COVERAGE_PROCESS_CONFIG")
    if config is None or not isinstance(args, list) or args[1:4] != ["-I", "-S", "-c"] or "functions." not in args[4]:
        return args
    hook = f"import sys; sys.path += {[_ROOT, _PACKAGES]!r}; from tests.support.bare_coverage import ForkCoverage; "
    return [*args[:4], f"{hook}ForkCoverage({config!r}); {args[4]}", *args[5:]]


class ForkCoverage:
    """Measures this process and the processes that it forks, until they end or execute another program."""

    def __init__(self, config: str) -> None:
        self._receiver, self._sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._receiver, self._sender):
            end.setblocking(False)
        self._coverage = coverage.Coverage(data_file=None, config_file=f":data:{config}")
        self._data_file = str(self._coverage.get_option("run:data_file"))
        self._coverage.start()
        os._exit = self._saving_before(os._exit)
        os.execvpe = self._saving_before(os.execvpe)
        os.closerange = self._without_sender(os.closerange)
        atexit.register(self._save)

    def _saving_before(self, leave: Callable[..., Any]) -> Any:
        def save_and_leave(*args: Any) -> Any:
            self._save()
            try:
                return leave(*args)
            finally:  # only if the program cannot be executed
                self._coverage.start()

        return save_and_leave

    def _without_sender(self, closerange: Callable[[int, int], None]) -> Callable[[int, int], None]:
        def close_all_but_sender(low: int, high: int) -> None:
            closerange(low, self._sender.fileno())
            closerange(self._sender.fileno() + 1, high)

        return close_all_but_sender

    def _save(self) -> None:
        with suppress(Exception):
            self._coverage.stop()
            measured = self._coverage.get_data().dumps()
            if os.access(os.path.dirname(self._data_file), os.W_OK):
                self._write([measured, *self._received()])
            else:
                self._sender.send(measured)

    def _received(self) -> Iterator[bytes]:
        with suppress(BlockingIOError):
            while received := self._receiver.recv(1 << 20):
                yield received

    def _write(self, measured: Iterable[bytes]) -> None:
        data = coverage.CoverageData(self._data_file, suffix=True)
        for each in measured:
            sent = coverage.CoverageData(no_disk=True)
            sent.loads(each)
            data.update(sent)
