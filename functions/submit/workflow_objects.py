"""Handles events about WorkFlow objects: submits an added object once, and stops and removes a deleted one.

There is no signature: RBAC decides who may create such objects in an environment's namespace. An event is only a hint.
The object is read from the cluster first, and its content counts.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Response

from functions.api import cloudevents
from functions.api.cloudevents import CloudEvent
from functions.api.http import Call, HttpError, empty
from functions.cluster.ports import ClusterError, ClusterUnavailable
from functions.log import about
from functions.store.ports import AgreementInUse
from functions.submit.new_workflow import Invalid, prepare
from functions.workflow.codes import Code
from functions.workflow.environment import NAMESPACE, Environment
from functions.workflow.model import Ending, Limits, Phase, Submission, Workflow, WorkflowId
from functions.workflow.observation import DeleteRequested

if TYPE_CHECKING:
    from functions.engine.app import App

logger = logging.getLogger(__name__)

_KIND = "WorkFlow"
_GROUP = "oceanprotocol.com/"
_TYPES = ("dev.knative.apiserver.resource.add", "dev.knative.apiserver.resource.update")
_DELETED = "dev.knative.apiserver.resource.delete"
MAX_ORIGIN = 255  # characters of `namespace/name`, in columns of the database
# What Kubernetes allows. An event is not signed, and these become parts of a URL and of the record.
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
_UID = re.compile(r"[A-Za-z0-9-]{1,64}")
PROVIDER = "kubernetes"  # no signer has this address, so getResult serves no results of WorkFlow objects


def changed(call: Call) -> Response:
    """POST /: take a CloudEvent of an ApiServerSource in Resource mode; ignore any other event.

    If the cluster is unavailable the answer is 503 and the event is delivered again, which is harmless.
    """
    event = cloudevents.read(call)
    if not _is_workflow(event):
        return empty()
    namespace, name, uid = _names(event)
    app, origin, workflow = call.app, f"{namespace}/{name}", WorkflowId(uid.replace("-", ""))
    live = app.cluster.workflow_object(origin)
    alive = live is not None and live["metadata"]["uid"] == uid
    if event.type == _DELETED and not alive:
        _deleted(app, workflow, origin, event)
    elif event.type in _TYPES and alive and live is not None:
        _applied(app, workflow, origin, live, event)
    return empty()


def _is_workflow(event: CloudEvent) -> bool:
    data = event.data
    return (
        isinstance(data, dict)
        and data.get("kind") == _KIND
        and str(data.get("apiVersion", "")).startswith(_GROUP)
        and event.type in (*_TYPES, _DELETED)
    )


def _names(event: CloudEvent) -> tuple[str, str, str]:
    metadata = event.data.get("metadata")
    found = metadata if isinstance(metadata, dict) else {}
    namespace, name, uid = (str(found.get(key) or "") for key in ("namespace", "name", "uid"))
    if not (NAMESPACE.fullmatch(namespace) and _NAME.fullmatch(name) and _UID.fullmatch(uid)):
        raise HttpError(400, "the WorkFlow object has no valid namespace, name or uid")
    return namespace, name, uid


def _deleted(app: App, workflow: WorkflowId, origin: str, event: CloudEvent) -> None:
    record = app.store.get(workflow)
    if record is not None and record.submission.origin == origin:
        app.transitions.apply(workflow, DeleteRequested(), cause=event.id)


def _applied(app: App, workflow: WorkflowId, origin: str, live: Any, event: CloudEvent) -> None:
    if live["metadata"].get("deletionTimestamp") or app.store.get(workflow) is not None:
        return
    spec = live.get("spec") if isinstance(live.get("spec"), dict) else {}
    document = spec.get("metadata")
    submission = Submission(
        agreement_id=workflow,
        owner=origin,
        provider=PROVIDER,
        document=document if isinstance(document, dict) else {},
        secret=app.new_id(),
        origin=origin,
    )
    try:
        if len(origin) > MAX_ORIGIN:
            raise Invalid(f"namespace and name together may have {MAX_ORIGIN - 1} characters")
        environment = _environment(app, origin.split("/")[0])
        record = prepare(app, submission, environment, id=workflow)
    except Invalid as e:
        # A new status causes another event, so an unchanged reason is not written again.
        if _reported_reason(live) != (why := f"Invalid: {e}"):
            _reject(app, workflow, origin, why)
        return
    try:
        app.transitions.submit(record, cause=event.id)
    except AgreementInUse:
        logger.info("submitted already", extra=about(workflow=workflow, event=event.id))


def _environment(app: App, namespace: str) -> Environment:
    """Return the environment whose Jobs run in the object's namespace, which is where RBAC granted the rights."""
    for environment in app.environments.values():
        if environment.namespace == namespace:
            return environment
    raise Invalid(f"no environment runs its Jobs in the namespace {namespace}")


def _reported_reason(live: Any) -> Any:
    """Return the reason in the object's status."""
    status = live.get("status")
    return status.get("reason") if isinstance(status, dict) else None


def _reject(app: App, workflow: WorkflowId, origin: str, why: str) -> None:
    """Write the reason into the object's status. Nothing is recorded, so a corrected object is submitted."""
    now = app.clock()
    rejected = Workflow(
        id=workflow,
        environment=origin.split("/")[0],
        limits=Limits(),
        created_at=now,
        phase=Phase.FINISHED,
        status=Code.ALGORITHM_PROVISIONING_FAILED,
        ending=Ending(Code.ALGORITHM_PROVISIONING_FAILED, why),
        finished_at=now,
        reported=True,
    )
    try:
        app.cluster.report(origin, rejected)
    except ClusterUnavailable:
        raise
    except ClusterError as e:  # the object was deleted meanwhile
        logger.warning("rejection not reported: %s", e, extra=about(workflow=workflow))
