"""The sweep: what a tick does. Finds what no event announced, at a cost that follows what is due.

Safe beside handlers and other sweeps: what is due is claimed by moving its due time, and every change goes
through Transitions. Whoever dies in a sweep loses nothing; the claim runs out.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from functions.advance.look import look
from functions.log import about
from functions.workflow.model import Verdict, WorkflowId

if TYPE_CHECKING:
    from functions.bootstrap import Sluice

logger = logging.getLogger(__name__)

BATCH = 50
# A claim runs out after this, so that another sweep takes over what a dead one had claimed.
CLAIM = timedelta(seconds=30)
# One tick's work is bounded; what is left is due at the next tick.
MOST_BATCHES = 40
# An event that nobody takes is dropped after this many tries (with growing pauses: about two days).
MOST_DELIVERIES = 50
CAUSE = "sweep"


def sweep(parts: Sluice) -> Counter[str]:
    """Do all that is due. Returns how much of what was repaired; failures are logged and come up again."""
    from functions.cluster.ports import ClusterError
    from functions.results.ports import StorageUnavailable

    done: Counter[str] = Counter()

    def attempt(workflow: WorkflowId | None, action: Callable[[], object]) -> object:
        """One piece of work; what is unavailable for one workflow must not keep the sweep from the others."""
        try:
            return action()
        except (ClusterError, StorageUnavailable) as e:
            done["postponed"] += 1
            logger.warning("%s: %s", type(e).__name__, e, extra=about(workflow=workflow))
            return None

    _intents(parts, done, attempt)
    _workflows(parts, done, attempt)
    for environment in parts.store.queues():
        admitted = attempt(None, lambda e=environment: parts.transitions.admit(e, CAUSE))
        done["admitted"] += admitted if isinstance(admitted, int) else 0
    _events(parts, done)
    for namespace in {environment.place for environment in parts.environments.values()}:
        attempt(None, lambda n=namespace: _leftovers(parts, n, done))
    done = +done
    if done:
        logger.info("swept", extra=about(**{key.replace(" ", "_"): count for key, count in done.items()}))
    return done


Attempt = Callable[[WorkflowId | None, Callable[[], object]], object]


def _intents(parts: Sluice, done: Counter[str], attempt: Attempt) -> None:
    for _ in range(MOST_BATCHES):
        now = parts.clock()
        due = parts.store.claim_intents(now, now + CLAIM, BATCH)
        for workflow in due:
            attempt(workflow, lambda w=workflow: parts.transitions.carry_out(w, CAUSE))
            done["open intents"] += 1
        if len(due) < BATCH:
            return


def _workflows(parts: Sluice, done: Counter[str], attempt: Attempt) -> None:
    for _ in range(MOST_BATCHES):
        now = parts.clock()
        due = parts.store.claim_workflows(now, now + CLAIM, BATCH)
        for workflow in due:
            verdict = attempt(workflow.id, lambda w=workflow: look(parts, w, CAUSE))
            if verdict is Verdict.APPLIED:
                done[f"{workflow.phase} moved on"] += 1
        if len(due) < BATCH:
            return


def _events(parts: Sluice, done: Counter[str]) -> None:
    """Deliver what goes outside. A failed delivery stays claimed: with each try for longer."""
    settings = parts.settings
    if not (settings.notify_start_url or settings.notify_stop_url):
        return
    from functions.notify import deliver

    now = parts.clock()
    for event in parts.store.claim_events(now, now + CLAIM, BATCH):
        if deliver(parts, event):
            done["events delivered"] += 1
        elif event.tries < MOST_DELIVERIES:
            continue
        parts.store.close_event(event)


def _leftovers(parts: Sluice, namespace: str, done: Counter[str]) -> None:
    """Clean up after workflows that are over but still own something. Unknown ones are somebody else's."""
    owners = parts.cluster.leftovers(namespace, 500)
    alive = parts.store.unfinished(owners)
    for workflow in owners:
        if workflow in alive:
            continue
        if parts.store.state(workflow) is None:
            logger.warning("not ours, left alone", extra=about(workflow=workflow))
            continue
        parts.cluster.clean_up(workflow, namespace)
        done["leftovers removed"] += 1
