"""Answers of the review routes that `submit` and `status` share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functions.api.http import Call, HttpError
from functions.ethereum import comparable
from functions.results.layout import plain_path
from functions.store.ports import Store
from functions.store.values import HeldResults, StoredDecision
from functions.trust import decisions, findings, policy
from functions.trust.chain import spell_time
from functions.trust.decisions import Held
from functions.trust.findings import Report
from functions.workflow.model import Phase, Record, Stage, Workflow, WorkflowId


def held_record(call: Call, job: str) -> tuple[Record, HeldResults]:
    """Return a job whose results wait for a decision. Raises HttpError 404."""
    record = call.app.store.get(WorkflowId(job))
    held = call.app.store.held(WorkflowId(job)) if record else None
    if record is None or held is None or record.workflow.phase not in (Phase.HELD, Phase.RELEASE):
        raise HttpError(404, f"no results of a job {job} are held")
    return record, held


def report_of(held: HeldResults) -> Report | None:
    """Return the report of the disclosure checks, if there were any."""
    return findings.read(held.manifest.report) if held.manifest.report else None


def to_decide(record: Record, held: HeldResults) -> Held:
    """Return the held results in the form against which a decision is checked."""
    report = report_of(held)
    files = {plain_path(file.path): file.plain_sha256 or "" for file in held.manifest.files}
    return Held(
        job=record.workflow.id,
        head=held.head,
        files=files,
        blocked=report.locked(files) if report else frozenset(),
        approvals=policy.decode(record.submission.policy).approvals,
        submitters=frozenset((record.submission.owner, record.submission.provider)),
    )


def may_see(address: str, record: Record) -> bool:
    """Whether a checker may look at held results of this job, and at what was found; an operator has no address.

    Who submitted the job may not: as a checker of one data set they would see what was computed from another.
    """
    submitters = map(comparable, (record.submission.owner, record.submission.provider))
    checkers = policy.decode(record.submission.policy).checkers
    return not address or (address in checkers and comparable(address) not in submitters)


def result_of(record: Record, stored: Sequence[StoredDecision]) -> decisions.Result:
    """Return what the decisions about this job come to."""
    approvals = policy.decode(record.submission.policy).approvals
    return decisions.result(approvals, decisions.read_all(each.text for each in stored))


def summary(store: Store, record: Record, report: Report | None) -> dict[str, Any]:
    """Return one line of the list: what waits, until when, what was found, and why a release failed."""
    workflow, merged = record.workflow, policy.decode(record.submission.policy)
    result = result_of(record, store.decisions(workflow.id))
    return {
        "jobId": workflow.id,
        "environment": workflow.environment,
        "policy": list(merged.names),
        "until": spell_time(workflow.held_until) if workflow.held_until else None,
        "phase": workflow.phase.value,
        "verdict": workflow.findings.value or "pass",
        "findings": report.findings if report else 0,
        "approvals": {"given": result.given, "needed": result.needed},
        "releaseFailed": _failed_release(store, workflow),
    }


def _failed_release(store: Store, workflow: Workflow) -> dict[str, str] | None:
    """Why and when the last release failed, if the results wait because of that."""
    if workflow.phase is not Phase.HELD or not workflow.attempt:
        return None
    ends = [each.end for each in store.attempts(workflow.id) if each.stage is Stage.RELEASE and each.end]
    last = max(ends, key=lambda end: end.at, default=None)
    return {"reason": last.reason, "at": spell_time(last.at)} if last else None
