"""What the objects of a Job say about its end: pure reading of Job and Pod, as Kubernetes writes them.

Used on an event's body, to tell whether a look is worth it, and on the live objects, to tell the truth.
The facts behind each rule were measured on a real cluster; tests/cluster/ replays what it sent.
Bodies may be forged or cut: every accessor takes anything and none raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from functions.cluster.ports import JobStatus, State
from functions.workflow.model import JobUid, Outcome, Stage

Body = Mapping[str, Any]
CONTAINER = "main"  # the one container of our Pods
DISRUPTED = "DisruptionTarget"  # the condition of a Pod that was drained, preempted or evicted
# Reasons for which a container waits and that no waiting mends.
FATAL_WAITS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
# The kubelet's words for "the program ended by itself", which say less than its exit code.
_PLAIN = frozenset({"Error", "Completed", ""})
# Where a Job counts the Pods that it has, or had.
_COUNTERS = ("active", "terminating", "succeeded", "failed", "uncountedTerminatedPods")
_REASON = re.compile(r"[A-Z][A-Za-z0-9]{1,63}")
_EXIT_CODE = re.compile(r"failed with exit code (\d+)")


def part(body: Any, *path: str) -> Body:
    """The mapping at `path`; empty if anything on the way is missing or something else."""
    for key in path:
        body = body.get(key) if isinstance(body, Mapping) else None
    return body if isinstance(body, Mapping) else {}


def items(body: Body, key: str) -> list[Body]:
    """The mappings of the list at `key`."""
    value = body.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, Sequence) else []


def text(body: Body, key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""


def uid(body: Body) -> JobUid:
    return JobUid(text(part(body, "metadata"), "uid"))


def controller(body: Body) -> JobUid | None:
    """The UID of the Job that owns a Pod."""
    for owner in items(part(body, "metadata"), "ownerReferences"):
        if owner.get("kind") == "Job" and owner.get("controller") is True:
            return JobUid(text(owner, "uid"))
    return None


def leaving(body: Body) -> bool:
    """Whether the object is being deleted."""
    return bool(part(body, "metadata").get("deletionTimestamp"))


# --- the Job --------------------------------------------------------------------------------


def condition(body: Body, kind: str) -> Body:
    """The condition of that type if it is true; never by position, `Suspended` may stand before the others."""
    for found in items(part(body, "status"), "conditions"):
        if found.get("type") == kind and found.get("status") == "True":
            return found
    return {}


def job_succeeded(job: Body) -> bool:
    return bool(condition(job, "Complete") or condition(job, "SuccessCriteriaMet"))


def job_over(job: Body) -> bool:
    """Whether the Job itself says that it ended.

    `FailureTarget` announces a failure, up to a grace period before the last Pod is gone.
    """
    if job_succeeded(job) or condition(job, "Failed"):
        return True
    status = part(job, "status")
    return bool(condition(job, "FailureTarget")) and not status.get("active") and status.get("terminating") == 0


def judge_job(job: Body, pods: Sequence[Body], stage: Stage) -> JobStatus:
    """What the Job and all of its Pods say together."""
    if job_succeeded(job):
        return JobStatus(State.ENDED, uid(job), Outcome.SUCCEEDED, 0)
    failing = condition(job, "Failed") or condition(job, "FailureTarget")
    if failing:
        # Its Pods are being killed; the stage ends when the last of them is gone.
        ended = job_over(job) or not any(map(_alive, pods))
        return _failure(job, failing, pods, stage) if ended else JobStatus(State.RUNNING, uid(job))
    if leaving(job):
        return JobStatus(State.RUNNING, uid(job)) if any(map(_alive, pods)) else JobStatus(State.GONE)
    if part(job, "spec").get("suspend") is True:
        return JobStatus(State.SUSPENDED, uid(job))
    if not pods:
        return _without_pod(job)
    judged = [judge_pod(pod, stage) for pod in pods]
    for seen in judged:
        failed_for_good = seen.outcome is not Outcome.FAILED or part(job, "spec").get("backoffLimit") == 0
        if seen.state is not State.RUNNING and failed_for_good:
            return seen
    return JobStatus(State.RUNNING, uid(job), since=next((seen.since for seen in judged if seen.since), None))


def _without_pod(job: Body) -> JobStatus:
    """A Job that began and never had a Pod: somebody refuses it, such as a quota or an admission webhook."""
    status = part(job, "status")
    begun = _time(text(status, "startTime"))
    if begun is None or any(status.get(counter) for counter in _COUNTERS):
        return JobStatus(State.RUNNING, uid(job))
    return JobStatus(State.STUCK, uid(job), reason="NoPod", since=begun)


def _failure(job: Body, failing: Body, pods: Sequence[Body], stage: Stage) -> JobStatus:
    reason = text(failing, "reason")
    if reason == "DeadlineExceeded":
        return JobStatus(State.ENDED, uid(job), Outcome.TIMED_OUT, reason=reason)
    for pod in pods:
        seen = judge_pod(pod, stage)
        if seen.outcome is Outcome.FAILED:
            return seen
    # The Pod is gone; with `podFailurePolicy` the Job's message still has the exit code.
    code = _EXIT_CODE.search(text(failing, "message"))
    if code:
        return JobStatus(State.ENDED, uid(job), Outcome.FAILED, int(code[1]), "Error")
    if DISRUPTED in text(failing, "message") or any(condition(pod, DISRUPTED) for pod in pods):
        reason = "Disrupted"
    return JobStatus(State.ENDED, uid(job), Outcome.FAILED, reason=reason or "Failed")


# --- the Pod --------------------------------------------------------------------------------


def judge_pod(pod: Body, stage: Stage) -> JobStatus:
    """What one Pod says; RUNNING where it says nothing final.

    A Pod that is being deleted says nothing: its exit code is the killing's. Nor does one that was
    disrupted (preempted, drained): its Job replaces it or has failed.
    """
    owner = controller(pod)
    running = JobStatus(State.RUNNING, owner)
    if not trusted(pod):
        return running
    status = part(pod, "status")
    terminated = _terminated(pod)
    if terminated:
        return _exit(terminated, status, owner, stage)
    if status.get("phase") == "Failed":  # evicted or refused by the node before a container could end
        return JobStatus(State.ENDED, owner, Outcome.FAILED, reason=text(status, "reason") or "PodFailed")
    begun = _time(text(part(_state(pod), "running"), "startedAt"))
    return _wait(pod, owner) or replace(running, since=begun)


def trusted(pod: Body) -> bool:
    """Whether the Pod speaks for its program: it is neither being deleted nor disrupted."""
    return not leaving(pod) and not condition(pod, DISRUPTED)


def pod_speaks(pod: Body) -> bool:
    """Whether this state of a Pod may change its workflow."""
    if _terminated(pod) or not _alive(pod):
        return True
    return not leaving(pod) and bool(_fatal_wait(pod) or _unschedulable(pod))


def _exit(terminated: Body, status: Body, owner: JobUid | None, stage: Stage) -> JobStatus:
    code = terminated.get("exitCode")
    if code == 0:
        return JobStatus(State.ENDED, owner, Outcome.SUCCEEDED, 0)
    reason = text(terminated, "reason")
    if status.get("reason") == "Evicted":
        reason = "Evicted"
    elif reason in _PLAIN and stage in (Stage.CONFIGURE, Stage.PUBLISH):
        # Our own programs leave `Reason: text` (functions/staging/report.py); no other program is believed.
        said = text(terminated, "message").partition(":")[0]
        reason = said if _REASON.fullmatch(said) else reason
    exit_code = code if isinstance(code, int) else None
    return JobStatus(State.ENDED, owner, Outcome.FAILED, exit_code, reason or "Error", reason == "OOMKilled")


def _wait(pod: Body, owner: JobUid | None) -> JobStatus | None:
    """Whether and since when the Pod waits for what will not come."""
    reason = _fatal_wait(pod) or _unschedulable(pod) or _unmounted(pod)
    if not reason:
        return None
    begun = _changed(pod, "PodReadyToStartContainers" if reason == "FailedMount" else "PodScheduled")
    return JobStatus(State.STUCK, owner, reason=reason, since=begun or _created(pod))


def _state(pod: Body) -> Body:
    """The state of the one container; of ours, where a service mesh has put others beside it."""
    containers = items(part(pod, "status"), "containerStatuses")
    ours = [each for each in containers if len(containers) == 1 or each.get("name") == CONTAINER]
    return part(ours[0], "state") if ours else {}


def _terminated(pod: Body) -> Body:
    return part(_state(pod), "terminated")


def _fatal_wait(pod: Body) -> str:
    reason = text(part(_state(pod), "waiting"), "reason")
    return reason if reason in FATAL_WAITS else ""


def _unschedulable(pod: Body) -> str:
    for found in items(part(pod, "status"), "conditions"):
        if found.get("type") == "PodScheduled" and found.get("status") == "False":
            return "Unschedulable" if found.get("reason") == "Unschedulable" else ""
    return ""


def _unmounted(pod: Body) -> str:
    """A volume or a file of the Pod is not there.

    It waits as `ContainerCreating` like a Pod whose image is being pulled, but only the latter is ready to start.
    """
    if part(pod, "status").get("phase") != "Pending":
        return ""
    for found in items(part(pod, "status"), "conditions"):
        if found.get("type") == "PodReadyToStartContainers" and found.get("status") == "False":
            return "FailedMount"
    return ""


def _alive(pod: Body) -> bool:
    return part(pod, "status").get("phase") not in ("Succeeded", "Failed")


def _changed(pod: Body, kind: str) -> datetime | None:
    for found in items(part(pod, "status"), "conditions"):
        if found.get("type") == kind:
            return _time(text(found, "lastTransitionTime"))
    return None


def _created(pod: Body) -> datetime | None:
    return _time(text(part(pod, "metadata"), "creationTimestamp"))


def _time(value: str) -> datetime | None:
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except ValueError:
        return None
