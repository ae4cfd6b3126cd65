"""The metrics: their names, units and meanings, for those who scrape and for OpenTelemetry.

Names follow OpenTelemetry's semantic conventions. `prometheus` is the name that its exporters make of one, and that
`GET /metrics` uses, so a dashboard fits both.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Instrument(NamedTuple):
    """One metric. Units are those of UCUM; one in braces names what is counted, and is not part of the name."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()  # those that its measurements may have

    @property
    def prometheus(self) -> str:
        name = self.name.replace(".", "_")
        unit = "_seconds" if self.unit == "s" else ""
        return f"{name}{unit}{'_total' if self.kind is Kind.COUNTER else ''}"

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its time series in Prometheus."""
        if self.kind is Kind.HISTOGRAM:
            return tuple(f"{self.prometheus}_{part}" for part in ("bucket", "sum", "count"))
        return (self.prometheus,)


class Measurement(NamedTuple):
    """A value of an instrument, and its labels."""

    instrument: Instrument
    value: float
    labels: Mapping[str, str]


# Computed from the record: `GET /metrics`, and pushed by the sweep.
WORKFLOWS = Instrument("sluice.workflows", Kind.GAUGE, "{workflow}", "Unfinished workflows.", ("environment", "phase"))
OLDEST_WORKFLOW = Instrument(
    "sluice.oldest_workflow.age",
    Kind.GAUGE,
    "s",
    "Time since the oldest unfinished workflow was submitted.",
    ("environment", "phase"),
)
SLOTS = Instrument(
    "sluice.environment.slots", Kind.GAUGE, "{workflow}", "Workflows that may run at once.", ("environment",)
)
HOLD_ENDS = Instrument(
    "sluice.hold.remaining", Kind.GAUGE, "s", "Time until the first of the held results expires; absent without any."
)
EFFECTS = Instrument(
    "sluice.open_effects", Kind.GAUGE, "{effect}", "Effects that are decided and not carried out.", ("kind",)
)
OLDEST_EFFECT = Instrument(
    "sluice.oldest_effect.age",
    Kind.GAUGE,
    "s",
    "Time since the oldest open effect was due; 0 if none is due.",
    ("kind",),
)
DEAD_LETTERS = Instrument(
    "sluice.dead_letters", Kind.GAUGE, "{event}", "Events that nobody could handle; at most 1000."
)
FREEZES = Instrument("sluice.freezes", Kind.GAUGE, "{freeze}", "Scopes that are frozen.")
TICK = Instrument("sluice.tick.level", Kind.GAUGE, "{level}", "How often the tick comes: 0 never, higher is faster.")
OF_THE_RECORD = (WORKFLOWS, OLDEST_WORKFLOW, SLOTS, HOLD_ENDS, EFFECTS, OLDEST_EFFECT, DEAD_LETTERS, FREEZES, TICK)

# Counted as things happen, and pushed by OpenTelemetry alone: a function that sleeps forgets them.
REQUESTS = Instrument(
    "http.server.request.duration",
    Kind.HISTOGRAM,
    "s",
    "Time until a request was answered, by route and status.",
    ("http.request.method", "http.route", "http.response.status_code", "url.scheme", "error.type"),
)
TRANSITIONS = Instrument(
    "sluice.transition",
    Kind.HISTOGRAM,
    "s",
    "Time of one transition: lock, decide, commit; then its effects.",
    ("event", "verdict"),
)
STAGES = Instrument(
    "sluice.stage.duration",
    Kind.HISTOGRAM,
    "s",
    "Time of one attempt of a stage, by its outcome.",
    ("environment", "stage", "outcome"),
)
QUEUE_TIME = Instrument(
    "sluice.queue.duration", Kind.HISTOGRAM, "s", "Time that a workflow waited for a slot.", ("environment",)
)
WORKFLOW_TIME = Instrument(
    "sluice.workflow.duration",
    Kind.HISTOGRAM,
    "s",
    "Time from submission to end, by Ocean's status.",
    ("environment", "status"),
)
REPAIRS = Instrument("sluice.sweep.repairs", Kind.COUNTER, "{repair}", "What sweeps found undone, by kind.", ("kind",))
PUSHED = (REQUESTS, TRANSITIONS, STAGES, QUEUE_TIME, WORKFLOW_TIME, REPAIRS)
