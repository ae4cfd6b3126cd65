"""Held results, decisions, freezes and policies' budgets, in SQL that SQLite and Postgres understand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from functions.store import json_columns, rows
from functions.store.driver import Row
from functions.store.pool import Session
from functions.store.values import Freeze, HeldResults, HoldKey, StoredDecision
from functions.trust.policy import Budget
from functions.workflow.model import Manifest, Workflow, WorkflowId

Run = Callable[[str, Mapping[str, Any]], Sequence[Row]]

HOLDS = f"SELECT {rows.RECORD} FROM jobs WHERE phase = 'held' ORDER BY held_until LIMIT %(limit)s"
ADD_KEY = """
    INSERT INTO holds (workflow, identity, recipient) VALUES (%(workflow)s, %(identity)s, %(recipient)s)
    ON CONFLICT DO NOTHING
"""
# Prepares the type at import, in one thread: msgspec crashes if two threads prepare one type at the same time.
_MANIFEST = msgspec.json.Decoder(Manifest)
HELD = "SELECT workflow, identity, recipient, head, manifest FROM holds WHERE workflow = %(workflow)s"
HOLD = "UPDATE holds SET manifest = %(manifest)s, head = %(head)s WHERE workflow = %(workflow)s"
FORGET_KEY = "UPDATE holds SET identity = NULL WHERE workflow = %(workflow)s"
DECISIONS = 'SELECT "by", at, text, signature FROM decisions WHERE workflow = %(workflow)s ORDER BY at, "by"'
ADD_DECISION = """
    INSERT INTO decisions (workflow, "by", at, text, signature)
    VALUES (%(workflow)s, %(by)s, %(at)s, %(text)s, %(signature)s) ON CONFLICT DO NOTHING
"""
FREEZES = 'SELECT scope, at, "by", reason FROM freezes ORDER BY at, scope'
FREEZE = """
    INSERT INTO freezes (scope, at, "by", reason) VALUES (%(scope)s, %(at)s, %(by)s, %(reason)s)
    ON CONFLICT DO NOTHING RETURNING scope
"""
UNFREEZE = "DELETE FROM freezes WHERE scope = %(scope)s RETURNING scope"
UNDELIVERED = """
    SELECT id, workflow, event, tries, due_at, scope FROM intents
    WHERE kind = 'emit' AND tries > 0 AND event NOT IN ('started', 'finished') ORDER BY id LIMIT %(limit)s
"""
# The caller holds the environment's lock, so nobody counts beside it.
USE_BUDGET = """
    INSERT INTO policy_runs (policy, owner, at, workflow)
    SELECT %(policy)s, %(owner)s, %(now)s, %(workflow)s
    WHERE (SELECT count(*) FROM policy_runs WHERE policy = %(policy)s AND owner = %(owner)s AND at > %(since)s)
          < %(most)s
    RETURNING policy
"""


def key(session: Session, workflow: WorkflowId, new: HoldKey) -> HoldKey:
    """See the port."""
    session.write(ADD_KEY, {"workflow": workflow, "identity": new.identity, "recipient": new.recipient})
    (row,) = session.execute(HELD, {"workflow": workflow})
    return HoldKey(row["identity"] or "", row["recipient"])


def hold(session: Session, workflow: Workflow, manifest: Manifest) -> None:
    """Store what is held, and the head of the history at which it is."""
    values = {"workflow": workflow.id, "manifest": json_columns.encode(manifest), "head": workflow.head}
    session.write(HOLD, values)


def forget_key(session: Session, workflow: WorkflowId) -> None:
    """Delete the key. Without it nobody can read the quarantine, backups of it included."""
    session.write(FORGET_KEY, {"workflow": workflow})


def held(run: Run, workflow: WorkflowId) -> HeldResults | None:
    """See the port."""
    for row in run(HELD, {"workflow": workflow}):
        manifest = _MANIFEST.decode(row["manifest"]) if row["manifest"] else Manifest()
        return HeldResults(workflow, row["head"], HoldKey(row["identity"] or "", row["recipient"]), manifest)
    return None


def decisions(run: Run, workflow: WorkflowId) -> Sequence[StoredDecision]:
    """See the port."""
    found = run(DECISIONS, {"workflow": workflow})
    return [StoredDecision(row["by"], rows.time_of(row["at"]), row["text"], row["signature"]) for row in found]


def add_decision(session: Session, workflow: WorkflowId, decision: StoredDecision) -> None:
    """See the port."""
    values = {"by": decision.by, "at": decision.at, "text": decision.text, "signature": decision.signature}
    session.write(ADD_DECISION, {"workflow": workflow, **values})


def freezes(run: Run) -> Sequence[Freeze]:
    """See the port."""
    return [Freeze(row["scope"], rows.time_of(row["at"]), row["by"], row["reason"]) for row in run(FREEZES, {})]


def freeze(session: Session, freeze: Freeze) -> bool:
    """See the port."""
    values = {"scope": freeze.scope, "at": freeze.at, "by": freeze.by, "reason": freeze.reason}
    return bool(session.execute(FREEZE, values))


def use_budget(session: Session, budget: Budget, owner: str, workflow: WorkflowId, now: datetime) -> bool:
    """See the port."""
    values = {
        "policy": budget.policy,
        "owner": owner,
        "workflow": workflow,
        "now": now,
        "since": now - timedelta(days=budget.days),
        "most": budget.per_owner,
    }
    return bool(session.execute(USE_BUDGET, values))
