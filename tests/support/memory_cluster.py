"""A cluster in memory that a test drives.

`finish`, `vanish`, `suspend`, `begin`, `stick` and `occupy` decide what becomes of a Job, `fail_next` what becomes of a
call. `calls` and `created` count.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from msgspec.structs import replace
from support.job_events import job_event

from functions.cluster.events import Action, ApiServerEvent, pod_event
from functions.cluster.instant import uid_of
from functions.cluster.ports import ClusterUnavailable, JobRef, JobStatus, NameConflict, StageJob, State
from functions.workflow.model import JobUid, Outcome, Workflow, WorkflowId
from functions.workflow.tick import TickLevel


@dataclass(slots=True)
class _Job:
    ref: JobRef
    status: JobStatus
    request: StageJob | None = None  # None: somebody else's Job
    log: bytes = b""
    being_deleted: bool = False


@dataclass(slots=True)
class _PlannedFailure:
    error: Exception
    after: bool  # the call is carried out and its answer lost


@dataclass(slots=True)
class MemoryCluster:
    """The adapter. Thread-safe.

    `lingering`: a deleted Job stays until `vanish`. `announce` is called, outside of any lock, with the events that
    ApiServerSource would send.
    """

    lingering: bool = False
    announce: Callable[[ApiServerEvent], None] | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    calls: Counter[str] = field(default_factory=Counter)  # by method
    created: Counter[str] = field(default_factory=Counter)  # Jobs that were created, by name
    objects: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # WorkFlow objects, by `namespace/name`
    reported: dict[str, Workflow] = field(default_factory=dict)  # the last report to each of them
    tick: TickLevel = TickLevel.NONE
    _jobs: dict[tuple[str, str], _Job] = field(default_factory=dict)
    _failures: dict[str, list[_PlannedFailure]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    # --- the port -------------------------------------------------------------------------------

    def create(self, job: StageJob) -> JobUid:
        ref = job.ref
        lost = self._called("create")
        with self._lock:
            found = self._jobs.get(_key(ref))
            is_new = found is None
            if found is None:
                uid = uid_of(ref, self.created[ref.name])
                found = _Job(replace(ref, uid=uid), JobStatus(State.RUNNING, uid), job)
                self._jobs[_key(ref)] = found
                self.created[ref.name] += 1
        if found.request is None:
            raise NameConflict(f"a Job {ref.name} exists and is not ours")
        if found.being_deleted:
            raise ClusterUnavailable(f"{ref.name} is being deleted", retry_after=1)
        if is_new:
            self._announce_job(found, Action.ADD)
        _raise(lost)
        assert found.status.uid is not None
        return found.status.uid

    def delete(self, ref: JobRef) -> bool:
        lost = self._called("delete")
        with self._lock:
            found = self._find(ref)
            if found is not None:
                found.being_deleted = True
        if found is not None and not self.lingering:
            self.vanish(ref)
        _raise(lost)
        return found is None or not self.lingering

    def read(self, ref: JobRef, pod: str | None = None) -> JobStatus:
        lost = self._called("read")
        with self._lock:
            found = self._find(ref)
            status = found.status if found is not None else JobStatus(State.GONE)
        _raise(lost)
        return status

    def clean_up(self, workflow: WorkflowId, namespace: str) -> None:
        lost = self._called("clean_up")
        for ref in self.present():
            if (ref.workflow, ref.namespace) == (workflow, namespace):
                self.vanish(ref)
        _raise(lost)

    def orphans(self, namespace: str, limit: int) -> Sequence[WorkflowId]:
        lost = self._called("orphans")
        owners = {ref.workflow for ref in self.present() if ref.namespace == namespace}
        _raise(lost)
        return sorted(owners)[:limit]

    def logs(self, ref: JobRef, lines: int, max_bytes: int) -> Iterator[bytes]:
        lost = self._called("logs")
        with self._lock:
            found = self._find(ref)
            log = b"".join(found.log.splitlines(keepends=True)[-lines:])[:max_bytes] if found else b""
        _raise(lost)
        if log:
            yield log

    def follow(self, ref: JobRef, since: int) -> Iterator[bytes]:
        ended = self._find(ref) is None
        while not ended:
            _raise(self._called("follow"))
            yield b""
            with self._lock:
                found = self._find(ref)
                text = found.log[since:] if found else b""
                ended = found is None or found.status.state is State.ENDED
            if text:
                since += len(text)
                yield text

    def print(self, ref: JobRef, text: bytes) -> None:
        """Let the Job's program print."""
        with self._lock:
            self._jobs[_key(ref)].log += text

    def set_tick(self, level: TickLevel) -> None:
        lost = self._called("set_tick")
        self.tick = level
        _raise(lost)

    def workflow_object(self, origin: str) -> Mapping[str, Any] | None:
        lost = self._called("workflow_object")
        _raise(lost)
        return self.objects.get(origin)

    def report(self, origin: str, workflow: Workflow) -> None:
        lost = self._called("report")
        self.reported[origin] = workflow
        _raise(lost)

    # --- what a test decides --------------------------------------------------------------------

    def finish(
        self,
        ref: JobRef,
        exit_code: int | None = 0,
        reason: str = "",
        *,
        oom_killed: bool = False,
        outcome: Outcome | None = None,
        log: bytes = b"",
    ) -> None:
        """End the Job's program. Without `outcome`, exit code 0 is success and any other is failure."""
        ended = outcome or (Outcome.SUCCEEDED if exit_code == 0 else Outcome.FAILED)
        with self._lock:
            job = self._jobs[_key(ref)]
            job.log += log
            job.status = JobStatus(State.ENDED, job.status.uid, ended, exit_code, reason, oom_killed)
        if exit_code is not None:
            self._announce(lambda: pod_event(job.ref, job.status, Action.UPDATE, str(uuid4()), self.clock()))
        self._announce_job(job, Action.UPDATE)

    def vanish(self, ref: JobRef) -> None:
        """Remove the Job, whoever deleted it, and announce that."""
        with self._lock:
            found = self._jobs.pop(_key(ref), None)
        if found is not None:
            self._announce_job(found, Action.DELETE)

    def suspend(self, ref: JobRef) -> None:
        """Hold the Job back, as a queueing system does, until `resume`."""
        self._set_status(ref, State.SUSPENDED)

    def resume(self, ref: JobRef) -> None:
        self._set_status(ref, State.RUNNING)

    def begin(self, ref: JobRef, since: datetime) -> None:
        """Let the Job's container run since then."""
        self._set_status(ref, State.RUNNING, since=since)

    def stick(self, ref: JobRef, reason: str, since: datetime, *, definitive: bool = False) -> None:
        """Let the Job's Pod wait with a reason for which no container starts."""
        self._set_status(ref, State.STUCK, reason=reason, since=since, definitive=definitive)

    def occupy(self, ref: JobRef) -> None:
        """Give the Job's name to somebody else's Job."""
        with self._lock:
            uid = JobUid(str(uuid4()))
            self._jobs[_key(ref)] = _Job(replace(ref, uid=uid), JobStatus(State.RUNNING, uid))

    def fail_next(self, method: str, error: Exception, *, times: int = 1, after: bool = False) -> None:
        """Let the next calls of `method` fail with `error`; with `after`, they are carried out first."""
        with self._lock:
            self._failures.setdefault(method, []).extend([_PlannedFailure(error, after)] * times)

    def fail_no_more(self) -> None:
        """Forget the failures that are still planned."""
        with self._lock:
            self._failures.clear()

    # --- what a test asks -----------------------------------------------------------------------

    def running(self) -> list[JobRef]:
        """Our Jobs that have not ended."""
        with self._lock:
            return [job.ref for job in self._jobs.values() if job.request and job.status.state is not State.ENDED]

    def present(self) -> list[JobRef]:
        """Our Jobs that exist, ended or not."""
        with self._lock:
            return [job.ref for job in self._jobs.values() if job.request]

    def is_being_deleted(self, ref: JobRef) -> bool:
        with self._lock:
            return self._jobs[_key(ref)].being_deleted

    def request(self, ref: JobRef) -> StageJob | None:
        """What `create` was given."""
        with self._lock:
            found = self._jobs.get(_key(ref))
            return found.request if found else None

    # --- inside ---------------------------------------------------------------------------------

    def _called(self, method: str) -> Exception | None:
        """Count the call. Raise the failure planned for it, or return the one to be raised at its end."""
        with self._lock:
            self.calls[method] += 1
            planned = self._failures.get(method)
            failure = planned.pop(0) if planned else None
        if failure is not None and not failure.after:
            raise failure.error
        return failure.error if failure else None

    def _find(self, ref: JobRef) -> _Job | None:
        """Our Job of that name, and of that UID if one is given."""
        found = self._jobs.get(_key(ref))
        if found is None or found.request is None or (ref.uid and found.status.uid != ref.uid):
            return None
        return found

    def _set_status(
        self,
        ref: JobRef,
        state: State,
        *,
        reason: str = "",
        since: datetime | None = None,
        definitive: bool = False,
    ) -> None:
        with self._lock:
            job = self._jobs[_key(ref)]
            job.status = JobStatus(state, job.status.uid, reason=reason, since=since, definitive=definitive)

    def _announce_job(self, job: _Job, action: Action) -> None:
        if job.request is not None:
            self._announce(lambda: job_event(job.ref, job.status, action, str(uuid4()), self.clock()))

    def _announce(self, event: Callable[[], ApiServerEvent]) -> None:
        if self.announce is not None:
            self.announce(event())


def _key(ref: JobRef) -> tuple[str, str]:
    return ref.namespace, ref.name


def _raise(error: Exception | None) -> None:
    if error is not None:
        raise error
