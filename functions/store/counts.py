"""The counts for metrics: one statement counts unfinished workflows, open intents and kept rows."""

from __future__ import annotations

from functions.store.driver import Row
from functions.store.rows import time_of
from functions.store.values import Count

COUNTS = """
    SELECT 'workflows' AS kind, count(*) AS number, min(datecreated) AS earliest, namespace AS environment, phase
    FROM jobs WHERE datefinished IS NULL GROUP BY namespace, phase
    UNION ALL SELECT 'holds', count(*), min(held_until), '', '' FROM jobs WHERE phase = 'held'
    UNION ALL SELECT 'effects', count(*), min(due_at), '', '' FROM intents WHERE kind <> 'emit'
    UNION ALL SELECT 'events', count(*), min(due_at), '', '' FROM intents WHERE kind = 'emit'
    UNION ALL SELECT 'dead letters', count(*), min(at), '', '' FROM dead_letters
    UNION ALL SELECT 'freezes', count(*), min(at), '', '' FROM freezes
    UNION ALL SELECT 'tick', level, NULL, '', '' FROM tick
"""


def count_of(row: Row) -> Count:
    earliest = time_of(row["earliest"]) if row["earliest"] else None
    return Count(row["kind"], row["number"], earliest, row["environment"] or "", row["phase"])
