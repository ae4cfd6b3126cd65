"""Summaries of workflows, for the record in memory."""

from __future__ import annotations

from functions.ethereum import comparable
from functions.store.values import Listing, Summary
from functions.workflow.model import Phase, Record, Stop


def summary_of(record: Record) -> Summary:
    workflow, submission = record.workflow, record.submission
    return Summary(
        id=workflow.id,
        environment=workflow.environment,
        owner=submission.owner,
        provider=submission.provider,
        origin=submission.origin,
        dialect=submission.dialect,
        phase=workflow.phase,
        attempt=workflow.attempt,
        status=workflow.status,
        stop=workflow.stop,
        ending=workflow.ending,
        waiting=workflow.waiting,
        runs_since=workflow.runs_since,
        created_at=workflow.created_at,
        finished_at=workflow.finished_at,
        held_until=workflow.held_until,
        findings=workflow.findings,
    )


def is_wanted(each: Summary, wanted: Listing) -> bool:
    return all(
        (
            wanted.state is None or wanted.state in _states(each),
            wanted.dialect is None or wanted.dialect == ("kubernetes" if each.origin else each.dialect),
            wanted.environment in (None, each.environment),
            wanted.owner is None or comparable(wanted.owner) == comparable(each.owner),
            wanted.id_prefix is None or each.id.startswith(wanted.id_prefix),
            wanted.before is None or (each.created_at, each.id) < wanted.before,
        )
    )


def _states(each: Summary) -> set[str]:
    if each.phase is not Phase.FINISHED:
        waits = {Phase.QUEUED: "queued", Phase.HELD: "held"}
        started = {"started"} if each.phase is not Phase.QUEUED else set()
        return {"active", waits.get(each.phase, "running"), *started}
    if each.stop is Stop.REQUESTED:
        return {"stopped"}
    return {"succeeded" if each.status == 70 and each.stop is Stop.NONE else "failed"}
