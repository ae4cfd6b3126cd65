"""The changing routes of GA4GH TES: create a task, cancel a task."""

from __future__ import annotations

import logging
from hashlib import sha256
from typing import Any

import msgspec
from msgspec.structs import replace
from werkzeug.wrappers import Response

from functions.api.auth.principal import Principal, require_principal
from functions.api.http import Call, HttpError, decode, without_nul
from functions.api.tes.messages import answer, own_task
from functions.cluster.ports import ClusterUnavailable
from functions.errors import BudgetUsedUp
from functions.log import about
from functions.results.ports import StorageUnavailable
from functions.store.ports import AgreementInUse
from functions.submit.new_task import PROVIDER, prepare
from functions.trust.chain import PERSON
from functions.workflow.document import DocumentError
from functions.workflow.environment import Environment
from functions.workflow.model import Record, WorkflowId
from functions.workflow.observation import StopRequested
from functions.workflow.tes_checks import AcceptedTask, accept

logger = logging.getLogger(__name__)

_LONGEST_KEY = 255  # characters
_ENVIRONMENT = "$.resources.backend_parameters.environment"


def create(call: Call) -> Response:
    """POST /tasks: record a task and start it if a slot is free. The answer is its id."""
    principal = require_principal(call)
    key = _idempotency_key(call, principal)
    try:
        accepted = accept(_body(call))
        environment = _environment(call, principal, accepted)
        prepared = prepare(call.app, accepted, principal.owner, environment, idempotency_key=key)
    except DocumentError as e:
        raise HttpError(400, str(e)) from None
    dropped = tuple(f"backend parameter {name} is not supported; it is ignored" for name in accepted.dropped)
    record = replace(prepared, submission=replace(prepared.submission, warnings=dropped))
    return answer({"id": _first(call, record) or _submitted(call, record)})


def cancel(call: Call) -> Response:
    """POST /tasks/ID:cancel: stop a task. A task that has ended stays as it is. The body is not looked at."""
    principal = require_principal(call)
    task = own_task(call, principal)
    try:
        call.app.transitions.apply(task.id, StopRequested(), cause=f"{PERSON}{principal.owner}")
    except (ClusterUnavailable, StorageUnavailable):
        logger.warning("the cancel is recorded; the sweep carries it out", extra=about(workflow=task.id))
    return answer({})


def _body(call: Call) -> Any:
    if not call.request.is_json:
        raise HttpError(415, "Unsupported Media Type: send the task as JSON with Content-Type: application/json")
    return without_nul(decode(call.body))


def _environment(call: Call, principal: Principal, accepted: AcceptedTask) -> Environment:
    """Return the environment that the task names, else the deployment's, else the only one that the caller may use.

    Raises DocumentError for one that is unknown to the caller.
    """
    settings, environments = call.app.settings, call.app.environments
    usable = [each for each in environments.values() if principal.may_use(each.id)]
    if not usable:
        raise DocumentError(_ENVIRONMENT, "one of your environments, but you may use none; ask the operator for one")
    names = ", ".join(each.id for each in usable)
    wanted = accepted.task.backend.get("environment") or settings.tes_environment
    if not wanted:
        if len(usable) != 1:
            raise DocumentError(_ENVIRONMENT, f"one of your environments: {names}")
        return usable[0]
    found = next((each for each in usable if each.id == wanted), None)
    if found is None:
        raise DocumentError(_ENVIRONMENT, f"one of your environments ({names}), not {wanted}")
    return found


# --- repeated requests ----------------------------------------------------------------------


def _idempotency_key(call: Call, principal: Principal) -> str | None:
    """Return what is kept of the caller's key: keys of different owners never meet."""
    key = call.request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not (0 < len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()):
        raise HttpError(400, f"Idempotency-Key must be 1 to {_LONGEST_KEY} printable ASCII characters")
    return sha256(f"{principal.owner}\n{key}".encode()).hexdigest()


def _first(call: Call, record: Record) -> WorkflowId | None:
    """Return the id of the task that was created with this key. Raises HttpError 422 for another task."""
    key = record.submission.idempotency_key
    first = call.app.store.by_idempotency_key(PROVIDER, key) if key else None
    if first is None:
        return None
    if _canonical(first) != _canonical(record):
        raise HttpError(422, "this Idempotency-Key was used for another task; send another key")
    return first.workflow.id


def _canonical(record: Record) -> bytes:
    """Return what a request asks for as canonical JSON."""
    return msgspec.json.encode((record.submission.document, record.workflow.environment), order="deterministic")


def _submitted(call: Call, record: Record) -> WorkflowId:
    try:
        return call.app.transitions.submit(record, f"{PERSON}{record.submission.owner}").workflow.id
    except AgreementInUse:
        # A concurrent copy of this request, with the same key, was first.
        first = _first(call, record)
        if first is None:
            raise
        return first
    except BudgetUsedUp as e:
        raise HttpError(403, str(e)) from None
