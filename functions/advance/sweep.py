"""The sweep: what a tick does. Finds what no event announced, at a cost that follows what is due.

Safe beside handlers and other sweeps: what is due is claimed by moving its due time, and every change goes
through Transitions. Whoever dies in a sweep loses nothing; the claim runs out.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from functions.advance.reconcile import look
from functions.api.auth.nonce import forgettable
from functions.cluster.ports import ClusterError
from functions.errors import Unavailable
from functions.log import about
from functions.workflow.decision import Verdict
from functions.workflow.model import Workflow, WorkflowId

if TYPE_CHECKING:
    from functions.engine.app import App
    from functions.store.ports import Outgoing

logger = logging.getLogger(__name__)
T = TypeVar("T")

BATCH = 10  # little is claimed in vain when the time is over
# A claim runs out after this, so that another sweep takes over what a dead one had claimed.
CLAIM = timedelta(seconds=30)
# Nothing new is begun after this: Knative gives the request up after 60 s, and the next tick comes then.
BUDGET = timedelta(seconds=40)
# So many in a row that the cluster or the storage keeps waiting: it is away, and would keep the rest waiting too.
AWAY = 5
# An event that nobody takes is dropped after this many tries, one a sweep.
MOST_DELIVERIES = 500
CAUSE = "sweep"


def sweep(app: App) -> Counter[str]:
    """Do what is due, as far as the time reaches. Returns how much of what was repaired.

    Raises StoreUnavailable where not even what is due can be asked.
    """
    run = _Sweep(app)
    run.each(app.store.claim_intents, run.complete)
    run.each(app.store.claim_workflows, run.look)
    for environment in app.store.queues():
        run.admit(environment)
    for namespace in sorted({environment.namespace for environment in app.environments.values()}):
        run.collect_orphans(namespace)
    app.store.prune_nonces(forgettable(app.clock()))
    run.deliver()  # last: whoever is told may be slow
    if run.done:
        logger.info("swept", extra=about(repaired=dict(run.done)))
    return run.done


class _Sweep:
    """One run. What is unavailable for one workflow must not keep it from the others: that comes up again."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.done: Counter[str] = Counter()
        self._began = app.clock()
        self._waited = 0  # how many in a row were unavailable

    def each(self, claim: Callable[[datetime, datetime, int], Sequence[T]], repair: Callable[[T], None]) -> None:
        """Repair what is due, until too many in a row cannot be."""
        self._waited = 0
        for item in self._due(claim):
            self._guarded(repair, item)
            if self._waited >= AWAY:
                return

    def _due(self, claim: Callable[[datetime, datetime, int], Sequence[T]]) -> Iterator[T]:
        """What was due at the beginning, claimed a batch at a time: nothing comes up twice in one sweep."""
        while self._in_time():
            batch = claim(self._began, self.app.clock() + CLAIM, BATCH)
            for item in batch:
                if not self._in_time():
                    return  # its claim runs out by the next tick
                yield item
            if len(batch) < BATCH:
                return

    def _in_time(self) -> bool:
        return self.app.clock() < self._began + BUDGET

    def complete(self, workflow: WorkflowId) -> None:
        """Carry out intents that a handler left open."""
        self.done["open intents"] += 1
        self.app.transitions.carry_out(workflow, CAUSE)

    def look(self, workflow: Workflow) -> None:
        """See whether the Job of a workflow has ended or gone unannounced, or its time is over."""
        if look(self.app, workflow, CAUSE) is Verdict.APPLIED:
            self.done[f"{workflow.phase} moved on"] += 1

    def admit(self, environment: str) -> None:
        """Give free slots to queued workflows, and start as many of them as the time reaches for."""
        admitted = self._guarded(self.app.transitions.admit, environment) if self._in_time() else None
        for workflow in admitted or ():
            self.done["admitted"] += 1
            if self._in_time():  # else their open intents are due soon
                self._guarded(self.app.transitions.carry_out, workflow, CAUSE)

    def deliver(self) -> None:
        """Deliver what goes outside. After a failure the rest waits too: it mostly goes to the same place."""
        for event in self._due(self.app.store.claim_events):
            if self._guarded(self._send, event):
                self.done["events delivered"] += 1
            elif event.tries < MOST_DELIVERIES:
                return
            self.app.store.close_event(event)

    def _send(self, event: Outgoing) -> bool:
        from functions.advance.notifications import deliver

        return deliver(self.app, event)

    def collect_orphans(self, namespace: str) -> None:
        """Clean up after workflows that are over but still own something. Unknown ones are somebody else's."""
        owners = self._guarded(self.app.cluster.orphans, namespace, 500) or ()
        alive = self.app.store.unfinished(owners) if owners else set()
        for workflow in (w for w in owners if w not in alive):
            if not self._in_time():
                return
            if self.app.store.state(workflow) is None:
                logger.warning("not ours, left alone", extra=about(workflow=workflow))
                continue
            self._guarded(self.app.cluster.clean_up, workflow, namespace)
            self.done["leftovers removed"] += 1

    def _guarded(self, action: Callable[..., T], *arguments: object) -> T | None:
        try:
            done = action(*arguments)
        except (ClusterError, Unavailable) as e:  # or the workflow is held by somebody else
            self.done["postponed"] += 1
            self._waited += 1
            logger.warning("postponed: %s", e, extra=about(cause=type(e).__name__))
        except Exception as e:  # a fault of ours with one workflow must not keep the sweep from all the others
            self.done["failed"] += 1
            subject = getattr(arguments[0], "id", arguments[0])
            logger.error("internal error", exc_info=e, extra=about(doing=action.__name__, subject=subject))
        else:
            self._waited = 0
            return done
        return None
