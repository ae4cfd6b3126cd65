"""A task as TES shows it: what the client sent, the state and the logs. MINIMAL, BASIC and FULL are TES's views.

A field that the client did not send is left out, except `type`, because clients may refuse unknown fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec.structs import replace

from functions.api.tes.messages import spell_time
from functions.store.values import Attempt, StoredTask
from functions.workflow.endings import told_ending, told_time, withholds_exit_codes
from functions.workflow.model import Outcome, Phase, Stage, Workflow

UNKNOWN_EXIT = -1  # TES requires a number: sent until an executor has ended, and if it was killed from outside
_SENT = ("name", "description", "inputs", "outputs", "resources", "executors", "volumes", "tags")
_BEFORE_THE_END = (Phase.QUEUED, Phase.CONFIGURE, Phase.ALGORITHM)


class View(StrEnum):
    """How much of a task an answer shows."""

    MINIMAL = "MINIMAL"
    BASIC = "BASIC"
    FULL = "FULL"


def task_view(stored: StoredTask, view: View, *, frozen: bool = False) -> dict[str, Any]:
    """Return the task in BASIC or FULL. `frozen`: nothing that left the executors may be told now."""
    stored = _told_now(stored, frozen)
    workflow, document = stored.record.workflow, stored.record.submission.document
    shown: dict[str, Any] = {"id": workflow.id, "state": stored.state}
    shown |= {name: document[name] for name in _SENT if name in document}
    for name in ("inputs", "outputs"):
        if name in shown:
            shown[name] = [_file(each, view) for each in shown[name]]
    shown["logs"] = [_task_log(stored, view)]
    shown["creation_time"] = spell_time(workflow.created_at)
    return shown


def _told_now(stored: StoredTask, frozen: bool) -> StoredTask:
    """Return the task without what the operator has frozen or taken back, and without logs that have expired."""
    workflow, manifest = stored.record.workflow, stored.record.manifest
    withheld = frozen or workflow.removed
    if not (withheld or workflow.expired):
        return stored
    left = replace(manifest, streams=(), warnings=(), delivered=() if withheld else manifest.delivered)
    return replace(stored, record=replace(stored.record, manifest=left))


def _file(sent: Mapping[str, Any], view: View) -> dict[str, Any]:
    """Return an input or an output, with its type."""
    shown = {name: value for name, value in sent.items() if name != "content" or view is View.FULL}
    shown.setdefault("type", "FILE")
    return shown


def _task_log(stored: StoredTask, view: View) -> dict[str, Any]:
    workflow, manifest = stored.record.workflow, stored.record.manifest
    log: dict[str, Any] = {"logs": _executor_logs(stored, view)}
    if stored.attempts:
        log["start_time"] = spell_time(min(each.created_at for each in stored.attempts))
    if workflow.finished_at is not None:
        log["end_time"] = spell_time(told_time(workflow, workflow.finished_at))
    log["outputs"] = [{"url": each.url, "path": each.path, "size_bytes": str(each.size)} for each in manifest.delivered]
    log["metadata"] = _metadata(workflow)
    if view is View.FULL:
        log["system_logs"] = _system_logs(stored)
    return log


def _metadata(workflow: Workflow) -> dict[str, str]:
    metadata = {"environment": workflow.environment}
    if (ending := told_ending(workflow)) is not None:
        metadata["reason"] = ending.reason
    elif workflow.waiting is not None:
        metadata["waiting"] = workflow.waiting.reason
    return metadata


# What a reason means, where its name alone does not say what to change.
_MEANINGS = {
    "DataUnavailable": "an input could not be fetched",
    "DataForbidden": "an input's URL is not allowed in this environment",
    "DataTooLarge": "the inputs are larger than the environment allows",
    "DeadlineExceeded": "the executors had too little time; see the backend parameter maxtime",
    "OOMKilled": "the executor had too little memory; see ram_gb",
    "ImagePullBackOff": "the executor's image could not be pulled",
    "Unschedulable": "no node has room for the executor",
    "OutputMissing": "an output that the task declares was not made",
    "OutputForbidden": "an output may not go to its URL, or two would go to one",
    "OutputRefused": "a storage refuses an output: the bucket or folder of its URL may be missing, read-only or closed",
    "OutputUploadFailed": "an output could not be written to its URL",
    "ResultUploadFailed": "an output could not be written to its URL, or to the results that the operator sees",
    "TooManyResults": "more files are declared as outputs than the environment allows",
    "ResultTooLarge": "the outputs are larger than the environment allows",
    "Rejected": "the data holder's checkers let nothing leave",
    "HoldExpired": "nobody has decided in time what may leave",
    "OutputBlocked": "the policy of the data lets none of the outputs leave",
    "AlgorithmNotAllowed": "the policy of the data does not allow an executor",
    "NoIsolation": "this machine cannot give an executor its paths; see `sluice doctor`",
    "QueueTimeout": "no slot of the environment became free in time",
    "Lost": "the executor's Job or its node is gone",
    "Disrupted": "the executor's node was drained",
}


def _explained(reason: str) -> str:
    return f"{reason} ({_MEANINGS[reason]})" if reason in _MEANINGS else reason


def _system_logs(stored: StoredTask) -> list[str]:
    """Return the lines about the task as a whole: why it ended, and what was done otherwise than asked."""
    record = stored.record
    lines = [*record.submission.warnings, *dict.fromkeys(record.manifest.warnings)]  # outputs may overlap
    if record.workflow.waiting is not None:
        lines.append(f"waiting: {record.workflow.waiting.reason}")
    if (ending := told_ending(record.workflow)) is not None:
        lines.append(f"ended: {_explained(ending.reason)}")
    if record.workflow.finished and record.workflow.limits.filtered:
        lines.append("what the executors printed is not shown: the environment filters what leaves it")
    return lines


# --- executors ------------------------------------------------------------------------------


def _executor_logs(stored: StoredTask, view: View) -> list[dict[str, Any]]:
    """Return one entry for each executor that has run. While the task runs, also for each that is certain to run."""
    workflow, streams = stored.record.workflow, stored.record.manifest.streams
    executors = {each.executor: each for each in stored.attempts if each.stage is Stage.ALGORITHM}
    logs: list[dict[str, Any]] = []
    for n in range(_shown_count(workflow, executors)):
        log: dict[str, Any] = _times(workflow, n, executors.get(n))
        log["exit_code"] = _exit_code(workflow, executors.get(n))
        if view is View.FULL and n < len(streams):
            log |= {"stdout": streams[n].stdout, "stderr": streams[n].stderr}
        logs.append(log)
    return logs


def _shown_count(workflow: Workflow, executors: Mapping[int, Attempt]) -> int:
    if workflow.phase not in _BEFORE_THE_END or workflow.stop:
        return sum(_has_run(each) for each in executors.values())
    done = sum(each.end is not None for each in executors.values())
    return done + _certain(workflow.limits.ignore_errors[done:])


def _certain(ignore_errors: Sequence[bool]) -> int:
    """Count the executors that run whatever happens: all up to the first whose failure ends the task."""
    return next((n for n, ignored in enumerate(ignore_errors, 1) if not ignored), len(ignore_errors))


def _has_run(attempt: Attempt) -> bool:
    """Whether the executor's container has run: it has an exit code or a start, or has used up its time."""
    end = attempt.end
    if end is None:
        return False
    return end.exit_code is not None or end.started_at is not None or end.outcome is Outcome.TIMED_OUT


def _exit_code(workflow: Workflow, attempt: Attempt | None) -> int:
    if attempt is None or attempt.end is None or attempt.end.exit_code is None:
        return UNKNOWN_EXIT
    if withholds_exit_codes(workflow) and not (workflow.finished and attempt.end.exit_code == 0):
        return UNKNOWN_EXIT
    return attempt.end.exit_code


def _times(workflow: Workflow, number: int, attempt: Attempt | None) -> dict[str, str]:
    if attempt is not None and attempt.end is not None:
        started, ended = attempt.end.started_at, attempt.end.at
    else:
        runs = workflow.phase is Phase.ALGORITHM and workflow.executor == number
        started, ended = workflow.runs_since if runs else None, None
    times = {"start_time": started, "end_time": ended}
    return {name: spell_time(told_time(workflow, at)) for name, at in times.items() if at is not None}
