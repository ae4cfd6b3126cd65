"""Conversion between rows and the values of the model.

`…_of` makes a value from a row, `…_values` the columns from a value. Rows that operator-service wrote are read too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from functions.log import about
from functions.store import json_columns
from functions.store.driver import Row
from functions.store.values import Evidence
from functions.workflow import codes
from functions.workflow.model import (
    Ending,
    Findings,
    Halt,
    JobUid,
    Limits,
    Manifest,
    Phase,
    Record,
    Stop,
    Submission,
    Waiting,
    Workflow,
    WorkflowId,
)

logger = logging.getLogger(__name__)

# Columns of `jobs`: those of the state, and those of the whole record.
STATE = """
    workflowid, namespace, limits, datecreated, phase, attempt, executor, ran_seconds, job_uid, job_created_at, waiting,
    runs_since, status, stopreq, halt, ending, removed, expired, step, deadline, wake_at, datefinished, reported,
    findings, held_until, head, traceparent, salt"""
RECORD = f"""{STATE},
    agreementid, owner, provider, workflow, outputsurl, admin_files, warnings, idempotency_key, origin, adopted,
    policy, dialect"""
EVIDENCE = "SELECT evidence FROM jobs WHERE workflowid = %(workflow)s"


# Made at import, in one thread: msgspec crashes if two threads prepare one type at the same time.
_LIMITS = msgspec.json.Decoder(Limits)
_HALT = msgspec.json.Decoder(Halt)
_WAITING = msgspec.json.Decoder(Waiting)
_ENDING = msgspec.json.Decoder(Ending)
_EVIDENCE = msgspec.json.Decoder(Evidence)


def time_of(value: datetime | str) -> datetime:
    """A stored time as an aware datetime. Times are stored in UTC without a zone; in SQLite they are texts."""
    return (datetime.fromisoformat(value) if isinstance(value, str) else value).replace(tzinfo=UTC)


def _time(value: datetime | str | None) -> datetime | None:
    return None if value is None else time_of(value)


def workflow_of(row: Row) -> Workflow:
    limits = _LIMITS.decode(row["limits"])
    phase, created, deadline = Phase(row["phase"]), time_of(row["datecreated"]), _time(row["deadline"])
    if phase is Phase.QUEUED and deadline is None:  # operator-service inserted it
        deadline = created + timedelta(seconds=limits.queue_seconds)
    return Workflow(
        id=WorkflowId(row["workflowid"]),
        environment=row["namespace"] or "",
        limits=limits,
        created_at=created,
        phase=phase,
        attempt=row["attempt"],
        executor=row["executor"],
        ran_seconds=row["ran_seconds"],
        job_uid=JobUid(row["job_uid"]) if row["job_uid"] else None,
        job_created_at=_time(row["job_created_at"]),
        waiting=_WAITING.decode(row["waiting"]) if row["waiting"] else None,
        runs_since=_time(row["runs_since"]),
        status=row["status"] or 0,
        stop=Stop(row["stopreq"] or 0),
        halt=_HALT.decode(row["halt"]) if row["halt"] else None,
        ending=_ENDING.decode(row["ending"]) if row["ending"] else None,
        removed=bool(row["removed"]),
        expired=bool(row["expired"]),
        step=row["step"],
        deadline=deadline,
        wake_at=_time(row["wake_at"]),
        finished_at=_time(row["datefinished"]),
        reported=bool(row["reported"]),
        findings=Findings(row["findings"]),
        held_until=_time(row["held_until"]),
        head=row["head"],
        traceparent=row["traceparent"],
        salt=row["salt"],
    )


def readable_workflows(found: Iterable[Row]) -> list[Workflow]:
    """The workflows of rows, without those that a newer program has written and that this one cannot read."""
    workflows = []
    for row in found:
        try:
            workflows.append(workflow_of(row))
        except ValueError as e:
            logger.error("a row cannot be read: %s", e, extra=about(workflow=row["workflowid"]))
    return workflows


def state_values(workflow: Workflow) -> dict[str, Any]:
    """The columns of `jobs` that a decision changes."""
    return {
        "phase": workflow.phase.value,
        "attempt": workflow.attempt,
        "executor": workflow.executor,
        "ran_seconds": workflow.ran_seconds,
        "job_uid": workflow.job_uid,
        "job_created_at": workflow.job_created_at,
        "waiting": json_columns.encode(workflow.waiting),
        "runs_since": workflow.runs_since,
        "status": int(workflow.status),
        "statustext": codes.text(workflow.status),
        "stopreq": int(workflow.stop),
        "halt": json_columns.encode(workflow.halt),
        "ending": json_columns.encode(workflow.ending),
        "removed": int(workflow.removed),
        "expired": workflow.expired,
        "step": workflow.step,
        "deadline": workflow.deadline,
        "wake_at": workflow.wake_at,
        "datefinished": workflow.finished_at,
        "findings": workflow.findings.value,
        "held_until": workflow.held_until,
        "head": workflow.head,
    }


def record_of(row: Row) -> Record:
    workflow = workflow_of(row)
    document, secret = json_columns.decode_document(row["workflow"])
    submission = Submission(
        agreement_id=row["agreementid"],
        owner=row["owner"] or "",
        provider=row["provider"] or "",
        document=document,
        secret=secret,
        idempotency_key=row["idempotency_key"],
        origin=row["origin"],
        adopted=bool(row["adopted"]),
        policy=row["policy"] or "",
        dialect=row["dialect"],
    )
    manifest = Manifest(
        json_columns.decode_files(row["outputsurl"]),
        json_columns.decode_files(row["admin_files"]),
        json_columns.decode_texts(row["warnings"]),
    )
    return Record(workflow, submission, manifest)


def record_values(record: Record) -> dict[str, Any]:
    """All columns of a new row of `jobs`."""
    workflow, submission = record.workflow, record.submission
    chain_id = submission.document.get("chainId")
    return {
        **state_values(workflow),
        **manifest_values(record.manifest if workflow.finished else None),
        "workflowid": workflow.id,
        "namespace": workflow.environment,
        "limits": json_columns.encode(workflow.limits),
        "reported": workflow.reported,
        "traceparent": workflow.traceparent,
        "datecreated": workflow.created_at,
        "laststatusupdate": workflow.created_at,
        "agreementid": submission.agreement_id,
        "owner": submission.owner,
        "provider": submission.provider,
        "workflow": json_columns.encode_document(workflow, submission),
        "chain_id": None if chain_id is None else str(chain_id),
        "idempotency_key": submission.idempotency_key,
        "origin": submission.origin,
        "adopted": submission.adopted,
        "policy": submission.policy or None,
        "dialect": submission.dialect,
        "salt": workflow.salt,
    }


def manifest_values(manifest: Manifest | None) -> dict[str, Any]:
    if manifest is None:
        return {"outputsurl": None, "admin_files": None, "warnings": None}
    return {
        "outputsurl": json_columns.encode_files(manifest.files),
        "admin_files": json_columns.encode_files(manifest.admin_files),
        "warnings": json_columns.encode(manifest.warnings or None),
        **_evidence(manifest),
    }


def _evidence(manifest: Manifest) -> dict[str, Any]:
    """The column that only proofs read. A manifest without it, such as that of a release, keeps what is stored."""
    evidence = Evidence(manifest.fetched, manifest.report)
    return {} if evidence == Evidence() else {"evidence": json_columns.encode(evidence)}


def evidence_of(row: Row) -> Evidence:
    return _EVIDENCE.decode(row["evidence"]) if row["evidence"] else Evidence()
