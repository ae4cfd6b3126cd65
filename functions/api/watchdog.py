"""Limits the time that a client may take to send a request, so that a stalled client does not hold a thread."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_TICK = 0.25  # seconds between two checks while a request is being received
_IDLE = 20  # checks without a request until the thread sleeps; waking it costs more than a check
STOPPING = threading.Event()  # set when the process is told to end: answers that could last for minutes end then
SLOWEST = 32 * 1024  # bytes per second; a slower body is refused


class Deadline:
    """The time until which a request must be received. `at`: by the monotonic clock; the receiver may move it."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._socket = sock
        self.at = time.monotonic() + seconds
        self.expired = False

    def expire(self) -> None:
        """Stop receiving: the receiver gets the end of the stream at once. An answer can still be sent."""
        self.expired = True
        with suppress(OSError):  # the client has gone
            self._socket.shutdown(socket.SHUT_RD)


class Watchdog:
    """Expires deadlines in a thread of its own, which sleeps while nothing is being received.

    A socket's own timeout is not enough: it starts anew with each byte, and servers read in loops.
    """

    def __init__(self) -> None:
        self._active: set[Deadline] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._asleep = False

    @contextmanager
    def receiving(self, sock: socket.socket, seconds: float) -> Iterator[Deadline]:
        """Expire the deadline unless the block ends within `seconds`."""
        deadline = Deadline(sock, seconds)
        self.add(deadline)
        try:
            yield deadline
        finally:
            self.remove(deadline)

    def add(self, deadline: Deadline) -> None:
        with self._changed:
            self._active.add(deadline)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()
            if self._asleep:
                self._changed.notify()

    def remove(self, deadline: Deadline) -> None:
        """Forget the deadline. Afterwards its socket is not touched any more."""
        with self._changed:
            self._active.discard(deadline)

    def _run(self) -> None:
        idle = 0
        with self._changed:
            while True:
                idle = 0 if self._active else idle + 1
                self._asleep = idle > _IDLE
                self._changed.wait(None if self._asleep else _TICK)
                now = time.monotonic()
                for deadline in [each for each in self._active if each.at <= now]:
                    self._active.remove(deadline)
                    deadline.expire()


WATCHDOG = Watchdog()
