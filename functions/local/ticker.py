"""The ticker: sends the events of the PingSources `tick` and `tick-hourly`, at the level that `set_tick` wrote last."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from functions.local.broker import Message
from functions.local.knative_manifests import ManifestError
from functions.workflow import tick as levels
from functions.workflow.tick import TickLevel

logger = logging.getLogger(__name__)

HOURLY = "0 * * * *"
# Seconds between two ticks of each level.
PERIODS = {TickLevel.NONE: 3600.0} | {level: period.total_seconds() for level, period in levels.PERIODS.items()}
# Seconds between the first ticks. The intents of a platform that was killed are due again within half a minute, so the
# first minute has more ticks than the level says.
_FIRST_PAUSES = (1.0, 10.0, 10.0, 15.0)
_LEVEL_CHECK = 1.0  # seconds between two checks of the level


def tick(source: Mapping[str, Any], level: TickLevel = TickLevel.NONE) -> Message:
    """Build the event that the PingSource of a level sends. `source`: the hourly one; its events name no level."""
    metadata, spec = source["metadata"], source["spec"]
    hourly = level is TickLevel.NONE
    name = metadata["name"] if hourly else "tick"
    headers = {
        "ce-specversion": "1.0",
        "ce-id": str(uuid4()),
        "ce-source": f"/apis/v1/namespaces/{metadata.get('namespace', 'default')}/pingsources/{name}",
        "ce-type": "dev.knative.sources.ping",
        "ce-time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "content-type": spec.get("contentType", "application/json"),
    }
    data = spec.get("data", "") if hourly else json.dumps({"level": level.name})
    return Message(headers, data.encode())


class Ticker:
    """Sends ticks between start() and stop(). The first few come sooner than the level says."""

    def __init__(
        self,
        source: Mapping[str, Any],
        send: Callable[[Message], object],
        level: Callable[[], TickLevel],
        every: float | None = None,
    ) -> None:
        """`every`: seconds between two ticks, whatever the level. Raises ManifestError if `source` is not hourly."""
        schedule = source["spec"].get("schedule")
        if schedule != HOURLY:
            raise ManifestError(f"PingSource: the schedule {schedule!r} is not supported on a laptop; use {HOURLY!r}")
        self._source = source
        self._send = send
        self._level = level
        self._every = every
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        for pause in _FIRST_PAUSES:
            if self._stopping.wait(min(pause, self._every or pause)):
                return
            self._tick()
        while self._wait():
            self._tick()

    def _wait(self) -> bool:
        """Wait for the next tick; the level may change meanwhile. False if the ticker stops."""
        began = time.monotonic()
        while (left := began + (self._every or PERIODS[self._level()]) - time.monotonic()) > 0:
            if self._stopping.wait(min(left, _LEVEL_CHECK)):
                return False
        return not self._stopping.is_set()

    def _tick(self) -> None:
        try:
            self._send(tick(self._source, self._level()))
        except OSError as e:
            logger.warning("could not send a tick: %s", e)
