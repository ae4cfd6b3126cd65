"""From events to observations: which events are worth a look, and what the look shows. Pure.

The event is a hint, the cluster is the truth: `interest` reads the event's body only to drop what cannot matter
(most of it) before any I/O; `observation` says what the live Job means to the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from functions.cluster.kubernetes.job_status import job_has_ended, pod_is_noteworthy
from functions.cluster.kubernetes.objects import Body, get_mapping, get_text
from functions.cluster.labels import JOB_NAME, ref_of_labels, ref_of_name
from functions.cluster.ports import JobRef, JobStatus, State
from functions.workflow.model import Manifest, Outcome
from functions.workflow.observation import StageEnded, StageLost, StageObservation, StageStuck, Tick

_RESOURCE = "dev.knative.apiserver.resource."
_REFERENCE = "dev.knative.apiserver.ref."


@dataclass(frozen=True, slots=True)
class Hint:
    """An event says that it may be worth looking at this Job.

    `ref.uid` stays None: what an event claims of it is not trusted, only the recorded UID is.
    """

    ref: JobRef
    pod: str | None = None  # the Pod that the event is about; reading it by name saves a search


def interest(attributes: Mapping[str, Any], body: Any) -> Hint | None:
    """The Job that an event of ApiServerSource may concern; None for the many that change nothing.

    `attributes` are the CloudEvent's without `ce-`. In Reference mode there is no body to judge by: always a hint.
    """
    kind = str(attributes.get("type", ""))
    if not isinstance(body, Mapping) or body.get("kind") not in ("Job", "Pod"):
        return None
    if kind.startswith(_REFERENCE):
        return _of_reference(body)
    if kind.startswith(_RESOURCE):
        return _of_resource(body, deleted=kind == f"{_RESOURCE}delete")
    return None


def _of_reference(body: Body) -> Hint | None:
    name, namespace = get_text(body, "name"), get_text(body, "namespace")
    if body.get("kind") == "Job":
        ref = ref_of_name(name, namespace)
        return Hint(ref) if ref else None
    ref = ref_of_name(name.rpartition("-")[0], namespace)  # a Job's Pod is `<job>-<5 characters>`
    return Hint(ref, name) if ref else None


def _of_resource(body: Body, deleted: bool) -> Hint | None:
    metadata = get_mapping(body, "metadata")
    labels = get_mapping(metadata, "labels")
    ref = ref_of_labels(labels, get_text(metadata, "namespace"))
    if ref is None:
        return None
    if body.get("kind") == "Job":
        ours = metadata.get("name") == ref.name
        return Hint(ref) if ours and (deleted or job_has_ended(body)) else None
    ours = labels.get(JOB_NAME) == ref.name
    if not ours or not (deleted or pod_is_noteworthy(body)):
        return None
    return Hint(ref, get_text(metadata, "name") or None)


def observation(ref: JobRef, live: JobStatus, manifest: Manifest | None = None) -> StageObservation | Tick:
    """What the state of a Job means to the rules. `manifest`: what a publish that succeeded has published."""
    match live.state:
        case State.RUNNING:
            return Tick(runs_since=live.since)
        case State.SUSPENDED:
            return Tick(suspended=True)
        case State.STUCK:
            # Without a time the wait cannot be measured; the Job's own deadline ends it then.
            return (
                StageStuck(ref.stage, ref.attempt, live.uid, live.reason, live.since, live.definitive)
                if live.since
                else Tick()
            )
        case State.ENDED:
            return StageEnded(
                ref.stage,
                ref.attempt,
                live.uid,
                live.outcome or Outcome.FAILED,
                live.exit_code,
                live.reason,
                live.oom_killed,
                manifest,
            )
        case State.GONE:
            return StageLost(ref.stage, ref.attempt)
        case _:
            assert_never(live.state)
