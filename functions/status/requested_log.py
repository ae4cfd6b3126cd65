"""The log that a request asks for, if its reader may have it.

An operator reads every log. A consumer reads the algorithm's log of their own job, unless a filter, checks or a hold
guard its results.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from functions.api.auth.guard import bound_to, consume, require_signer
from functions.api.auth.session import Role, session_of
from functions.api.http import Call, HttpError
from functions.api.ocean.requests import filter_value, message, require
from functions.ethereum import comparable
from functions.results.ports import Content, NotFound
from functions.status.admin import MAX_LOG, job_of
from functions.status.jobs import is_covered, own
from functions.workflow.model import Record, ResultFile, Stage, WorkflowId

_SIGNED = ("owner", "providerSignature", "nonce", "jobId")
_LOG_TYPES = {
    Stage.CONFIGURE: "configrationLog",  # sic: clients depend on Ocean's spelling
    Stage.ALGORITHM: "algorithmLog",
    Stage.FILTER: "filteringLog",
    Stage.CHECK: "checkLog",
    Stage.PUBLISH: "publishLog",
    Stage.RELEASE: "releaseLog",
}


class RequestedLog(Struct, frozen=True):
    """The log that a request asks for. `owned`: by the job's owner, who gets only what is published."""

    call: Call
    record: Record
    stage: Stage
    owned: bool

    @property
    def allowed(self) -> bool:
        """Whether the reader may still read it: a freeze stops the owner."""
        freezes = self.call.app.store.freezes() if self.owned else ()
        return not (freezes and is_covered(self.record, [freeze.scope for freeze in freezes]))


def requested_log(call: Call) -> RequestedLog:
    """Return the log that a request asks for. Raises HttpError: 400, 401, 403 or 404."""
    session = session_of(call)
    if session and session.role is Role.CONSUMER:
        return _owned(call, _own_record(call, session.name), _stage(call))
    if "providerSignature" not in call.params:
        return RequestedLog(call, job_of(call), _stage(call), owned=False)
    require(call.params, _SIGNED, "GET:/logs")
    signer = require_signer(call, message(call.params))
    stage = _stage(call)
    job = filter_value(call.params, "jobId")
    record = call.app.store.get(WorkflowId(job)) if job else None
    consume(call, signer)
    return _owned(call, own(record, call, bound_to(call, signer)), stage)


def _own_record(call: Call, owner: str) -> Record:
    """The workflow of somebody who has signed in to the console with a token."""
    job = filter_value(call.params, "jobId")
    record = call.app.store.get(WorkflowId(job)) if job else None
    if record is None or comparable(record.submission.owner) != comparable(owner):
        raise HttpError(404, f"there is no job {job}")
    return record


def _owned(call: Call, record: Record, stage: Stage) -> RequestedLog:
    """What an owner may read. Raises HttpError 403."""
    wanted = RequestedLog(call, record, stage, owned=True)
    if stage is not Stage.ALGORITHM or record.workflow.limits.guarded or not wanted.allowed:
        raise HttpError(403, f"The log of {stage} of job {record.workflow.id} is for the operator only")
    return wanted


def _stage(call: Call) -> Stage:
    component = call.params.get("component", Stage.ALGORITHM)
    if component not in list(Stage):
        raise HttpError(400, f"`component` must be one of {', '.join(Stage)}")
    return Stage(component)


def published_log(wanted: RequestedLog, record: Record, since: int | None = None) -> Content | None:
    """The published log from byte `since` on, or else its end; None if there is none for this reader."""
    files = (*(() if wanted.owned else record.manifest.admin_files), *record.manifest.files)
    found = next((file for file in files if file.type == _LOG_TYPES[wanted.stage]), None)
    if found is None and wanted.stage is Stage.ALGORITHM:
        found = _of_last_executor(files)
    if found is None or record.workflow.removed or record.workflow.expired:
        return None
    start = max(0, found.size - MAX_LOG) if since is None else min(since, found.size)
    try:
        return wanted.call.app.storage.open(found, start, found.size)
    except NotFound:
        return None


def _of_last_executor(files: Iterable[ResultFile]) -> ResultFile | None:
    """What the last executor of a task printed; None if the job is not a task."""
    printed_by = [file for file in files if file.type == "executorLog" and file.path.endswith(".stdout.log")]
    return max(printed_by, key=lambda file: (len(file.path), file.path), default=None)  # 10 comes after 9
