"""Between rows and the words of the domain. Old rows of operator-service are read too."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import RowMapping

from functions.store import json_columns
from functions.store.ports import Attempt
from functions.store.tables import jobs
from functions.workflow import codes
from functions.workflow.model import (
    AttemptEnd,
    CleanUp,
    CreateJob,
    DeleteJob,
    Effect,
    Emit,
    Ending,
    Halt,
    JobUid,
    Line,
    Manifest,
    Outcome,
    Phase,
    Record,
    RemoveResults,
    Report,
    Stage,
    Stop,
    Submission,
    Terms,
    Workflow,
    WorkflowId,
)

STATE = (
    jobs.c.workflowid,
    jobs.c.namespace,
    jobs.c.terms,
    jobs.c.datecreated,
    jobs.c.phase,
    jobs.c.attempt,
    jobs.c.job_uid,
    jobs.c.status,
    jobs.c.stopreq,
    jobs.c.halt,
    jobs.c.ending,
    jobs.c.removed,
    jobs.c.expired,
    jobs.c.step,
    jobs.c.deadline,
    jobs.c.wake_at,
    jobs.c.datefinished,
    jobs.c.reported,
)
RECORD = (
    *STATE,
    jobs.c.agreementid,
    jobs.c.owner,
    jobs.c.provider,
    jobs.c.workflow,
    jobs.c.outputsurl,
    jobs.c.admin_files,
    jobs.c.idempotency_key,
    jobs.c.origin,
)
_EFFECTS: Mapping[type[Effect], str] = {
    CreateJob: "create_job",
    DeleteJob: "delete_job",
    CleanUp: "clean_up",
    RemoveResults: "remove_results",
    Report: "report",
    Emit: "emit",
}


def workflow_of(row: RowMapping) -> Workflow:
    terms = msgspec.json.decode(row[jobs.c.terms], type=Terms)
    phase, created = Phase(row[jobs.c.phase]), row[jobs.c.datecreated]
    deadline: datetime | None = row[jobs.c.deadline]
    if phase is Phase.QUEUED and deadline is None:  # inserted by operator-service
        deadline = created + timedelta(seconds=terms.queue_seconds)
    return Workflow(
        id=WorkflowId(row[jobs.c.workflowid]),
        environment=row[jobs.c.namespace] or "",
        terms=terms,
        created_at=created,
        phase=phase,
        attempt=row[jobs.c.attempt],
        job_uid=JobUid(row[jobs.c.job_uid]) if row[jobs.c.job_uid] else None,
        status=row[jobs.c.status] or 0,
        stop=Stop(row[jobs.c.stopreq] or 0),
        halt=msgspec.json.decode(row[jobs.c.halt], type=Halt) if row[jobs.c.halt] else None,
        ending=msgspec.json.decode(row[jobs.c.ending], type=Ending) if row[jobs.c.ending] else None,
        removed=bool(row[jobs.c.removed]),
        expired=row[jobs.c.expired],
        step=row[jobs.c.step],
        deadline=deadline,
        wake_at=row[jobs.c.wake_at],
        finished_at=row[jobs.c.datefinished],
        reported=row[jobs.c.reported],
    )


def state_values(workflow: Workflow) -> dict[str, Any]:
    """The columns of `jobs` that change with the state."""
    return {
        "phase": workflow.phase.value,
        "attempt": workflow.attempt,
        "job_uid": workflow.job_uid,
        "status": int(workflow.status),
        "statustext": codes.text(workflow.status),
        "stopreq": int(workflow.stop),
        "halt": json_columns.packed(workflow.halt),
        "ending": json_columns.packed(workflow.ending),
        "removed": int(workflow.removed),
        "expired": workflow.expired,
        "step": workflow.step,
        "deadline": workflow.deadline,
        "wake_at": workflow.wake_at,
        "datefinished": workflow.finished_at,
    }


def record_of(row: RowMapping) -> Record:
    workflow = workflow_of(row)
    document, secret = json_columns.document(row[jobs.c.workflow])
    submission = Submission(
        agreement_id=row[jobs.c.agreementid],
        owner=row[jobs.c.owner] or "",
        provider=row[jobs.c.provider] or "",
        document=document,
        secret=secret,
        idempotency_key=row[jobs.c.idempotency_key],
        origin=row[jobs.c.origin],
    )
    manifest = Manifest(json_columns.files(row[jobs.c.outputsurl]), json_columns.files(row[jobs.c.admin_files]))
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
        "terms": json_columns.packed(workflow.terms),
        "reported": workflow.reported,
        "datecreated": workflow.created_at,
        "laststatusupdate": workflow.created_at,
        "agreementid": submission.agreement_id,
        "owner": submission.owner,
        "provider": submission.provider,
        "workflow": json_columns.stored_document(workflow, submission),
        "chain_id": None if chain_id is None else str(chain_id),
        "idempotency_key": submission.idempotency_key,
        "origin": submission.origin,
    }


def manifest_values(manifest: Manifest | None) -> dict[str, Any]:
    if manifest is None:
        return {"outputsurl": None, "admin_files": None}
    return {
        "outputsurl": json_columns.stored_files(manifest.files),
        "admin_files": json_columns.stored_files(manifest.admin_files),
    }


def effect_values(effect: Effect) -> dict[str, Any]:
    stage, attempt = (effect.stage, effect.attempt) if isinstance(effect, CreateJob | DeleteJob) else (None, None)
    return {
        "kind": _EFFECTS[type(effect)],
        "stage": stage.value if stage else None,
        "attempt": attempt,
        "event": effect.kind if isinstance(effect, Emit) else None,
    }


def effect_of(row: RowMapping) -> Effect:
    match row["kind"]:
        case "create_job":
            return CreateJob(Stage(row["stage"]), row["attempt"])
        case "delete_job":
            return DeleteJob(Stage(row["stage"]), row["attempt"])
        case "clean_up":
            return CleanUp()
        case "remove_results":
            return RemoveResults()
        case "report":
            return Report()
        case "emit":
            return Emit(row["event"])
        case other:
            raise ValueError(f"an intent of the unknown kind {other!r}: the database is newer than this program")


def line_values(workflow: WorkflowId, line: Line, cause: str) -> dict[str, Any]:
    return {
        "workflow": workflow,
        "step": line.step,
        "at": line.at,
        "before": line.before.value,
        "after": line.after.value,
        "status": int(line.status),
        "event": line.event,
        "reason": line.reason,
        "attempt": line.attempt,
        "cause": cause,
    }


def line_of(row: RowMapping) -> tuple[Line, str]:
    line = Line(
        row["step"], row["at"], Phase(row["before"]), Phase(row["after"]), row["status"], row["event"], row["reason"],
        row["attempt"],
    )  # fmt: skip
    return line, row["cause"]


def attempt_values(
    workflow: WorkflowId, stage: Stage, attempt: int, at: datetime, end: AttemptEnd | None
) -> dict[str, Any]:
    return {
        "workflow": workflow,
        "stage": stage.value,
        "attempt": attempt,
        "created_at": at,
        "ended_at": end.at if end else None,
        "outcome": end.outcome.value if end else None,
        "exit_code": end.exit_code if end else None,
        "reason": end.reason if end else None,
    }


def attempt_of(row: RowMapping) -> Attempt:
    stage, number = Stage(row["stage"]), row["attempt"]
    end = None
    if row["outcome"] is not None:
        end = AttemptEnd(stage, number, Outcome(row["outcome"]), row["exit_code"], row["reason"] or "", row["ended_at"])
    return Attempt(stage, number, row["created_at"], JobUid(row["job_uid"]) if row["job_uid"] else None, end)
