"""The filter of events: which of them may change a workflow. Pure.

An event is a hint; the cluster is the truth. `hint_of` drops most events by their body alone, before any I/O, because
they cannot change anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from functions.cluster.kubernetes.job_status import job_has_ended, pod_is_noteworthy
from functions.cluster.kubernetes.objects import Body, get_mapping, get_text
from functions.cluster.labels import JOB_NAME, ref_of_labels, ref_of_name
from functions.cluster.ports import JobRef

_RESOURCE = "dev.knative.apiserver.resource."
_REFERENCE = "dev.knative.apiserver.ref."


class Hint(Struct, frozen=True):
    """The Job that an event may concern.

    `ref.uid` stays None: the UID in an event is not trusted, only the recorded one.
    """

    ref: JobRef
    pod: str | None = None  # the Pod that the event is about; saves a search


def hint_of(attributes: Mapping[str, Any], body: Any) -> Hint | None:
    """The Job that an event of ApiServerSource may concern; None for the many events that change nothing.

    `attributes`: the CloudEvent's, without `ce-`. In Reference mode there is no body, so each event is a hint.
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
