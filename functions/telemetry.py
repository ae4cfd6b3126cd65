"""The one door to OpenTelemetry: takes spans and measurements, and has a thread of its own export them.

It exists only if OTEL_EXPORTER_OTLP_ENDPOINT is set. Recording appends to a queue. The thread waits DELAY for more,
imports the SDK at its first turn, and pushes. So no answer waits for an import or a receiver. After its last answer, a
function needs DELAY and one export until everything is pushed; then it may fall asleep.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from typing import NamedTuple

from functions.instruments import Instrument, Measurement

logger = logging.getLogger(__name__)

DELAY = 0.5  # seconds that a batch is gathered
EXTRA_MISSING = (
    "OTEL_EXPORTER_OTLP_ENDPOINT is set, but the extra `otel` is not installed, so nothing is exported. "
    "Install it from a clone of Sluice: pip install -c constraints.txt '.[otel]'"
)
MOST = 10_000  # spans and measurements that wait; further ones are dropped
LAST_SECONDS = 5.0  # for what is left when the process ends


Attributes = Mapping[str, str | int | float | bool]


class Span(NamedTuple):
    """Something that took time. Ids are in hex; without `parent` it is the root of its trace.

    `links`: traces and spans that caused it. `error`: why it failed; empty if it did not.
    """

    name: str
    trace_id: str
    span_id: str
    parent: str
    began: datetime
    ended: datetime
    attributes: Attributes
    kind: str = "internal"
    error: str = ""
    links: tuple[tuple[str, str], ...] = ()


Export = Callable[[Sequence[Span], Sequence[Measurement]], None]


def has_exporter() -> bool:
    """Return whether the extra `otel` is installed. Imports nothing of it."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False


class Telemetry:
    """Gathers what happens, and exports it soon. Never raises, and never makes anybody wait.

    `connect` makes the exporter, in the thread that uses it.
    """

    def __init__(self, connect: Callable[[], Export], delay: float = DELAY) -> None:
        self._connect = connect
        self._delay = delay
        self._waiting: deque[Span | Measurement] = deque()
        self._dropped = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._urgent = False
        self._closed = False

    def add(self, span: Span) -> None:
        self._put(span)

    def measure(self, instrument: Instrument, value: float, **labels: str) -> None:
        self._put(Measurement(instrument, value, labels))

    def put(self, measured: Measurement) -> None:
        self._put(measured)

    def flush(self, seconds: float) -> bool:
        """Export now what waits. False if that takes longer than `seconds`."""
        with self._changed:
            self._urgent = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._waiting and not self._busy, seconds)
            self._urgent = False
            return done

    def close(self) -> None:
        """Export what waits, and nothing after that."""
        atexit.unregister(self.close)
        self.flush(LAST_SECONDS)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _put(self, item: Span | Measurement) -> None:
        with self._changed:
            if self._closed or len(self._waiting) >= MOST:
                self._dropped += 1
                return
            self._waiting.append(item)
            if self._thread is None:  # not earlier: a server forks before its first request
                self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            self._changed.notify_all()

    def _run(self) -> None:
        export: Export | None = None
        while (batch := self._next()) is not None:
            try:
                export = export or self._connect()
                spans = [each for each in batch if isinstance(each, Span)]
                export(spans, [each for each in batch if isinstance(each, Measurement)])
            except ModuleNotFoundError:
                logger.error(EXTRA_MISSING)
                self._give_up()
            except Exception as e:  # whatever a receiver or its library does, the functions go on
                logger.warning("telemetry was not exported", exc_info=e)
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _next(self) -> list[Span | Measurement] | None:
        """Wait for something to export, and a moment for more; None after the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            self._changed.wait_for(lambda: self._urgent, self._delay)
            batch = list(self._waiting)
            self._waiting.clear()
            self._busy = True
            dropped, self._dropped = self._dropped, 0
        if dropped:
            logger.warning("%d spans and measurements were dropped: the receiver is too slow", dropped)
        return batch

    def _give_up(self) -> None:
        with self._changed:
            self._closed = True
            self._waiting.clear()
