"""What metrics are made of, for the record in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

from support.memory_transaction import Tables

from functions.store.values import Count
from functions.workflow.decision import Emit
from functions.workflow.model import Phase


def counted(tables: Tables) -> Iterator[Count]:
    groups: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    workflows = [record.workflow for record in tables.records.values()]
    for workflow in workflows:
        if not workflow.finished:
            groups[workflow.environment, workflow.phase.value].append(workflow.created_at)
    for (environment, phase), times in groups.items():
        yield Count("workflows", len(times), min(times), environment, phase)
    yield _of("holds", [w.held_until for w in workflows if w.phase is Phase.HELD and w.held_until])
    intents = [row.intent for row in tables.outbox.values()]
    yield _of("effects", [each.due_at for each in intents if not isinstance(each.effect, Emit)])
    yield _of("events", [each.due_at for each in intents if isinstance(each.effect, Emit)])
    yield _of("dead letters", [letter["at"] for letter in tables.dead_letters])
    yield _of("freezes", [freeze.at for freeze in tables.holding.frozen()])
    yield Count("tick", tables.tick[1].level)


def _of(kind: str, times: Sequence[datetime]) -> Count:
    return Count(kind, len(times), min(times, default=None))
