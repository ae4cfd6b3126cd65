"""The state of a Job, read from the Job and its Pods. Pure.

Used on the body of an event, to tell whether the Job is worth a read, and on the live objects, to tell its state.
Each rule rests on what a real cluster sent; the tests in tests/cluster/ replay it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from functions.cluster.kubernetes.objects import (
    Body,
    controller_uid,
    created_at,
    find_condition,
    get_mapping,
    get_mappings,
    get_text,
    get_time,
    is_being_deleted,
    true_condition,
    uid_of,
)
from functions.cluster.ports import JobStatus, State
from functions.workflow import reported_facts
from functions.workflow.model import JobUid, Outcome, Stage

CONTAINER = "main"  # the one container of our Pods
DISRUPTION = "DisruptionTarget"  # the condition of a Pod that is drained, preempted or evicted
# Reasons for which a container waits and which time alone does not cure.
FATAL_WAITING_REASONS = frozenset(
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
# Errors of a pull that the next pull meets again: no such image, or none for us or for this machine. containerd, CRI-O
# and the registries each have their own words; a node tells them in the message of the waiting container.
_DEFINITIVE_REASONS = frozenset({"InvalidImageName", "ErrImageNeverPull"})
_PULL_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff"})
_DEFINITIVE_ERROR = re.compile(
    r"manifest unknown|name unknown|repository does not exist|failed to resolve reference .*: not found"
    r"|unauthorized|authorization failed|access denied|access to the resource is denied|403 Forbidden"
    r"|no match(ing manifest)? for |invalid reference format",
    re.IGNORECASE | re.DOTALL,
)
# An outage or a limit of the registry, whatever else the message says.
_PASSING_ERROR = re.compile(
    r"toomanyrequests|too many requests|timeout|\b5\d\d [A-Z]|no such host|connection|unreachable|EOF", re.IGNORECASE
)
# The kubelet's reasons for a program that ended by itself. They say less than its exit code.
_UNSPECIFIC_REASONS = frozenset({"Error", ""})
# The fields in which a Job counts the Pods that it has or had.
_POD_COUNTERS = ("active", "terminating", "succeeded", "failed", "uncountedTerminatedPods")
_STATUSES = ("status", "containerStatuses")
_REASON = re.compile(r"[A-Z][A-Za-z0-9]{1,63}")
_EXIT_CODE = re.compile(r"failed with exit code (\d+)")


# --- the Job --------------------------------------------------------------------------------


def job_has_succeeded(job: Body) -> bool:
    return bool(true_condition(job, "Complete") or true_condition(job, "SuccessCriteriaMet"))


def job_has_ended(job: Body) -> bool:
    """Whether the Job itself says that it has ended.

    `FailureTarget` announces a failure before the last Pod is gone, up to a grace period earlier.
    """
    if job_has_succeeded(job) or true_condition(job, "Failed"):
        return True
    status = get_mapping(job, "status")
    has_no_pods = not status.get("active") and status.get("terminating") == 0
    return bool(true_condition(job, "FailureTarget")) and has_no_pods


def status_of_job(job: Body, pods: Sequence[Body], stage: Stage) -> JobStatus:
    """The state of a Job, by the Job and all of its Pods."""
    if job_has_succeeded(job):
        return JobStatus(State.ENDED, uid_of(job), Outcome.SUCCEEDED, 0, facts=_facts_of(pods, stage))
    failure = true_condition(job, "Failed") or true_condition(job, "FailureTarget")
    if failure:
        # Kubernetes is killing its Pods; the stage ends when the last of them is gone.
        if job_has_ended(job) or not any(map(_is_active, pods)):
            return _failed_job(job, failure, pods, stage)
        return JobStatus(State.RUNNING, uid_of(job))
    if is_being_deleted(job):
        return JobStatus(State.RUNNING, uid_of(job)) if any(map(_is_active, pods)) else JobStatus(State.GONE)
    if get_mapping(job, "spec").get("suspend") is True:
        return JobStatus(State.SUSPENDED, uid_of(job))
    if not pods:
        return _job_without_pod(job)
    return _unfinished_job(job, pods, stage)


def _facts_of(pods: Sequence[Body], stage: Stage) -> Mapping[str, str]:
    """The facts of the Pod that succeeded, if it still exists."""
    ended = (status_of_pod(pod, stage) for pod in pods)
    return next((each.facts for each in ended if each.outcome is Outcome.SUCCEEDED), {})


def _unfinished_job(job: Body, pods: Sequence[Body], stage: Stage) -> JobStatus:
    """The state of a Job whose Pods know more than the Job: it has no condition yet."""
    retries = get_mapping(job, "spec").get("backoffLimit") != 0
    statuses = [status_of_pod(pod, stage) for pod in pods]
    for status in statuses:
        may_be_retried = retries and status.outcome is Outcome.FAILED
        if status.state is not State.RUNNING and not may_be_retried:
            return status
    return JobStatus(State.RUNNING, uid_of(job), since=next((each.since for each in statuses if each.since), None))


def _job_without_pod(job: Body) -> JobStatus:
    """The state of a Job without a Pod. STUCK if it started and never had one: a quota or a webhook refuses it."""
    status = get_mapping(job, "status")
    started = get_time(status, "startTime")
    if started is None or any(status.get(counter) for counter in _POD_COUNTERS):
        return JobStatus(State.RUNNING, uid_of(job))
    return JobStatus(State.STUCK, uid_of(job), reason="NoPod", since=started)


def _failed_job(job: Body, failure: Body, pods: Sequence[Body], stage: Stage) -> JobStatus:
    reason = get_text(failure, "reason")
    if reason == "DeadlineExceeded":
        return JobStatus(State.ENDED, uid_of(job), Outcome.TIMED_OUT, reason=reason)
    for pod in pods:
        status = status_of_pod(pod, stage)
        if status.outcome is Outcome.FAILED:
            return status
    # The Pod is gone. With `podFailurePolicy` the Job's message still has the exit code.
    message = get_text(failure, "message")
    code = _EXIT_CODE.search(message)
    if code:
        return JobStatus(State.ENDED, uid_of(job), Outcome.FAILED, int(code[1]), "Error")
    if DISRUPTION in message or any(true_condition(pod, DISRUPTION) for pod in pods):
        reason = "Disrupted"
    return JobStatus(State.ENDED, uid_of(job), Outcome.FAILED, reason=reason or "Failed")


# --- the Pod --------------------------------------------------------------------------------


def status_of_pod(pod: Body, stage: Stage) -> JobStatus:
    """The state of a Job by one of its Pods; RUNNING if the Pod says nothing final, or is disrupted."""
    owner = controller_uid(pod)
    running = JobStatus(State.RUNNING, owner)
    if is_disrupted(pod):
        return running
    status = get_mapping(pod, "status")
    terminated = _terminated(pod)
    if terminated:
        ended = _terminated_pod(terminated, pod, owner, stage)
        return replace(ended, scheduled=_since(pod, "PodScheduled"), prepared=_since(pod, "PodReadyToStartContainers"))
    if status.get("phase") == "Failed":  # evicted, or refused by its node, before a container could end
        return JobStatus(State.ENDED, owner, Outcome.FAILED, reason=get_text(status, "reason") or "PodFailed")
    since = get_time(get_mapping(_container_state(pod), "running"), "startedAt")
    return _stuck_pod(pod, owner) or replace(running, since=since)


def _since(pod: Body, condition: str) -> datetime | None:
    """Since when a condition is true; None if it is not. The end of a Pod makes its conditions false."""
    found = find_condition(pod, condition)
    return get_time(found, "lastTransitionTime") if found.get("status") == "True" else None


def is_disrupted(pod: Body) -> bool:
    """Whether the Pod is being deleted, drained, preempted or evicted.

    Its exit code then describes the kill, not the program. Its Job replaces the Pod, or fails.
    """
    return is_being_deleted(pod) or bool(true_condition(pod, DISRUPTION))


def pod_is_noteworthy(pod: Body) -> bool:
    """Whether a Pod in this state may change its workflow."""
    if _terminated(pod) or not _is_active(pod):
        return True
    return not is_being_deleted(pod) and bool(_fatal_waiting_reason(pod) or _unschedulable_reason(pod))


def _terminated_pod(terminated: Body, pod: Body, owner: JobUid | None, stage: Stage) -> JobStatus:
    code, message = terminated.get("exitCode"), get_text(terminated, "message")
    times = get_time(terminated, "startedAt"), get_time(terminated, "finishedAt")
    facts = _facts(pod, message, stage)
    if code == 0:
        return JobStatus(State.ENDED, owner, Outcome.SUCCEEDED, 0, since=times[0], until=times[1], facts=facts)
    reason = get_text(terminated, "reason")
    if get_mapping(pod, "status").get("reason") == "Evicted":
        reason = "Evicted"
    elif reason in _UNSPECIFIC_REASONS and stage.is_ours:
        # Our own programs leave `Reason: text` (functions/staging/report.py). Nobody else's message is a reason.
        written = message.partition(":")[0]
        reason = written if _REASON.fullmatch(written) else reason
    exit_code = code if isinstance(code, int) else None
    ended = JobStatus(State.ENDED, owner, Outcome.FAILED, exit_code, reason or "Error", reason == "OOMKilled")
    return replace(ended, since=times[0], until=times[1], facts=facts)


def _facts(pod: Body, message: str, stage: Stage) -> dict[str, str]:
    """The image that ran, and what our own program has reported. Nobody else's message is believed."""
    return {**(reported_facts.read(message) if stage.is_ours else {}), **_image(pod)}


def _image(pod: Body) -> dict[str, str]:
    """The digest of the image as the node reports it, and the digest in the Pod's spec if that is another one.

    If the spec names an index of images, some runtimes report the digest of the image for their platform, or of its
    configuration. They have checked what they pulled against the index.
    """
    ran, spec = (_our_container(pod, *where) for where in (_STATUSES, ("spec", "containers")))
    image = reported_facts.image_of(get_text(ran, "imageID"))
    asked = reported_facts.image_of(get_text(spec, "image").partition("@")[2]).get("image", "")
    return {**image, "imageAsked": asked} if asked and asked != image.get("image") else image


def _stuck_pod(pod: Body, owner: JobUid | None) -> JobStatus | None:
    """STUCK if the Pod waits for something that may never come; otherwise None."""
    reason = _fatal_waiting_reason(pod) or _unschedulable_reason(pod) or _unmounted_reason(pod)
    if not reason:
        return None
    condition = "PodReadyToStartContainers" if reason == "FailedMount" else "PodScheduled"
    since = get_time(find_condition(pod, condition), "lastTransitionTime")
    return JobStatus(
        State.STUCK, owner, reason=reason, since=since or created_at(pod), definitive=_is_definitive(pod, reason)
    )


def _is_definitive(pod: Body, reason: str) -> bool:
    """Whether the image cannot be had: the registry has answered, and will answer the same."""
    message = get_text(get_mapping(_container_state(pod), "waiting"), "message")
    if reason not in _PULL_REASONS:
        return reason in _DEFINITIVE_REASONS
    return bool(_DEFINITIVE_ERROR.search(message)) and not _PASSING_ERROR.search(message)


def _container_state(pod: Body) -> Body:
    """The state of our container; a service mesh may have put others beside it."""
    return get_mapping(_our_container(pod, *_STATUSES), "state")


def _our_container(pod: Body, part: str, name: str) -> Body:
    containers = get_mappings(get_mapping(pod, part), name)
    ours = [each for each in containers if len(containers) == 1 or each.get("name") == CONTAINER]
    return ours[0] if ours else {}


def _terminated(pod: Body) -> Body:
    return get_mapping(_container_state(pod), "terminated")


def _fatal_waiting_reason(pod: Body) -> str:
    reason = get_text(get_mapping(_container_state(pod), "waiting"), "reason")
    return reason if reason in FATAL_WAITING_REASONS else ""


def _unschedulable_reason(pod: Body) -> str:
    scheduled = find_condition(pod, "PodScheduled")
    is_unschedulable = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return "Unschedulable" if is_unschedulable else ""


def _unmounted_reason(pod: Body) -> str:
    """`FailedMount` if a volume of the Pod is not there.

    It waits as `ContainerCreating`, like one whose image is being pulled; but only the latter is ready to start.
    """
    if get_mapping(pod, "status").get("phase") != "Pending":
        return ""
    return "FailedMount" if find_condition(pod, "PodReadyToStartContainers").get("status") == "False" else ""


def _is_active(pod: Body) -> bool:
    return get_mapping(pod, "status").get("phase") not in ("Succeeded", "Failed")
