"""What a stage's program prints: from its pipes into a log of limited size, and into the files that a task names.

Only the standard library.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from typing import Any

from functions.local.stage_log import StageLog

_CHUNK = 1 << 20


class StreamRefused(OSError):
    """A file that a task names for one of its streams cannot be used; the text is for the consumer."""


class Streams:
    """The streams of one program. Without `streams` in the launch spec, both outputs are one, in the order printed.

    With it, stdout and stderr each have a log of their own, and whole files besides where the task names them.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        named = spec.get("streams")
        self._program = spec["command"][0] if named else ""
        self._stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._outputs: list[_Output] = []
        self.refused = ""
        if named is None:
            self._outputs = [_Output(StageLog(spec["log"], spec["log_bytes"]), -1)]
            return
        for name in ("stdout", "stderr"):
            log = StageLog(os.path.join(named["logs"], name), spec["log_bytes"])
            self._outputs.append(_Output(log, -1))
        try:
            if named["stdin"]:
                self._stdin = _open_below(named["root"], named["stdin"], os.O_RDONLY)
            for output, name in zip(self._outputs, ("stdout", "stderr"), strict=True):
                if named[name]:
                    output.file = _open_below(named["root"], named[name], os.O_WRONLY | os.O_CREAT)
                    os.ftruncate(output.file, 0)  # only now: _open_below refuses a second name of another file
                    if named["user"]:
                        os.fchown(output.file, *named["user"])
        except OSError as e:
            self.refused = str(e)

    @property
    def logged(self) -> int:
        """Bytes in the logs."""
        return sum(output.log.size for output in self._outputs)

    @property
    def open_pipes(self) -> list[int]:
        """The pipes that the program, or a process that it started, may still write to."""
        return [output.pipe for output in self._outputs if output.pipe >= 0]

    def connect(self) -> tuple[int, int, int]:
        """Make the pipes; the descriptors that become the program's stdin, stdout and stderr."""
        writers = [output.connect() for output in self._outputs]
        return self._stdin, writers[0], writers[-1]

    def close_writers(self, connected: tuple[int, int, int]) -> None:
        """Close what only the program needs, in the process that reads."""
        for descriptor in set(connected):
            os.close(descriptor)

    def copy(self, pipe: int) -> bool:
        """Move what is in the pipe. Returns False if there was nothing."""
        return next(output for output in self._outputs if output.pipe == pipe).copy()

    def finish(self, pipe: int) -> None:
        """Forget a pipe that every writer has closed."""
        for output in self._outputs:
            if output.pipe == pipe:
                output.pipe = -1

    def drain(self) -> None:
        """Move all that is left in the pipes."""
        for output in self._outputs:
            while output.pipe >= 0 and output.copy():
                pass
            if output.file >= 0:
                os.close(output.file)
                output.file = -1

    def failure(self, error: BaseException) -> tuple[str, int]:
        """The message for a program that could not be started, and its exit code; for executors those of a shell."""
        if self._program and isinstance(error, FileNotFoundError):
            return f"{self._program}: not found", 127
        return f"the stage could not be started: {error}", 126


class _Output:
    """One pipe, its log, and the file that the task names for it."""

    def __init__(self, log: StageLog, file: int) -> None:
        self.log = log
        self.file = file
        self.pipe = -1

    def connect(self) -> int:
        self.pipe, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.pipe, False)
        with suppress(OSError):  # a larger pipe saves switches between processes, if this user may have one
            fcntl.fcntl(self.pipe, fcntl.F_SETPIPE_SZ, 1 << 20)
        return writer

    def copy(self) -> bool:
        try:
            chunk = os.read(self.pipe, _CHUNK)
        except BlockingIOError:
            return False
        self.log.write(chunk)
        left = memoryview(chunk)
        with suppress(OSError):  # the disk is full; the program never waits for it
            while self.file >= 0 and left:
                left = left[os.write(self.file, left) :]
        return bool(chunk)


def _open_below(root: str, path: str, flags: int) -> int:
    """Open a regular file with one name at a container path, below the folder of the task's places. Follows no link.

    An earlier executor may have put anything there. Raises StreamRefused.
    """
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    *way, name = path.strip("/").split("/")
    try:
        for part in way:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
        opened = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644, dir_fd=folder)
    except OSError as e:
        raise StreamRefused(f"{path} cannot be opened: {e.strerror}") from None
    finally:
        os.close(folder)
    status = os.fstat(opened)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(opened)
        raise StreamRefused(f"{path} is not a file of its own")
    os.set_blocking(opened, True)
    return opened
