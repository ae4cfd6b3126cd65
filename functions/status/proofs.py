"""The routes that prove a job: its crate, and the statements about it.

An operator, or a checker whom the policy names, gets the data holder's edition. The job's owner gets the consumer's:
through the provider that created the job, or with the token that owns the task of TES.
"""

from __future__ import annotations

import json

from msgspec.structs import replace
from werkzeug.wrappers import Response

from functions import __version__
from functions.api.auth.guard import bound_to, consume, require_signer
from functions.api.auth.principal import carries_token, require_principal
from functions.api.auth.reviewer import require_reviewer
from functions.api.http import Call, HttpError
from functions.api.ocean.requests import filter_value, message, require
from functions.api.review.answers import may_see
from functions.api.tes.messages import task_of
from functions.engine import sweep_settings, transparency
from functions.engine.app import App
from functions.status.jobs import is_covered, own
from functions.status.zip_stream import respond
from functions.trust import canonical, crate, decisions, statements
from functions.trust.attestation import envelope
from functions.trust.run_record import ATTESTED, Edition, RunRecord
from functions.trust.signing import SigningKey
from functions.workflow.model import Manifest, Record, WorkflowId
from functions.workflow.observation import Attested

_SIGNED = ("owner", "providerSignature", "nonce", "jobId")
_CAUSE = "attestation"


def get_crate(call: Call) -> Response:
    """GET /crate?jobId=: the crate of a job, as a ZIP of a BagIt bag."""
    record, edition = _visible(call)
    return respond(crate.build(run_of(call.app, record), edition), call.app.storage)


def attestation(call: Call) -> Response:
    """GET /attestation?jobId=: the signed statements about a job, one DSSE envelope on each line.

    The history then names the statement, unless its last line does already. The log gets both.
    """
    record, _ = _visible(call)
    keys = signing_keys(call.app)
    run = run_of(call.app, record)
    crates = [crate.build(run, edition) for edition in statements.EDITIONS]
    bodies = [canonical.encode(make(run, crates)) for make in (statements.release, statements.provenance)]
    digest = statements.payload_digest(bodies[0])
    last, _ = run.history[-1] if run.history else (None, "")
    if last is None or last.event != ATTESTED or last.facts.get("statement") != digest:
        call.app.transitions.apply(record.workflow.id, Attested(digest), _CAUSE)
    transparency.extend(call.app)  # the next sweep may be an hour away, and the proof of the log is often wanted next
    lines = "".join(f"{json.dumps(envelope(body, keys), separators=(',', ':'))}\n" for body in bodies)
    name = f'attachment; filename="sluice-{record.workflow.id}.intoto.jsonl"'
    return Response(lines, 200, {"Content-Type": statements.BUNDLE_TYPE, "Content-Disposition": name})


def run_of(app: App, record: Record) -> RunRecord:
    """Return all that is recorded of a job."""
    job, store = record.workflow.id, app.store
    evidence, held = store.evidence(job), store.held(job)
    manifest = held.manifest if held else Manifest()
    for task in store.get_tasks([job]):  # only this manifest has what was delivered to the client's URLs
        record = replace(record, manifest=task.record.manifest)
    return RunRecord(
        record,
        store.history(job),
        origin=app.settings.origin,
        holder=app.settings.holder_name,
        software=__version__,
        fetched=evidence.fetched or manifest.fetched,
        report=evidence.report or manifest.report,
        decisions=decisions.read_all(each.text for each in store.decisions(job)),
        held=manifest,
    )


def signing_keys(app: App) -> list[SigningKey]:
    """Return the keys that sign, the newest first. Raises HttpError 404 if there are none, and SettingsError."""
    if not app.settings.signing_key:
        raise HttpError(404, "this deployment signs nothing; its operator can set SIGNING_KEY")
    return sweep_settings.signing_keys(app.settings)


def _visible(call: Call) -> tuple[Record, Edition]:
    """Return the job, and the edition for whoever asks. Raises HttpError."""
    if "providerSignature" in call.params:
        return _unfrozen(call, _of_owner(call)), Edition.CONSUMER
    if carries_token(call):
        return _unfrozen(call, _of_task(call)), Edition.CONSUMER
    reviewer = require_reviewer(call)
    record = _record(call)
    if record is None or not may_see(reviewer.address, record):
        raise HttpError(404, f"No job {filter_value(call.params, 'jobId')}")
    wanted = str(call.params.get("edition", Edition.HOLDER))
    if wanted not in list(Edition):
        raise HttpError(400, f"`edition` must be one of {', '.join(Edition)}")
    return record, Edition(wanted)


def _of_owner(call: Call) -> Record:
    require(call.params, _SIGNED, f"GET:{call.request.path.rsplit('/', 1)[-1]}")
    signer = require_signer(call, message(call.params))
    record = _record(call)
    consume(call, signer)
    return own(record, call, bound_to(call, signer))


def _of_task(call: Call) -> Record:
    principal = require_principal(call)
    record = _record(call)
    id = str(filter_value(call.params, "jobId"))
    task_of(call, principal, id)
    if record is None:
        raise HttpError(404, f"there is no task {id}")
    return record


def _unfrozen(call: Call, record: Record) -> Record:
    """Return the record. Raises HttpError 403 if a freeze covers it."""
    frozen = [freeze.scope for freeze in call.app.store.freezes()]
    if frozen and is_covered(record, frozen):
        raise HttpError(403, f"The results of job {record.workflow.id} are frozen for now; ask the operator")
    return record


def _record(call: Call) -> Record | None:
    job = filter_value(call.params, "jobId")
    if not job:
        raise HttpError(400, "`jobId` is required")
    return call.app.store.get(WorkflowId(job))
