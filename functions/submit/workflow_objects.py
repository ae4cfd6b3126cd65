"""Events about WorkFlow objects: applied → submitted once, deleted → stopped and removed.

No signature: who may create such objects in an environment's namespace, RBAC decides. That is why an event is only
a hint here too: the object is read from the cluster before anything is done, and it is what counts.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Response

from functions.api import cloudevents
from functions.api.http import Call, HttpError, empty
from functions.cluster.ports import ClusterError, Unavailable
from functions.log import about
from functions.store.ports import AgreementInUse
from functions.submit.new_workflow import Invalid, prepare
from functions.workflow.codes import Code
from functions.workflow.environment import Environment
from functions.workflow.model import (
    DeleteRequested,
    Ending,
    Limits,
    Phase,
    Submission,
    Workflow,
    WorkflowId,
)

if TYPE_CHECKING:
    from functions.engine.app import App

logger = logging.getLogger(__name__)

_KIND = "WorkFlow"
_GROUP = "oceanprotocol.com/"
_TYPES = ("dev.knative.apiserver.resource.add", "dev.knative.apiserver.resource.update")
_DELETED = "dev.knative.apiserver.resource.delete"
OWNER = "kubernetes"  # signs nothing: results of WorkFlow objects are not handed out through getResult


def changed(call: Call) -> Response:
    """POST / with a CloudEvent of ApiServerSource in Resource mode; anything else is none of our business.

    Where the cluster is away it answers 503: the event comes again, and does nothing twice.
    """
    seen = cloudevents.read(call.request, call.app.settings.max_body)
    if not _is_workflow(seen):
        return empty()
    namespace, name, uid = _names(seen)
    app, origin, workflow = call.app, f"{namespace}/{name}", WorkflowId(uid.replace("-", ""))
    live = app.cluster.workflow_object(origin)
    alive = live is not None and live["metadata"]["uid"] == uid
    if seen.type == _DELETED and not alive:
        _deleted(app, workflow, origin, seen)
    elif seen.type in _TYPES and alive and live is not None:
        _applied(app, workflow, origin, live, seen)
    return empty()


def _is_workflow(seen: cloudevents.Event) -> bool:
    data = seen.data
    return (
        isinstance(data, dict)
        and data.get("kind") == _KIND
        and str(data.get("apiVersion", "")).startswith(_GROUP)
        and seen.type in (*_TYPES, _DELETED)
    )


def _names(seen: cloudevents.Event) -> tuple[str, str, str]:
    metadata = seen.data.get("metadata")
    found = metadata if isinstance(metadata, dict) else {}
    namespace, name, uid = (str(found.get(key) or "") for key in ("namespace", "name", "uid"))
    if not (namespace and name and uid):
        raise HttpError(400, "the WorkFlow object has no namespace, name or uid")
    return namespace, name, uid


def _deleted(app: App, workflow: WorkflowId, origin: str, seen: cloudevents.Event) -> None:
    record = app.store.get(workflow)
    if record is not None and record.submission.origin == origin:
        app.transitions.apply(workflow, DeleteRequested(), cause=seen.id)


def _applied(app: App, workflow: WorkflowId, origin: str, live: Any, seen: cloudevents.Event) -> None:
    if live["metadata"].get("deletionTimestamp") or app.store.get(workflow) is not None:
        return
    spec = live.get("spec") if isinstance(live.get("spec"), dict) else {}
    document = spec.get("metadata")
    submission = Submission(
        agreement_id=workflow,
        owner=origin,
        provider=OWNER,
        document=document if isinstance(document, dict) else {},
        secret=app.new_id(),
        origin=origin,
    )
    try:
        environment = _environment(app, origin.split("/")[0])
        record = prepare(app, submission, environment, id=workflow)
    except Invalid as e:
        # Telling it changes the object, which is announced in turn: once is enough.
        if _told(live) != (why := f"Invalid: {e}"):
            _reject(app, workflow, origin, why)
        return
    try:
        app.transitions.submit(record, cause=seen.id)
    except AgreementInUse:
        logger.info("submitted already", extra=about(workflow=workflow, event=seen.id))


def _environment(app: App, namespace: str) -> Environment:
    """The environment whose Jobs run in the object's own namespace: rights there are what RBAC has checked."""
    for environment in app.environments.values():
        if environment.namespace == namespace:
            return environment
    raise Invalid(f"no environment runs its Jobs in the namespace {namespace}")


def _told(live: Any) -> Any:
    """The reason that stands in the object's status."""
    status = live.get("status")
    return status.get("reason") if isinstance(status, dict) else None


def _reject(app: App, workflow: WorkflowId, origin: str, why: str) -> None:
    """Told in the object's status; nothing is recorded, so that a corrected object is submitted."""
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
    except Unavailable:
        raise
    except ClusterError as e:  # deleted meanwhile
        logger.warning("rejection not reported: %s", e, extra=about(workflow=workflow))
