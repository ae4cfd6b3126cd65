"""The routes by which a Provider starts, stops and deletes jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec.structs import replace
from werkzeug.wrappers import Response

from functions.api.auth.guard import bound_to, consume, require_signer, require_unused
from functions.api.auth.signature import NonceRefused, RequestSigner
from functions.api.http import Call, HttpError
from functions.api.json_answers import answer, answer_pages
from functions.api.ocean.answers import PAGE_BYTES, status, statuses
from functions.api.ocean.requests import PAGE, chain_id, filter_value, message, query, require
from functions.cluster.ports import ClusterUnavailable
from functions.errors import BudgetUsedUp
from functions.ethereum import comparable
from functions.log import about
from functions.results.ports import StorageUnavailable
from functions.store.ports import AgreementInUse
from functions.store.values import Query
from functions.submit.new_workflow import Invalid, prepare
from functions.workflow.environment import Environment
from functions.workflow.model import Record, Submission, Workflow, WorkflowId
from functions.workflow.observation import DeleteRequested, Observation, StopRequested

logger = logging.getLogger(__name__)

_START = ("workflow", "agreementId", "owner", "providerSignature", "environment", "nonce")
_STOP = ("owner", "providerSignature", "nonce")
_STOP_PREFIX = "Exception when stopping compute job: "
_IN_USE = "`agreementId` already in use for other job."
_LONGEST = 255  # characters in a column of operator-service's tables


def start(call: Call) -> Response:
    """POST /compute: start a job. The checks run in operator-service's order."""
    params = call.params
    require(params, _START, "POST:/compute")
    if not params["workflow"]:
        raise HttpError(400, "`workflow` is required in the payload and must include workflow stages")
    agreement, owner = _text(params["agreementId"], "agreementId"), _text(params["owner"], "owner")
    key = _idempotency_key(call)
    in_use = _agreement_in_use(call, agreement)
    if in_use and key is None:
        raise HttpError(400, _IN_USE)
    environment = _environment(call)
    signer = require_signer(call, owner)
    wanted = Submission(
        agreement_id=agreement,
        owner=owner,
        provider=signer.address,
        document=_document(params),
        secret=call.app.new_id(),
        idempotency_key=key,
    )
    if (first := _answered_before(call, wanted, environment)) is not None:
        return first
    if in_use:
        raise HttpError(400, _IN_USE)
    return _submit(call, wanted, environment, signer)


def _submit(call: Call, wanted: Submission, environment: Environment, signer: RequestSigner) -> Response:
    """Record the job and use the nonce, both in one transaction."""
    try:
        record = prepare(call.app, wanted, environment)
    except Invalid as e:
        raise HttpError(400, str(e)) from None
    try:
        call.app.transitions.submit(record, wanted.provider, first=signer.consume)
    except (AgreementInUse, NonceRefused) as e:
        # A concurrent copy of this request, with the same key, may have been first.
        if (first := _answered_before(call, wanted, environment)) is not None:
            return first
        raise HttpError(400, str(e) if isinstance(e, NonceRefused) else _IN_USE) from None
    except BudgetUsedUp as e:
        raise HttpError(403, str(e)) from None
    return _first_answer(record)


def stop(call: Call) -> Response:
    """PUT /compute: stop every matching job. Without a jobId, these are all of the owner's."""
    require(call.params, _STOP, "PUT:/compute")
    return _end(call, StopRequested(), unfinished=True)


def delete(call: Call) -> Response:
    """DELETE /compute: stop the job if it runs, and remove its results and its objects in the cluster."""
    require(call.params, _STOP, "DELETE:/compute")
    if not (filter_value(call.params, "jobId") or filter_value(call.params, "agreementId")):
        # A forgotten parameter must not delete all results of an owner.
        raise HttpError(400, '"jobId" or "agreementId" is required in the call to DELETE:/compute')
    return _end(call, DeleteRequested(), unfinished=False)


def _end(call: Call, request: Observation, *, unfinished: bool) -> Response:
    if filter_value(call.params, "owner") is None:
        raise HttpError(400, "`owner` must be an address")
    wanted = query(call.params)
    signer = require_signer(call, message(call.params), prefix=_STOP_PREFIX)
    require_unused(call, signer, prefix=_STOP_PREFIX)
    store, wanted = call.app.store, replace(wanted, provider=bound_to(call, signer))
    for workflow in list(_all(store.ids, replace(wanted, unfinished=unfinished, limit=PAGE, offset=0))):
        try:
            call.app.transitions.apply(workflow, request, cause=signer.address)
        except (ClusterUnavailable, StorageUnavailable):
            logger.warning("the request is recorded; the sweep carries it out", extra=about(workflow=workflow))
    answered = answer_pages(statuses(page, store) for page in store.find_in_pages(wanted, PAGE_BYTES))
    consume(call, signer, prefix=_STOP_PREFIX)
    return answered


def _all(ids: Callable[[Query], Sequence[WorkflowId]], wanted: Query) -> Iterator[WorkflowId]:
    while page := ids(wanted):
        yield from page
        if len(page) < wanted.limit:
            return
        wanted = replace(wanted, offset=wanted.offset + wanted.limit)


# --- checks and parts of a start ---------------------------------------------------------------


def _text(value: Any, name: str) -> str:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not 0 < len(text) <= _LONGEST:
        raise HttpError(400, f"`{name}` must be a text of 1 to {_LONGEST} characters")
    return text


def _idempotency_key(call: Call) -> str | None:
    key = call.request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= _LONGEST and key.isascii() and key.isprintable()):
        raise HttpError(400, f"Idempotency-Key must be 1 to {_LONGEST} printable ASCII characters")
    return key


def _agreement_in_use(call: Call, agreement: str) -> bool:
    return bool(call.app.store.ids(Query(agreement_id=agreement, unfinished=True, limit=1)))


def _environment(call: Call) -> Environment:
    environment = call.app.environments.get(str(call.params["environment"]))
    if environment is None or not environment.accepts_chain(chain_id(call.params)):
        raise HttpError(400, "Environment invalid or does not exist")
    return environment


def _document(params: Any) -> dict[str, Any]:
    """Return the document to record. It contains the chain, as operator-service writes it."""
    workflow = params["workflow"]
    document = dict(workflow) if isinstance(workflow, dict) else {}
    if (chain := chain_id(params)) is not None:
        _text(chain, "chainId")
        document["chainId"] = chain
    return document


def _answered_before(call: Call, wanted: Submission, environment: Environment) -> Response | None:
    """Return the first answer to this provider's Idempotency-Key. Raises HttpError 422 for a different request."""
    if wanted.idempotency_key is None:
        return None
    first = call.app.store.by_idempotency_key(wanted.provider, wanted.idempotency_key)
    if first is None:
        return None
    try:
        same = _canonical(first.submission, first.workflow.environment) == _canonical(wanted, environment.id)
    except RecursionError:  # such a document is never recorded
        same = False
    if not same:
        raise HttpError(422, "this Idempotency-Key was used for another request; send another key")
    return _first_answer(first)


def _canonical(submission: Submission, environment: str) -> bytes:
    """Return what a request asks for as canonical JSON: `1`, `1.0` and `true` differ, and keys are sorted."""
    import msgspec

    asked = (comparable(submission.agreement_id), comparable(submission.owner), submission.document, environment)
    return msgspec.json.encode(asked, order="deterministic")


def _first_answer(record: Record) -> Response:
    """Return the job as it was when it was recorded, so that every repetition gets the same answer."""
    workflow = record.workflow
    recorded = Workflow(workflow.id, workflow.environment, workflow.limits, workflow.created_at)
    return answer([status(Record(recorded, record.submission))])
