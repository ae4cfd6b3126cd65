"""The sweep, which each tick starts: finds everything that no event announced. Its cost follows what is due.

It is safe beside handlers and other sweeps: a due row is claimed by moving its due time, and every change goes through
Transitions. If a sweep dies, its claims run out and the next sweep takes over.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from functions.advance.reconcile import reconcile
from functions.api.auth.nonce import forgettable
from functions.cluster.ports import ClusterError
from functions.errors import Unavailable
from functions.log import about
from functions.variables import SettingsError
from functions.workflow.decision import Verdict
from functions.workflow.model import Workflow, WorkflowId
from functions.workflow.tick import AHEAD, TickLevel

if TYPE_CHECKING:
    from functions.engine.app import App
    from functions.store.values import Outgoing
    from functions.telemetry import Telemetry

logger = logging.getLogger(__name__)
T = TypeVar("T")

BATCH = 10  # small, so that a sweep whose time is over leaves few claimed workflows unchecked
MAX_EARLY = 100  # a sweep checks at most so many workflows before they are due
# A claim runs out after this, so that another sweep takes over from a dead one.
CLAIM = timedelta(seconds=30)
# A sweep begins nothing new after this: Knative gives the request up after 60 s.
BUDGET = timedelta(seconds=40)
# After so many unavailable answers in a row, the rest waits for the next sweep.
MAX_UNAVAILABLE = 5
# An event is dropped after this many deliveries that failed; each sweep tries once.
MAX_DELIVERIES = 500
# Dead letters are kept for this long, and no more than these: as many as can be listed.
LETTER_AGE = timedelta(days=30)
LETTERS = 1000
CAUSE = "sweep"


def sweep(app: App, started_by: TickLevel | None = None) -> Counter[str]:
    """Do what is due, as far as the time allows. Returns the number of repairs of each kind.

    `started_by`: the level of the tick that starts this sweep; None for any other start. A fast or medium tick leaves
    orphans and old nonces to the slower ones. Raises StoreUnavailable if the record cannot be read.
    """
    run = _Sweep(app)
    run.each(app.store.claim_intents, run.complete)
    run.each(app.store.claim_workflows, run.reconcile)
    if started_by in AHEAD:
        run.check_early(AHEAD[started_by])
    for environment in app.store.queues():
        run.admit(environment)
    if started_by is None or started_by < TickLevel.MEDIUM:
        for namespace in sorted({environment.namespace for environment in app.environments.values()}):
            run.collect_orphans(namespace)
        app.store.prune_nonces(forgettable(app.clock()))
        app.store.prune_dead_letters(app.clock() - LETTER_AGE, LETTERS)
    run.extend_log()
    run.deliver()  # late, because the receiver may be slow
    run.settle(started_by)
    run.copy_checkpoints()  # last, because nothing waits for archives and witnesses, which may be slow
    if run.done:
        logger.info("swept", extra=about(repaired=dict(run.done)))
    if app.telemetry is not None:
        run.measure(app.telemetry)
    return run.done


def level_of(data: Any) -> TickLevel | None:
    """The level that the data of a tick name; None if they name none."""
    name = data.get("level") if isinstance(data, Mapping) else None
    return next((level for level in TickLevel if level.name == name), None)


class _Sweep:
    """One run. If something is unavailable for one workflow, the run continues with the others."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.done: Counter[str] = Counter()
        self._began = app.clock()
        self._unavailable = 0  # in a row

    def each(self, claim: Callable[[datetime, datetime, int], Sequence[T]], repair: Callable[[T], None]) -> None:
        """Repair everything that is due, until too many in a row are unavailable."""
        self._unavailable = 0
        for item in self._due(claim):
            self._guarded(repair, item)
            if self._unavailable >= MAX_UNAVAILABLE:
                return

    def _due(self, claim: Callable[[datetime, datetime, int], Sequence[T]]) -> Iterator[T]:
        """Yield what was due when the sweep began, claimed in batches: nothing comes up twice in one sweep."""
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

    def reconcile(self, workflow: Workflow) -> None:
        """Find out whether the Job of a workflow has ended or gone unannounced, or its time is over."""
        if reconcile(self.app, workflow, CAUSE) is Verdict.APPLIED:
            self.done[f"{workflow.phase} moved on"] += 1

    def check_early(self, ahead: timedelta) -> None:
        """Check what is due within that time, so that it needs no tick that comes more often."""
        for workflow in self.app.store.claim_workflows(self._began + ahead, self.app.clock() + CLAIM, MAX_EARLY):
            if not self._in_time():
                return
            self._guarded(self.reconcile, workflow)

    def admit(self, environment: str) -> None:
        """Give free slots to queued workflows, and start as many of them as the time allows."""
        admitted = self._guarded(self.app.transitions.admit, environment) if self._in_time() else None
        for workflow in admitted or ():
            self.done["admitted"] += 1
            if self._in_time():  # otherwise the next sweep carries out their open intents
                self._guarded(self.app.transitions.carry_out, workflow, CAUSE)

    def deliver(self) -> None:
        """Deliver events to the outside. After a failure the rest waits: it mostly goes to the same receiver."""
        for event in self._due(self.app.store.claim_events):
            if self._guarded(self._send, event):
                self.done["events delivered"] += 1
            elif event.tries < MAX_DELIVERIES:
                return
            self.app.store.close_event(event)

    def _send(self, event: Outgoing) -> bool:
        from functions.advance.notifications import deliver

        return deliver(self.app, event)

    def collect_orphans(self, namespace: str) -> None:
        """Clean up after finished workflows that still own something. Workflows that the record does not know stay."""
        owners = self._guarded(self.app.cluster.orphans, namespace, 500) or ()
        alive = self.app.store.unfinished(owners) if owners else set()
        for workflow in (w for w in owners if w not in alive):
            if not self._in_time():
                return
            if self.app.store.state(workflow) is None:
                logger.warning("objects of an unknown workflow are left alone", extra=about(workflow=workflow))
                continue
            self._guarded(self.app.cluster.clean_up, workflow, namespace)
            self.done["orphans removed"] += 1

    def extend_log(self) -> None:
        """Append what is new to the log, and sign it. Without a key nothing is imported."""
        if not self.app.settings.signing_key:
            return
        from functions.engine import transparency

        self._guarded(transparency.announce, self.app)
        while self._in_time() and (new := self._guarded(transparency.extend, self.app)):
            self.done["heads logged"] += new

    def copy_checkpoints(self) -> None:
        """Send new checkpoints to the archive and to the witnesses. The next sweep retries what fails."""
        settings = self.app.settings
        if not settings.signing_key or not (settings.checkpoint_url or settings.witnesses):
            return
        from functions.advance import checkpoint_copies

        if settings.checkpoint_url and (new := self._guarded(checkpoint_copies.archive, self.app, self._in_time)):
            self.done["checkpoints archived"] += new
        for witness in settings.witnesses:
            if self._in_time() and self._guarded(checkpoint_copies.ask, self.app, witness):
                self.done["checkpoints cosigned"] += 1

    def settle(self, started_by: TickLevel | None) -> None:
        """Set the level of the tick."""
        self._guarded(self.app.transitions.tick.settle, started_by)

    def measure(self, telemetry: Telemetry) -> None:
        """Push the number of repairs and the metrics of the record. A function that sleeps cannot be scraped."""
        from functions.engine.gauges import measured
        from functions.instruments import REPAIRS

        for kind, count in self.done.items():
            telemetry.measure(REPAIRS, count, kind=kind)
        for each in self._guarded(measured, self.app) or ():
            telemetry.put(each)

    def _guarded(self, action: Callable[..., T], *arguments: object) -> T | None:
        try:
            done = action(*arguments)
        except (ClusterError, Unavailable) as e:  # also: another transaction holds the workflow's lock
            self.done["postponed"] += 1
            self._unavailable += 1
            logger.warning("postponed: %s", e, extra=about(cause=type(e).__name__))
        except SettingsError as e:
            self.done["failed"] += 1
            logger.error("a setting is wrong: %s", e)
        except Exception as e:  # an internal error with one workflow must not keep the sweep from the others
            self.done["failed"] += 1
            subject = getattr(arguments[0], "id", arguments[0])
            logger.error("internal error", exc_info=e, extra=about(doing=action.__name__, subject=subject))
        else:
            self._unavailable = 0
            return done
        return None
