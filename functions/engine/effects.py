"""Carries effects out, in the cluster or the storage. Every effect may be repeated."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_never

from functions.backoff import Backoff
from functions.cluster.ports import (
    ClusterError,
    ClusterUnavailable,
    NameConflict,
    Rejected,
    StageJob,
    job_ref,
    namespace_of,
)
from functions.log import about
from functions.results.storage import storage_url
from functions.workflow.decision import (
    CleanUp,
    CreateJob,
    DeleteJob,
    Effect,
    Emit,
    RemoveQuarantine,
    RemoveReleased,
    RemoveResults,
    Report,
)
from functions.workflow.document import DocumentError
from functions.workflow.environment import Environment
from functions.workflow.hold_rules import scope
from functions.workflow.model import JobUid, Outcome, Submission, Workflow
from functions.workflow.observation import StageEnded, StageLost, StageObservation
from functions.workflow.stage_task import RELEASE_ATTEMPT
from functions.workflow.steps import may_be_held
from functions.workflow.tes_task import document_of
from functions.workflow.timing import creation_deadline, remaining

if TYPE_CHECKING:
    from functions.engine.app import App
    from functions.store.transaction_port import Transaction
    from functions.store.values import Intent
    from functions.workflow.model import Record
    from functions.workflow.stage_task import HeldTask
    from functions.workflow.tes_task import Document

logger = logging.getLogger(__name__)

RETRIES = Backoff(first=5, factor=2, longest=600)
FROZEN_PAUSE = timedelta(minutes=1)  # until it is checked again whether a freeze is lifted


class RetryLater(Exception):
    """The cluster refuses for now. The sweep tries again at `at`; the event need not be sent again."""

    def __init__(self, at: datetime, reason: str = "") -> None:
        super().__init__(reason)
        self.at = at
        self.reason = reason  # for the owner; empty for a freeze, which is not the owner's to know


class Effects:
    """Carries effects out."""

    def __init__(self, app: App) -> None:
        self._app = app

    def carry_out(
        self, tx: Transaction, current: Workflow, intent: Intent, now: datetime
    ) -> tuple[JobUid | None, StageObservation | None]:
        """Carry one effect out. Returns the UID of a Job that was created, and an observation that follows from it.

        Raises Unavailable and RetryLater: the effect is still to be carried out.
        """
        app, effect = self._app, intent.effect
        match effect:
            case CreateJob():
                return self._create(tx, current, intent, effect, now)
            case DeleteJob(stage, attempt, executor):
                gone = app.cluster.delete(job_ref(current, stage, attempt, app.environments, executor))
                return None, StageLost(stage, attempt, executor) if gone else None
            case CleanUp():
                app.cluster.clean_up(current.id, namespace_of(current, app.environments))
            case RemoveResults():
                app.storage.remove(current.id)
            case RemoveQuarantine():
                app.quarantine.remove(current.id)
            case RemoveReleased():
                app.storage.remove(current.id, before=RELEASE_ATTEMPT + 1)
            case Report():
                self._report(tx, current)
            case Emit():
                pass  # the sweep delivers it
            case _:
                assert_never(effect)
        return None, None

    def _create(
        self, tx: Transaction, current: Workflow, intent: Intent, effect: CreateJob, now: datetime
    ) -> tuple[JobUid | None, StageObservation | None]:
        record = tx.record(current.id)
        environment = self._app.environments.get(current.environment)
        if record is None or environment is None:
            return None, _refused(effect, "EnvironmentUnknown")
        try:
            definition = document_of(record.submission)
        except DocumentError:  # not recorded by us, such as a row that operator-service has inserted
            return None, _refused(effect, "DocumentInvalid")
        if intent.frozen and _is_frozen(tx, current, effect, definition):
            raise RetryLater(now + FROZEN_PAUSE)
        held = self._held(tx, record, effect) if may_be_held(current) else None
        job = self._job(current, record.submission, environment, definition, effect, held)
        give_up_at = creation_deadline(current.limits, intent.due_at)
        try:
            return self._app.cluster.create(job), None
        except Rejected as e:
            logger.warning("Job refused: %s", e, extra=about(workflow=current.id, stage=effect.stage, reason=e.reason))
            if e.final or now >= give_up_at:
                return None, _refused(effect, e.reason)
            raise RetryLater(next_try(intent, now), e.reason) from None
        except NameConflict:
            logger.error("a foreign Job has our name", extra=about(workflow=current.id, stage=effect.stage))
            return None, _refused(effect, "NameConflict")
        except ClusterUnavailable:
            if now >= give_up_at:
                return None, _refused(effect, "ClusterUnavailable")
            raise

    def _job(
        self,
        current: Workflow,
        submission: Submission,
        environment: Environment,
        definition: Document,
        effect: CreateJob,
        held: HeldTask | None,
    ) -> StageJob:
        return StageJob(
            workflow=current.id,
            stage=effect.stage,
            attempt=effect.attempt,
            executor=effect.executor,
            owner=submission.owner,
            environment=environment,
            limits=remaining(current),
            definition=definition,
            secret=submission.secret,
            scope=scope(current),
            results=storage_url(self._app.settings),
            may_lack_volume=current.ending is not None,
            policy=submission.policy,
            traceparent=_traceparent(current, effect),
            held=held,
        )

    def _held(self, tx: Transaction, record: Record, effect: CreateJob) -> HeldTask:
        from functions.engine import holding

        return holding.task(tx, self._app.settings, record, effect.stage)

    def _report(self, tx: Transaction, current: Workflow) -> None:
        record = tx.record(current.id)
        if record is None or record.submission.origin is None:
            return
        try:
            self._app.cluster.report(record.submission.origin, current)
        except ClusterUnavailable:
            raise
        except ClusterError as e:  # the object is gone, or refuses the status
            logger.warning("status not reported: %s", e, extra=about(workflow=current.id))


def _is_frozen(tx: Transaction, current: Workflow, effect: CreateJob, definition: Document) -> bool:
    from functions.engine import holding

    return holding.frozen(tx, current.environment, effect.stage, definition)


def next_try(intent: Intent, now: datetime) -> datetime:
    """When an effect that failed at `now` is due again."""
    return now + timedelta(seconds=RETRIES.delay(intent.tries + 1))


def give_up(effect: Effect) -> StageObservation | None:
    """The observation when an effect has failed too often: a stage whose Job was never created has failed."""
    return _refused(effect, "ClusterUnavailable") if isinstance(effect, CreateJob) else None


def _traceparent(current: Workflow, effect: CreateJob) -> str:
    if not current.traceparent:
        return ""
    from functions.workflow.trace_context import of_attempt

    return str(of_attempt(current, effect.stage, effect.attempt, effect.executor))


def _refused(effect: CreateJob, reason: str) -> StageEnded:
    return StageEnded(effect.stage, effect.attempt, None, Outcome.FAILED, reason=reason, executor=effect.executor)
