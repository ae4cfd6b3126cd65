"""A cluster in memory: for tests, benchmarks, and for trying out the functions without running anything.

Tests drive it: `finish`, `vanish`, `suspend`, `stick` and `fail_next` say what becomes of a Job; `calls` and
`created` count.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

from functions.cluster.events import Action, Event, job_event, pod_event
from functions.cluster.ports import JobRef, JobStatus, NameConflict, StageJob, State, Unavailable
from functions.workflow.model import JobUid, Outcome, Workflow, WorkflowId

SUCCESS = JobStatus(State.ENDED, None, Outcome.SUCCEEDED, 0)


@dataclass(slots=True)
class _Job:
    ref: JobRef
    live: JobStatus
    log: bytes = b""
    leaving: bool = False
    asked: StageJob | None = None


@dataclass(slots=True)
class _Failure:
    error: Exception
    after: bool  # the call is carried out and its answer lost


@dataclass(slots=True)
class MemoryCluster:
    """The adapter. Thread-safe.

    `instant`: every Job succeeds at once, and a Job that this process does not know has succeeded too: all is derived
    from names, so that several processes see the same cluster. `lingering`: a deleted Job stays until `vanish`.
    `announce` is called, outside of any lock, with the events that ApiServerSource would send.
    """

    instant: bool = False
    lingering: bool = False
    announce: Callable[[Event], None] | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    calls: Counter[str] = field(default_factory=Counter)  # by method
    created: Counter[str] = field(default_factory=Counter)  # Jobs that came to be, by name
    objects: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # WorkFlow objects, by `namespace/name`
    reported: dict[str, Workflow] = field(default_factory=dict)  # what was last reported to them
    _jobs: dict[tuple[str, str], _Job] = field(default_factory=dict)
    _failures: dict[str, list[_Failure]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    # --- the port -------------------------------------------------------------------------------

    def create(self, job: StageJob) -> JobUid:
        ref = job.ref
        lost = self._called("create")
        with self._lock:
            held = self._jobs.get(_key(ref))
            new = held is None
            if held is None:
                uid = _uid(ref, self.created[ref.name])
                held = self._jobs[_key(ref)] = _Job(replace(ref, uid=uid), JobStatus(State.RUNNING, uid), asked=job)
                self.created[ref.name] += 1
        if held.asked is None:
            raise NameConflict(f"a Job {ref.name} exists and is not ours")
        if held.leaving:
            raise Unavailable(f"{ref.name} is being deleted", retry_after=1)
        if new:
            self._say_job(held, Action.ADD)
            if self.instant:
                self.finish(ref)
        _raise(lost)
        assert held.live.uid is not None
        return held.live.uid

    def delete(self, ref: JobRef) -> bool:
        lost = self._called("delete")
        with self._lock:
            held = self._ours(ref)
            if held is not None:
                held.leaving = True
        if held is not None and not self.lingering:
            self.vanish(ref)
        _raise(lost)
        return held is None or not self.lingering

    def read(self, ref: JobRef, pod: str | None = None) -> JobStatus:
        lost = self._called("read")
        with self._lock:
            held = self._ours(ref)
            live = held.live if held is not None else JobStatus(State.GONE)
            if held is None and self.instant:
                live = replace(SUCCESS, uid=_uid(ref, 0))
        _raise(lost)
        return live

    def clean_up(self, workflow: WorkflowId, namespace: str) -> None:
        lost = self._called("clean_up")
        with self._lock:
            owned = [held.ref for held in self._jobs.values() if _belongs(held, workflow, namespace)]
        for ref in owned:
            self.vanish(ref)
        _raise(lost)

    def orphans(self, namespace: str, limit: int) -> Sequence[WorkflowId]:
        lost = self._called("orphans")
        with self._lock:
            owners = {h.ref.workflow for h in self._jobs.values() if h.asked and h.ref.namespace == namespace}
        _raise(lost)
        return sorted(owners)[:limit]

    def logs(self, ref: JobRef, lines: int, max_bytes: int) -> Iterator[bytes]:
        lost = self._called("logs")
        with self._lock:
            held = self._ours(ref)
            log = b"".join(held.log.splitlines(keepends=True)[-lines:])[:max_bytes] if held else b""
        _raise(lost)
        if log:
            yield log

    def workflow_object(self, origin: str) -> Mapping[str, Any] | None:
        lost = self._called("workflow_object")
        _raise(lost)
        return self.objects.get(origin)

    def report(self, origin: str, workflow: Workflow) -> None:
        lost = self._called("report")
        self.reported[origin] = workflow
        _raise(lost)

    # --- what tests say -------------------------------------------------------------------------

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
        """The Job's program ends. Without `outcome`, exit code 0 is success and any other failure."""
        ended = outcome or (Outcome.SUCCEEDED if exit_code == 0 else Outcome.FAILED)
        with self._lock:
            held = self._jobs[_key(ref)]
            held.log += log
            held.live = JobStatus(State.ENDED, held.live.uid, ended, exit_code, reason, oom_killed)
        if exit_code is not None:
            self._say(lambda: pod_event(held.ref, held.live, str(uuid4()), self.clock()))
        self._say_job(held, Action.UPDATE)

    def vanish(self, ref: JobRef) -> None:
        """The Job is gone, whoever deleted it, and announced to be."""
        with self._lock:
            held = self._jobs.pop(_key(ref), None)
        if held is not None:
            self._say_job(held, Action.DELETE)

    def suspend(self, ref: JobRef) -> None:
        """A queueing system holds the Job back, until `resume`."""
        self._change(ref, State.SUSPENDED)

    def resume(self, ref: JobRef) -> None:
        self._change(ref, State.RUNNING)

    def begin(self, ref: JobRef, since: datetime) -> None:
        """The Job's container runs."""
        with self._lock:
            held = self._jobs[_key(ref)]
            held.live = JobStatus(State.RUNNING, held.live.uid, since=since)

    def stick(self, ref: JobRef, reason: str, since: datetime) -> None:
        """The Job's Pod waits for what will not come."""
        with self._lock:
            held = self._jobs[_key(ref)]
            held.live = JobStatus(State.STUCK, held.live.uid, reason=reason, since=since)

    def occupy(self, ref: JobRef) -> None:
        """Somebody else has a Job of this name."""
        with self._lock:
            uid = JobUid(str(uuid4()))
            self._jobs[_key(ref)] = _Job(replace(ref, uid=uid), JobStatus(State.RUNNING, uid))

    def fail_next(self, method: str, error: Exception, *, times: int = 1, after: bool = False) -> None:
        """The next calls of `method` fail with `error`; `after` they were carried out, if so said."""
        with self._lock:
            self._failures.setdefault(method, []).extend([_Failure(error, after)] * times)

    def running(self) -> list[JobRef]:
        """Our Jobs that have not ended."""
        with self._lock:
            return [h.ref for h in self._jobs.values() if h.asked and h.live.state is not State.ENDED]

    def present(self) -> list[JobRef]:
        """Our Jobs that exist, ended or not."""
        with self._lock:
            return [h.ref for h in self._jobs.values() if h.asked]

    def asked(self, ref: JobRef) -> StageJob | None:
        """What `create` was given."""
        with self._lock:
            held = self._jobs.get(_key(ref))
            return held.asked if held else None

    # --- inside ---------------------------------------------------------------------------------

    def _called(self, method: str) -> Exception | None:
        """Count the call. Raises what is planned; returns what is to be raised after it."""
        with self._lock:
            self.calls[method] += 1
            planned = self._failures.get(method)
            failure = planned.pop(0) if planned else None
        if failure is not None and not failure.after:
            raise failure.error
        return failure.error if failure else None

    def _ours(self, ref: JobRef) -> _Job | None:
        held = self._jobs.get(_key(ref))
        if held is None or held.asked is None or (ref.uid and held.live.uid != ref.uid):
            return None
        return held

    def _change(self, ref: JobRef, state: State) -> None:
        with self._lock:
            held = self._jobs[_key(ref)]
            held.live = JobStatus(state, held.live.uid)

    def _say_job(self, held: _Job, action: Action) -> None:
        if held.asked is not None:
            self._say(lambda: job_event(held.ref, held.live, action, str(uuid4()), self.clock()))

    def _say(self, event: Callable[[], Event]) -> None:
        if self.announce is not None:
            self.announce(event())


def _key(ref: JobRef) -> tuple[str, str]:
    return ref.namespace, ref.name


def _uid(ref: JobRef, nth: int) -> JobUid:
    """Derived from the name, so that every process knows it; a Job made anew has another."""
    return JobUid(str(uuid5(NAMESPACE_URL, f"{ref.namespace}/{ref.name}/{nth}")))


def _belongs(held: _Job, workflow: WorkflowId, namespace: str) -> bool:
    return held.asked is not None and held.ref.workflow == workflow and held.ref.namespace == namespace


def _raise(lost: Exception | None) -> None:
    if lost is not None:
        raise lost
