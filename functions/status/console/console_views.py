"""The JSON that the console's pages show. Times are seconds since 1970, as texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from functions.api.ocean.answers import epoch, told_end, waiting
from functions.ethereum import comparable
from functions.status.views import StageAttempt
from functions.status.views import attempts as attempt_views
from functions.status.views import history as history_view
from functions.store.values import Attempt, Freeze, Summary
from functions.workflow import codes
from functions.workflow.decision import HistoryEntry
from functions.workflow.document import DocumentError, parse
from functions.workflow.endings import to_minute, told_ending, told_time, withholds_exit_codes
from functions.workflow.environment import Environment
from functions.workflow.model import WAITING, Phase, Record, ResultFile, Stage, Stop, Workflow


class Viewer(Struct, frozen=True):
    """The reader of a page: an owner, or somebody who sees all.

    An owner sees no history, nothing of the checks, and held results as running: see docs/trust.md.
    """

    owner: str | None = None

    @property
    def sees_all(self) -> bool:
        return self.owner is None

    def may_see(self, owner: str) -> bool:
        """Whether the workflows of this owner are shown."""
        return self.owner is None or comparable(self.owner) == comparable(owner)


MOST_FILES = 500  # that a page shows
# What the history states of the bytes that were used and made.
_STATED = ("algorithm", "image", "inputs", "outputs")
_OWN_STAGES = (Stage.CONFIGURE, Stage.ALGORITHM)
# Phases between the algorithm and the consumer. An owner sees `publish` instead, and no times.
_BETWEEN = (Phase.FILTER, Phase.CHECK, Phase.PUBLISH, Phase.HELD, Phase.RELEASE)


def environment(offered: Environment, unfinished: Mapping[Phase, int], viewer: Viewer) -> dict[str, Any]:
    """An environment and the use of its slots. The number of held results is 0 unless the viewer sees all."""
    taken = sum(n for phase, n in unfinished.items() if phase not in (*WAITING, Phase.RELEASE))
    return {
        "id": offered.id,
        "description": offered.desc,
        "slots": offered.max_jobs,
        "running": taken,
        "queued": unfinished.get(Phase.QUEUED, 0),
        "held": unfinished.get(Phase.HELD, 0) if viewer.sees_all else 0,
        "cpu": offered.cpu_number,
        "ramGB": offered.ram_gb,
        "diskGB": offered.disk_gb,
        "gpu": offered.gpu_number,
        "seconds": offered.max_job_duration,
    }


def freeze(frozen: Freeze) -> dict[str, Any]:
    """What is frozen, since when, by whom and why."""
    return {"scope": frozen.scope, "at": epoch(frozen.at), "by": frozen.by, "reason": frozen.reason}


def summary(each: Summary, viewer: Viewer) -> dict[str, Any]:
    """One line of the list."""
    phase = _phase(each.phase, viewer)
    reason = each.ending.reason if each.ending else each.waiting.reason if each.waiting else ""
    finished = each.finished_at
    if finished is not None and not viewer.sees_all:
        finished = max(to_minute(finished), each.created_at)
    return {
        "id": each.id,
        "environment": each.environment,
        "owner": each.owner,
        "dialect": "kubernetes" if each.origin else each.dialect,
        "state": state(each, phase),
        "phase": phase,
        "attempt": each.attempt,
        # A policy may withhold exit code and seconds. The workflow's own page shows them if none does.
        "reason": reason if viewer.sees_all else reason.partition(":")[0],
        "created": epoch(each.created_at),
        "finished": _time(finished),
    }


def _phase(phase: Phase, viewer: Viewer) -> Phase:
    """The phase that is shown. An owner is not told that results are checked or held."""
    return phase if viewer.sees_all or phase not in _BETWEEN else Phase.PUBLISH


def state(each: Summary | Workflow, phase: Phase) -> str:
    """The state in one word: queued, running, held, succeeded, failed or stopped."""
    if phase is not Phase.FINISHED:
        return phase.value if phase in (Phase.QUEUED, Phase.HELD) else "running"
    if each.stop is Stop.REQUESTED:
        return "stopped"
    failed = codes.failed(each.status) or each.stop is Stop.TIMED_OUT
    return "failed" if failed else "succeeded"


def workflow(
    record: Record,
    attempts: Sequence[Attempt],
    history: Sequence[tuple[HistoryEntry, str]],
    position: int | None,
    viewer: Viewer,
) -> dict[str, Any]:
    """All that is recorded of a workflow, without its secrets and its URLs. `position`: its place in the queue."""
    current, submission = record.workflow, record.submission
    shown = attempts if viewer.sees_all else _told_attempts(current, attempts)
    return {
        "id": current.id,
        "environment": current.environment,
        "owner": submission.owner,
        "provider": submission.provider,
        "agreement": submission.agreement_id,
        "origin": submission.origin,
        "dialect": "kubernetes" if submission.origin else submission.dialect,
        "queuePosition": position,
        **_progress(current, viewer),
        "limits": {
            "cpu": current.limits.cpu,
            "memory": current.limits.memory,
            "disk": current.limits.disk,
            "gpus": current.limits.gpus,
            "seconds": current.limits.algorithm_seconds,
        },
        "what": _what(record, history, viewer),
        "attempts": [_attempt(each, view) for each, view in zip(shown, attempt_views(shown), strict=True)],
        "history": history_view(record, history) if viewer.sees_all else [],
        **_results(record, viewer),
    }


def _progress(current: Workflow, viewer: Viewer) -> dict[str, Any]:
    """How far the workflow is, its times, and how it ended."""
    phase = _phase(current.phase, viewer)
    ending = current.ending if viewer.sees_all else told_ending(current)
    timed = viewer.sees_all or current.phase not in _BETWEEN
    return {
        "state": state(current, phase),
        "phase": phase,
        "statusText": codes.text(current.status).strip(),
        "reason": ending.reason if ending else "",
        "exitCode": ending.exit_code if ending else None,
        "oomKilled": bool(ending and ending.oom_killed),
        "waiting": waiting(current) if timed else None,
        "runsSince": _time(current.runs_since) if timed else None,
        "created": epoch(current.created_at),
        "finished": _time(current.finished_at) if viewer.sees_all else told_end(current),
        "deadline": _time(current.deadline) if timed and not current.finished else None,
        "removed": current.removed,
        "expired": current.expired,
    }


def _results(record: Record, viewer: Viewer) -> dict[str, Any]:
    """The published files, while they exist."""
    current, manifest = record.workflow, record.manifest
    gone = current.removed or current.expired
    return {
        "files": [] if gone else [_file(each) for each in manifest.files[:MOST_FILES]],
        "fileCount": len(manifest.files),
        "adminFiles": [] if gone or not viewer.sees_all else [_file(each) for each in manifest.admin_files],
        "warnings": list(manifest.warnings),
    }


def _told_attempts(current: Workflow, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
    """The attempts that an owner sees: without exit codes and seconds if a policy decides what leaves."""
    own = [each for each in attempts if each.stage in _OWN_STAGES]
    return [_without_details(current, each) for each in own] if withholds_exit_codes(current) else own


def _without_details(current: Workflow, attempt: Attempt) -> Attempt:
    end = attempt.end
    if end is None:
        return attempt
    began = told_time(current, end.started_at) if end.started_at else None
    told = replace(end, exit_code=None, reason=end.reason.partition(":")[0], at=told_time(current, end.at))
    return replace(attempt, end=replace(told, started_at=began))


def _attempt(attempt: Attempt, view: StageAttempt) -> dict[str, Any]:
    """An attempt with the start of its container, and the number of its executor in a task."""
    started = attempt.end.started_at if attempt.end else None
    return {**view, "started": _time(started), "executor": attempt.executor}


def _what(record: Record, history: Sequence[tuple[HistoryEntry, str]], viewer: Viewer) -> dict[str, Any] | None:
    """The algorithm and its data: as the document names them, and by the digests in the history.

    None for a document that we cannot read, such as one of operator-service. An owner does not see the digest of
    outputs that may be withheld, because it would confirm a guess of their content.
    """
    stated = {name: value for line, _ in history for name, value in line.facts.items() if name in _STATED}
    if not viewer.sees_all and record.workflow.limits.guarded:
        stated.pop("outputs", None)
    asked = (
        _task(record.submission.document) if record.submission.dialect == "tes" else _job(record.submission.document)
    )
    return {**asked, "stated": stated} if asked else None


def _job(document: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        stage = parse(document).stage
    except DocumentError:
        return None
    algorithm = stage.algorithm
    kind = "raw code" if algorithm.rawcode else "files" if algorithm.urls else "asset"
    data = [{"id": each.id or f"input {each.index}", "sha256": list(each.checksums)} for each in stage.input]
    return {
        "algorithm": {"id": algorithm.id or kind, "sha256": list(algorithm.checksums)},
        "runs": [{"image": algorithm.container.reference, "command": algorithm.container.entrypoint}],
        "data": data,
    }


def _task(document: Mapping[str, Any]) -> dict[str, Any]:
    runs = [
        {"image": str(each.get("image", "")), "command": " ".join(map(str, each.get("command", ())))}
        for each in document.get("executors", ())
    ]
    data = [{"id": str(each.get("path", "")), "sha256": []} for each in document.get("inputs", ())]
    return {"algorithm": {"id": str(document.get("name", "")) or "task", "sha256": []}, "runs": runs, "data": data}


def _file(file: ResultFile) -> dict[str, Any]:
    return {"name": file.filename, "size": file.size, "type": file.type, "sha256": file.sha256}


def _time(at: Any) -> str | None:
    return epoch(at) if at else None
