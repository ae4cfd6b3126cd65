"""The routes by which a Provider reads the status of jobs and their results."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace
from werkzeug.wrappers import Response

from functions.api.auth.guard import bound_to, consume, require_signer
from functions.api.http import Call, HttpError
from functions.api.json_answers import answer_pages, large_record
from functions.api.ocean.answers import PAGE_BYTES, statuses
from functions.api.ocean.requests import filter_value, message, query, require
from functions.ethereum import comparable
from functions.workflow.model import Record, WorkflowId

_STATUS_PREFIX = "Error getting the status: "
_RESULT_PREFIX = "Error getResult: "
_RESULT = ("owner", "providerSignature", "nonce", "index", "jobId")


def jobs(call: Call) -> Response:
    """GET /compute: list the jobs that match all filters, newest first."""
    wanted = query(call.params)
    if not (wanted.agreement_id or wanted.workflow or wanted.owner):
        raise HttpError(400, "You have to specify one of agreementId, jobId or owner")
    signer = require_signer(call, message(call.params), prefix=_STATUS_PREFIX)
    found = call.app.store.find_in_pages(replace(wanted, provider=bound_to(call, signer)), PAGE_BYTES)
    answered = answer_pages(statuses(page, call.app.store) for page in found)
    consume(call, signer, prefix=_STATUS_PREFIX)
    return answered


def result(call: Call) -> Response:
    """GET /getResult: send one published file to the job's owner, through the provider that created the job."""
    require(call.params, _RESULT, "GET:/getResult")
    signer = require_signer(call, message(call.params), prefix=_RESULT_PREFIX)
    job = filter_value(call.params, "jobId")
    with large_record():
        record, files = (call.app.store.get_published(WorkflowId(job)) if job else None) or (None, ())
    frozen = [freeze.scope for freeze in call.app.store.freezes()]
    consume(call, signer, prefix=_RESULT_PREFIX)
    index = _index(call.params["index"])
    record = own(record, call, bound_to(call, signer))
    if not files:
        raise HttpError(404, f"No results for job {record.workflow.id}")
    if record.workflow.removed or record.workflow.expired:
        what = "were removed" if record.workflow.removed else "have expired"
        raise HttpError(410, f"The results of job {record.workflow.id} {what}")
    if frozen and is_covered(record, frozen):
        raise HttpError(403, f"The results of job {record.workflow.id} are frozen for now; ask the operator")
    if index < 0:
        raise HttpError(404, f"Negative index {index}")
    if index >= len(files):
        raise HttpError(404, f"No such index {index} in this compute job")
    from functions.status.results import respond

    response = respond(call.request, files[index], call.app.storage)
    response.headers["Sluice-Head"] = record.workflow.head  # of the history; see the status object
    return response


def is_covered(record: Record, scopes: Sequence[str]) -> bool:
    """Whether a freeze covers the job: its environment, its data, or everything. A document that we cannot read is."""
    from functions.trust.admission import data_sets
    from functions.trust.freeze import is_frozen
    from functions.workflow.document import DocumentError
    from functions.workflow.tes_task import document_of

    try:
        data = data_sets(document_of(record.submission))
    except DocumentError:  # such as one that operator-service has recorded
        return True
    return is_frozen(scopes, record.workflow.environment, data)


def _index(value: object) -> int:
    text = str(value)
    try:
        if len(text) > 20:
            raise ValueError("an index has at most 20 digits")
        return int(text)
    except ValueError as e:
        raise HttpError(400, f"{_RESULT_PREFIX}{e}") from None


def own(record: Record | None, call: Call, provider: str | None) -> Record:
    """Return the job if it is this owner's and provider's. Unknown jobs get the same answer as those of others."""
    job, owner = call.params["jobId"], str(call.params["owner"])
    if record is None or comparable(record.submission.owner) != comparable(owner):
        raise HttpError(404, f"Owner {owner} mismatch for job {job}")
    if provider not in (None, record.submission.provider) and not record.submission.adopted:
        raise HttpError(404, f"Provider {provider} mismatch for job {job}")
    return record
