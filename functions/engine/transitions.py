"""The only place where a workflow changes: lock, decide, commit; then effects, commit.

Transaction A stores the decision, with its effects as intents. Transaction B carries the intents out and closes them.
Both lock the workflow's row first. B holds the lock while it talks to the cluster, so a stop waits for a creation that
is under way: no Job is created after its stage was halted. A process that dies between A and B leaves open intents; the
redelivered event or the sweep carries them out. Every effect may be repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from functions.cluster.ports import ClusterUnavailable
from functions.engine import job_creation
from functions.engine.effects import Effects, RetryLater, give_up, next_try
from functions.engine.tick_control import TickControl
from functions.errors import Unavailable
from functions.log import TRACEPARENT, about
from functions.results.ports import StorageUnavailable
from functions.trust import chain, facts
from functions.workflow import decide as rules
from functions.workflow import steps
from functions.workflow.decision import Decision, Emit, Verdict
from functions.workflow.model import Record, Workflow, WorkflowId
from functions.workflow.observation import Admitted, Observation

if TYPE_CHECKING:
    from functions.engine.app import App
    from functions.engine.spans import Change
    from functions.store.transaction_port import Transaction
    from functions.store.values import Intent

logger = logging.getLogger(__name__)

# An effect is given up after so many tries (about a day). The sweep then finds what is left in the cluster, and a stage
# without a Job has failed. A creation is given up earlier if it has waited for `queue_seconds`.
MAX_TRIES = 150
ADMISSION = "admission"  # the cause in the history


class _Remaining(Struct):
    """The work that is left after one transaction B."""

    slot_freed: bool = False
    again: bool = False  # new intents were decided
    unavailable: Exception | None = None


def _count_run(tx: Transaction, record: Record, now: datetime) -> None:
    """Count the workflow against its policies' budgets; the environment's lock is held. Raises BudgetUsedUp."""
    from functions.engine import holding

    holding.count_run(tx, record, now)


def _log(observation: Observation, decision: Decision, cause: str) -> None:
    w = decision.workflow
    fields = about(workflow=w.id, phase=w.phase, event=cause, trace_id=w.traceparent[3:35] or None)
    logger.info("%s: %s", type(observation).__name__, decision.verdict, extra=fields)


class Transitions:
    """Changes workflows. Raises Unavailable if a part cannot answer: nothing is lost, try again."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._effects = Effects(app)
        self.tick = TickControl(app)

    def submit(self, record: Record, cause: str, first: Callable[[Transaction], None] | None = None) -> Record:
        """Record a new workflow, start it if a slot is free, and return it as recorded.

        Raises AgreementInUse and Unavailable; nothing is recorded then. `first` runs in the same transaction, and may
        raise as well. After the commit nothing is raised, because a second submission would be refused: the sweep
        starts what could not be started.
        """
        now = self._app.clock()
        environment = record.workflow.environment
        if traceparent := TRACEPARENT.get():
            record = replace(record, workflow=replace(record.workflow, traceparent=traceparent))
        record = replace(record, workflow=replace(record.workflow, salt=self._app.new_salt()))
        recorded = chain.recorded_cause(record.workflow, cause)
        queued = self._sealed(steps.proven(rules.submit(record.workflow, now), facts.of_submission(record)), recorded)
        decisions = [(queued, recorded)]
        made: list[Change] = [(record.workflow, queued)]
        admitted: list[WorkflowId] = []
        with self._app.store.begin() as tx:
            if first is not None:
                first(tx)
            slots = tx.slots(environment)
            if record.submission.policy:
                _count_run(tx, record, now)
            free = self._slots_of(environment) - slots.taken
            if free > 0 and not slots.queued:  # no other workflow waits, so it starts at once
                started = self._sealed(rules.decide(queued.workflow, Admitted(), now), ADMISSION)
                decisions.append((started, ADMISSION))
                made.append((queued.workflow, started))
                admitted = [record.workflow.id]
            tx.add(record, decisions)
            if slots.queued:
                admitted = self._admit(tx, made, environment, free, now)
            self.tick.raise_for_new(tx, [decision for _, decision in made], now)
        self._tell(made)
        try:
            self._carry_out_all(admitted, cause)
        except Unavailable as e:
            logger.warning("submitted; the sweep starts it: %s", e, extra=about(workflow=record.workflow.id))
        last, _ = decisions[-1]
        return replace(record, workflow=last.workflow)

    def apply(self, workflow: WorkflowId, observation: Observation, cause: str) -> Verdict:
        """Decide what the observation makes of the workflow, record it, and carry its effects out."""
        return self.apply_found(workflow, lambda _tx, _current: observation, cause)

    def apply_found(
        self, workflow: WorkflowId, find: Callable[[Transaction, Workflow], Observation | None], cause: str
    ) -> Verdict:
        """Like `apply`, with the observation that `find` makes under the workflow's lock; None changes nothing.

        What `find` stores is committed with the decision. If it raises, nothing is stored.
        """
        now = self._app.clock()
        admitted: list[WorkflowId] = []
        with self._transaction() as (tx, made):
            current = tx.lock(workflow)
            if current is None:
                return Verdict.UNKNOWN
            observation = find(tx, current)
            if observation is None:
                return Verdict.UNCHANGED
            decision = rules.decide(current, observation, now)
            self._save(tx, made, current, decision, cause)
            if decision.slot_freed:
                admitted = self._admit_next(tx, made, current.environment, now)
        _log(observation, decision, cause)
        # A duplicate may be redelivered because its first handler died before the effects.
        if decision.effects or decision.verdict is Verdict.DUPLICATE:
            self.carry_out(workflow, cause)
        self._carry_out_all(admitted, cause)
        if self._app.telemetry is not None:
            from functions.engine.spans import tell_transition

            event, ended = type(observation).__name__, self._app.clock()
            tell_transition(self._app.telemetry, decision.workflow, event, decision.verdict, now, ended)
        return decision.verdict

    def admit(self, environment: str) -> Sequence[WorkflowId]:
        """Give free slots of the environment to the oldest queued workflows; return these, whose intents are open."""
        with self._transaction() as (tx, made):
            return self._admit_next(tx, made, environment, self._app.clock())

    def carry_out(self, workflow: WorkflowId, cause: str) -> None:
        """Carry out the open intents of a workflow, and the intents that follow from them."""
        again = True
        while again:
            with self._transaction() as (tx, made):
                current = tx.lock(workflow)
                intents = tx.intents(workflow) if current is not None else ()
                if current is None or not intents:
                    return
                remaining = self._round(tx, made, current, intents, cause)
            if remaining.slot_freed:
                # In a transaction of its own: the environment must not be locked during calls to the cluster.
                self._carry_out_all(self.admit(current.environment), cause)
            if remaining.unavailable is not None:
                raise remaining.unavailable
            again = remaining.again

    def _carry_out_all(self, workflows: Sequence[WorkflowId], cause: str) -> None:
        for workflow in workflows:
            self.carry_out(workflow, cause)

    @contextmanager
    def _transaction(self) -> Iterator[tuple[Transaction, list[Change]]]:
        """A transaction, and the list of its decisions. Before the commit the tick is raised for them."""
        made: list[Change] = []
        with self._app.store.begin() as tx:
            yield tx, made
            self.tick.raise_for(tx, [decision for _, decision in made], self._app.clock())
        self._tell(made)

    def _tell(self, made: Sequence[Change]) -> None:
        """Tell telemetry, if there is any, of committed decisions."""
        if self._app.telemetry is not None and made:
            from functions.engine import spans

            spans.tell(self._app.telemetry, made, self._app.clock())

    def _save(self, tx: Transaction, made: list[Change], current: Workflow, decision: Decision, cause: str) -> Workflow:
        """Store a decision if it changes `current`. Returns the workflow with the head of its history."""
        if decision.workflow == current:
            return current
        cause = chain.recorded_cause(decision.workflow, cause)
        sealed = self._sealed(decision, cause)
        tx.save(sealed, cause)
        made.append((current, sealed))
        return sealed.workflow

    def _sealed(self, decision: Decision, cause: str) -> Decision:
        """The decision as it is stored: its lines are chained to the history, and events without a URL are left out."""
        settings = self._app.settings
        has_url = {"started": bool(settings.notify_start_url), "finished": bool(settings.notify_stop_url)}
        otherwise = bool(settings.notify_hold_urls)
        wanted = tuple(e for e in decision.effects if not isinstance(e, Emit) or has_url.get(e.kind, otherwise))
        return chain.seal(replace(decision, effects=wanted), cause)

    def _slots_of(self, environment: str) -> int:
        """The number of workflows that may run at once; 0 if the environment is not offered any more."""
        offered = self._app.environments.get(environment)
        return offered.max_jobs if offered else 0

    def _admit_next(self, tx: Transaction, made: list[Change], environment: str, now: datetime) -> list[WorkflowId]:
        """Give the free slots of the environment to queued workflows."""
        slots = tx.slots(environment)
        if not slots.queued:
            return []
        return self._admit(tx, made, environment, self._slots_of(environment) - slots.taken, now)

    def _admit(
        self, tx: Transaction, made: list[Change], environment: str, free: int, now: datetime
    ) -> list[WorkflowId]:
        """Give up to `free` slots to the oldest queued workflows; the caller holds the environment's lock."""
        admitted: list[WorkflowId] = []
        while len(admitted) < free and (queued := tx.oldest_queued(environment)) is not None:
            self._save(tx, made, queued, rules.decide(queued, Admitted(), now), ADMISSION)
            admitted.append(queued.id)
        return admitted

    def _round(
        self, tx: Transaction, made: list[Change], current: Workflow, intents: Sequence[Intent], cause: str
    ) -> _Remaining:
        """Transaction B: carry out intents in their order, up to the first that fails."""
        remaining = _Remaining()
        now = self._app.clock()
        for intent in intents:
            if now < intent.due_at:
                continue  # not due yet; the sweep picks it up. Safe to skip: no later intent depends on it
            try:
                job_uid, observation = self._effects.carry_out(tx, current, intent, now)
            except (ClusterUnavailable, StorageUnavailable) as e:
                if intent.tries < MAX_TRIES:
                    tx.postpone(intent, next_try(intent, now))
                    remaining.unavailable = e
                    return remaining
                logger.error("an effect is given up: %s", intent.effect, extra=about(workflow=current.id))
                job_uid, observation = None, give_up(intent.effect)
            except RetryLater as e:
                tx.postpone(intent, e.at)
                job_creation.record_wait(tx, current, intent, e.reason, cause)
                return remaining
            if job_uid is None:
                tx.close(intent)
            else:
                current = job_creation.record_job(tx, current, intent, job_uid, now, cause)
            if observation is not None:
                decision = rules.decide(current, observation, now)
                current = self._save(tx, made, current, decision, cause)
                remaining.again = remaining.again or bool(decision.effects)
                remaining.slot_freed = remaining.slot_freed or decision.slot_freed
        return remaining
