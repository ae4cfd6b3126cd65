"""The JSON objects that the reading routes answer with, other than status objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NotRequired, TypedDict

from functions.api.ocean.answers import File, Status, epoch, files, status, waiting
from functions.store.values import Attempt
from functions.trust.chain import named_cause
from functions.workflow import progress_line
from functions.workflow.decision import HistoryEntry
from functions.workflow.environment import Environment
from functions.workflow.model import Record


class Service(TypedDict):
    """The service."""

    address: str | None
    algoTimeLimit: str | None
    software: str
    storageExpiry: str | None
    version: str
    sluice: str


class Health(TypedDict):
    """`ok` while the function serves requests, whatever its database does."""

    status: str


class Offer(TypedDict):
    """A compute environment. Numbers with a fraction are strings."""

    id: str
    cpuNumber: int | str
    cpuType: str
    gpuNumber: int
    gpuType: str
    ramGB: int | str
    diskGB: int | str
    priceMin: int | str
    desc: str
    currentJobs: int
    maxJobs: int
    consumerAddress: str
    storageExpiry: int
    maxJobDuration: int
    lastSeen: str
    allowedChainId: NotRequired[list[int]]
    policy: NotRequired[str]


class StageAttempt(TypedDict):
    """One attempt of one stage."""

    stage: str
    attempt: int
    created: str
    jobUid: str | None
    outcome: str | None
    exitCode: int | None
    reason: str
    ended: str | None


class StageProgress(TypedDict):
    """The progress of configure or publish. `bytesTotal` is null while a size is unknown."""

    files: int
    filesTotal: int
    bytes: int
    bytesTotal: int | None


class Info(Status):
    """Everything recorded of a job, without its secret and its URLs."""

    environment: str
    provider: str
    origin: str | None
    phase: str
    expired: bool
    deadline: str | None
    attempts: list[StageAttempt]
    progress: StageProgress | None
    adminFiles: list[File]


class Step(TypedDict):
    """One line of a job's history."""

    step: int
    at: str
    before: str
    after: str
    status: int
    event: str
    reason: str
    attempt: int
    cause: str


def environment(offered: Environment, current_jobs: int, now: datetime) -> Offer:
    """Return an environment as operator-engine announces it, keys in its order."""
    view: Offer = {
        "id": offered.id,
        "cpuNumber": _number(offered.cpu_number),
        "cpuType": offered.cpu_type,
        "gpuNumber": offered.gpu_number,
        "gpuType": offered.gpu_type,
        "ramGB": _number(offered.ram_gb),
        "diskGB": _number(offered.disk_gb),
        "priceMin": _number(offered.price_min),
        "desc": offered.desc,
        "currentJobs": current_jobs,
        "maxJobs": offered.max_jobs,
        "consumerAddress": offered.consumer_address,
        "storageExpiry": offered.storage_expiry,
        "maxJobDuration": offered.max_job_duration,
        "lastSeen": str(int(now.timestamp())),
    }
    if offered.allowed_chain_id:
        view["allowedChainId"] = list(offered.allowed_chain_id)
    if offered.policy:
        view["policy"] = offered.policy
    return view


def info(record: Record, made: Iterable[Attempt], progress: progress_line.Progress | None) -> Info:
    """Return everything recorded of a job. `progress`: as the running stage last reported it."""
    workflow = record.workflow
    return {
        **status(record),
        "environment": workflow.environment,
        "provider": record.submission.provider,
        "origin": record.submission.origin,
        "phase": workflow.phase,
        "expired": workflow.expired,
        "deadline": epoch(workflow.deadline) if workflow.deadline else None,
        "waiting": waiting(workflow),
        "attempts": attempts(made),
        "progress": _progress(progress) if progress else None,
        "adminFiles": files(record.manifest.admin_files),
    }


def attempts(made: Iterable[Attempt]) -> list[StageAttempt]:
    return [_attempt(each) for each in made]


def history(record: Record, lines: Sequence[tuple[HistoryEntry, str]]) -> list[Step]:
    """Return the steps of a job. Where a cause is the keyed digest of somebody who is known, it names them."""
    known = people(record)
    return [
        {
            "step": line.step,
            "at": epoch(line.at),
            "before": line.before,
            "after": line.after,
            "status": line.status,
            "event": line.event,
            "reason": line.reason,
            "attempt": line.attempt,
            "cause": named_cause(record.workflow, cause, known),
        }
        for line, cause in lines
    ]


def people(record: Record) -> frozenset[str]:
    """Return the addresses that may have caused a step of a job."""
    from functions.trust import policy

    return policy.decode(record.submission.policy).checkers | {record.submission.provider, record.submission.owner}


def dead_letters(letters: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return dead letters as stored, with times in seconds since 1970."""
    return [
        {key: epoch(value) if isinstance(value, datetime) else value for key, value in letter.items()}
        for letter in letters
    ]


def _attempt(attempt: Attempt) -> StageAttempt:
    end = attempt.end
    return {
        "stage": attempt.stage,
        "attempt": attempt.attempt,
        "created": epoch(attempt.created_at),
        "jobUid": attempt.job_uid,
        "outcome": end.outcome if end else None,
        "exitCode": end.exit_code if end else None,
        "reason": end.reason if end else "",
        "ended": epoch(end.at) if end else None,
    }


def _progress(progress: progress_line.Progress) -> StageProgress:
    return {
        "files": progress.files,
        "filesTotal": progress.files_total,
        "bytes": progress.bytes,
        "bytesTotal": progress.bytes_total,
    }


def _number(value: float) -> int | str:
    return int(value) if value == int(value) else str(value)
