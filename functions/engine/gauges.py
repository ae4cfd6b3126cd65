"""The metrics that are computed from the record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from functions import instruments as of
from functions.instruments import Instrument, Measurement
from functions.store.values import Count
from functions.workflow.environment import Environment
from functions.workflow.model import Phase

if TYPE_CHECKING:
    from functions.engine.app import App

_OPEN = ("effects", "events")
_PLAIN = {"dead letters": of.DEAD_LETTERS, "freezes": of.FREEZES, "tick": of.TICK}


def measured(app: App) -> list[Measurement]:
    """Return the metrics of the record. Costs one statement."""
    return list(measurements(app.store.counts(), app.environments, app.clock()))


def measurements(
    counts: Sequence[Count], environments: Mapping[str, Environment], now: datetime
) -> Iterator[Measurement]:
    """Yield the metrics that follow from counts. Each offered environment has one for each phase, even if it is 0."""
    yield from _workflows([each for each in counts if each.kind == "workflows"], environments, now)
    opened = [each for each in counts if each.kind in _OPEN]
    yield from (Measurement(of.EFFECTS, each.number, {"kind": each.kind}) for each in opened)
    yield from (Measurement(of.OLDEST_EFFECT, _age(each, now), {"kind": each.kind}) for each in opened)
    for count in counts:
        if count.kind == "holds" and count.earliest is not None:
            yield Measurement(of.HOLD_ENDS, (count.earliest - now).total_seconds(), {})
        elif count.kind in _PLAIN:
            yield Measurement(_PLAIN[count.kind], count.number, {})


def _workflows(
    counts: Sequence[Count], environments: Mapping[str, Environment], now: datetime
) -> Iterator[Measurement]:
    offered = {(id, phase.value): Count("workflows", 0) for id in environments for phase in _unfinished()}
    found = offered | {(each.environment, each.phase): each for each in counts}
    for instrument in (of.WORKFLOWS, of.OLDEST_WORKFLOW):
        for (environment, phase), count in sorted(found.items()):
            labels = {"environment": environment, "phase": phase}
            yield Measurement(instrument, _value(instrument, count, now), labels)
    for id, environment_ in sorted(environments.items()):
        yield Measurement(of.SLOTS, environment_.max_jobs, {"environment": id})


def _unfinished() -> list[Phase]:
    return [phase for phase in Phase if phase is not Phase.FINISHED]


def _value(instrument: Instrument, count: Count, now: datetime) -> float:
    return count.number if instrument is of.WORKFLOWS else _age(count, now)


def _age(count: Count, now: datetime) -> float:
    return max(0.0, (now - count.earliest).total_seconds()) if count.earliest else 0.0
