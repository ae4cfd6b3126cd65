"""The JSON that the console's pages show. Times are seconds since 1970, as texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from functions.api.ocean.answers import epoch, waiting
from functions.status.views import attempts as attempt_views
from functions.status.views import history as history_view
from functions.store.values import Attempt, Freeze, Summary
from functions.workflow import codes
from functions.workflow.decision import HistoryEntry
from functions.workflow.document import DocumentError, parse
from functions.workflow.environment import Environment
from functions.workflow.model import WAITING, Phase, Record, ResultFile, Stop, Workflow


def environment(offered: Environment, unfinished: Mapping[Phase, int]) -> dict[str, Any]:
    """An environment with the use of its slots."""
    taken = sum(n for phase, n in unfinished.items() if phase not in (*WAITING, Phase.RELEASE))
    return {
        "id": offered.id,
        "description": offered.desc,
        "slots": offered.max_jobs,
        "running": taken,
        "queued": unfinished.get(Phase.QUEUED, 0),
        "held": unfinished.get(Phase.HELD, 0),
        "cpu": offered.cpu_number,
        "ramGB": offered.ram_gb,
        "diskGB": offered.disk_gb,
        "gpu": offered.gpu_number,
        "seconds": offered.max_job_duration,
    }


def freeze(frozen: Freeze) -> dict[str, Any]:
    """What is frozen, since when, by whom and why."""
    return {"scope": frozen.scope, "at": epoch(frozen.at), "by": frozen.by, "reason": frozen.reason}


def summary(each: Summary) -> dict[str, Any]:
    """One line of the list."""
    return {
        "id": each.id,
        "environment": each.environment,
        "owner": each.owner,
        "dialect": "kubernetes" if each.origin else "ocean",
        "state": state(each),
        "phase": each.phase,
        "attempt": each.attempt,
        "reason": each.ending.reason if each.ending else each.waiting.reason if each.waiting else "",
        "findings": each.findings.value,
        "created": epoch(each.created_at),
        "finished": epoch(each.finished_at) if each.finished_at else None,
        "heldUntil": epoch(each.held_until) if each.held_until else None,
    }


def state(each: Summary | Workflow) -> str:
    """The state in one word: queued, running, held, succeeded, failed or stopped."""
    if each.phase is not Phase.FINISHED:
        return each.phase.value if each.phase in (Phase.QUEUED, Phase.HELD) else "running"
    if each.stop is Stop.REQUESTED:
        return "stopped"
    failed = codes.failed(each.status) or each.stop is Stop.TIMED_OUT
    return "failed" if failed else "succeeded"


def workflow(
    record: Record,
    attempts: Sequence[Attempt],
    history: Sequence[tuple[HistoryEntry, str]],
    position: int | None,
) -> dict[str, Any]:
    """All that is recorded of a workflow, without its secrets and its URLs. `position`: its place in the queue."""
    current, submission = record.workflow, record.submission
    ending = current.ending
    gone = current.removed or current.expired
    return {
        "id": current.id,
        "environment": current.environment,
        "owner": submission.owner,
        "provider": submission.provider,
        "agreement": submission.agreement_id,
        "origin": submission.origin,
        "dialect": "kubernetes" if submission.origin else "ocean",
        "state": state(current),
        "phase": current.phase,
        "statusText": codes.text(current.status).strip(),
        "reason": ending.reason if ending else "",
        "exitCode": ending.exit_code if ending else None,
        "oomKilled": bool(ending and ending.oom_killed),
        "queuePosition": position,
        "waiting": waiting(current),
        "runsSince": _time(current.runs_since),
        "created": epoch(current.created_at),
        "finished": _time(current.finished_at),
        "deadline": None if current.finished else _time(current.deadline),
        "heldUntil": _time(current.held_until),
        "findings": current.findings.value,
        "removed": current.removed,
        "expired": current.expired,
        "head": current.head,
        "limits": {
            "cpu": current.limits.cpu,
            "memory": current.limits.memory,
            "disk": current.limits.disk,
            "gpus": current.limits.gpus,
            "seconds": current.limits.algorithm_seconds,
        },
        "what": _what(record),
        "attempts": attempt_views(attempts),
        "history": history_view(record, history),
        "files": [] if gone else [_file(each) for each in record.manifest.files],
        "adminFiles": [] if gone else [_file(each) for each in record.manifest.admin_files],
        "warnings": list(record.manifest.warnings),
    }


def _what(record: Record) -> dict[str, Any] | None:
    """What ran on what, by digest; None for a document that we cannot read, such as one of operator-service."""
    try:
        stage = parse(record.submission.document).stage
    except DocumentError:
        return None
    algorithm = stage.algorithm
    kind = "raw code" if algorithm.rawcode else "files" if algorithm.urls else "asset"
    return {
        "algorithm": {
            "id": algorithm.id,
            "kind": kind,
            "image": algorithm.container.reference,
            "entrypoint": algorithm.container.entrypoint,
            "sha256": list(algorithm.checksums),
        },
        "data": [
            {"id": each.id or f"input {each.index}", "files": len(each.urls), "sha256": list(each.checksums)}
            for each in stage.input
        ],
    }


def _file(file: ResultFile) -> dict[str, Any]:
    return {"name": file.filename, "size": file.size, "type": file.type, "sha256": file.sha256}


def _time(at: Any) -> str | None:
    return epoch(at) if at else None
