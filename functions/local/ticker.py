"""The ticker: sends the events of a PingSource on its schedule."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import Any
from uuid import uuid4

from functions.local.broker import Message
from functions.local.knative_manifests import ManifestError

logger = logging.getLogger(__name__)

_EVERY = re.compile(r"\*(?:/(?P<minutes>[1-9]\d?))? \* \* \* \*")


def period(source: Mapping[str, Any]) -> float:
    """Seconds between two ticks of a PingSource.

    Raises ManifestError unless the schedule is `* * * * *` or `*/N * * * *`.
    """
    schedule = source["spec"].get("schedule", "* * * * *")
    found = _EVERY.fullmatch(schedule)
    if not found:
        raise ManifestError(f"PingSource: the schedule {schedule!r} is not supported on a laptop; use */N * * * *")
    return 60.0 * int(found["minutes"] or 1)


def tick(source: Mapping[str, Any]) -> Message:
    """Build the event that a PingSource sends."""
    metadata, spec = source["metadata"], source["spec"]
    headers = {
        "ce-specversion": "1.0",
        "ce-id": str(uuid4()),
        "ce-source": f"/apis/v1/namespaces/{metadata.get('namespace', 'default')}/pingsources/{metadata['name']}",
        "ce-type": "dev.knative.sources.ping",
        "ce-time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "content-type": spec.get("contentType", "application/json"),
    }
    return Message(headers, spec.get("data", "").encode())


# Seconds between the first ticks. The intents of a platform that was killed are due again within half a minute, so the
# first minute has more ticks than the schedule says.
_FIRST_PAUSES = (1.0, 10.0, 10.0, 15.0)


class Ticker:
    """Sends ticks between start() and stop(). The first few come sooner than the schedule says."""

    def __init__(self, source: Mapping[str, Any], send: Callable[[Message], object], every: float | None) -> None:
        self._source = source
        self._send = send
        self._every = every or period(source)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        pauses = chain(_FIRST_PAUSES, repeat(self._every))
        while not self._stopping.wait(min(next(pauses), self._every)):
            try:
                self._send(tick(self._source))
            except OSError as e:
                logger.warning("could not send a tick: %s", e)
