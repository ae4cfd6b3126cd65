"""Tells the operator's own services that a workflow started or ended, and what became of results that are held.

A start and an end are sent with operator-engine's payload and signature, a hold as a CloudEvent in structured mode,
signed as a Standard Webhook if NOTIFY_HOLD_SECRET is set.
The sweep delivers them from the outbox, so a delivery is retried, limited in time, and does not delay a workflow.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from functions.advance.webhooks import body_of, signature_headers
from functions.api.review.answers import report_of, summary
from functions.log import about
from functions.store.values import Outgoing
from functions.trust.chain import spell_time
from functions.variables import SettingsError
from functions.workflow.asset_ids import asset_ids
from functions.workflow.model import Phase, Record, Workflow

if TYPE_CHECKING:
    from functions.engine.app import App

logger = logging.getLogger(__name__)

JSON, CLOUDEVENT = "application/json", "application/cloudevents+json"
HOLD_SOURCE = "/sluice/advance"
SECONDS = 3.0  # for connecting and for each wait


def deliver(app: App, outgoing: Outgoing) -> bool:
    """POST one event. True if it was taken, or if no URL is set for it; False: try again later.

    If one of several URLs fails, all get the event again, with the same id.
    """
    settings = app.settings
    url_of = {"started": settings.notify_start_url, "finished": settings.notify_stop_url}
    urls = [url_of[outgoing.kind]] if outgoing.kind in url_of else list(settings.notify_hold_urls)
    if not any(urls):
        return True
    if outgoing.scope:
        return _tell(app, _event(outgoing, outgoing.scope, {"scope": outgoing.scope}), outgoing)
    record = app.store.get(outgoing.workflow)
    if record is None:
        return True
    if outgoing.kind in url_of:
        body = body_of(payload(record, settings.operator_private_key))
        return _post(urls[0], body, {"Content-Type": JSON}, outgoing)
    if _is_stale_reminder(outgoing, record.workflow):
        return True
    return _tell(app, hold_event(app, record, outgoing), outgoing)


def _is_stale_reminder(outgoing: Outgoing, workflow: Workflow) -> bool:
    """Whether the event is a reminder of results that no longer wait. The first event of a hold is never stale."""
    if outgoing.kind != "held" or workflow.phase is Phase.HELD or workflow.held_until is None:
        return False
    return outgoing.due_at > workflow.held_until - timedelta(seconds=workflow.limits.hold_seconds)


def hold_event(app: App, record: Record, outgoing: Outgoing) -> dict[str, Any]:
    """The CloudEvent about results that are, or were, held. It names no file and no owner."""
    held = app.store.held(outgoing.workflow)
    report = report_of(held) if held else None
    event = _event(outgoing, outgoing.workflow, summary(app.store, record, report))
    traceparent = record.workflow.traceparent  # CloudEvents' extension for distributed tracing
    return {**event, "traceparent": traceparent} if traceparent else event


def _event(outgoing: Outgoing, subject: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "type": f"dev.sluice.workflow.{outgoing.kind}.v1",
        "source": HOLD_SOURCE,
        "id": f"{subject}/{outgoing.id}",
        "subject": subject,
        "time": spell_time(outgoing.due_at),
        "datacontenttype": JSON,
        "data": data,
    }


def payload(record: Record, private_key: str) -> dict[str, Any]:
    """The body of a notification, keys in operator-engine's order; without a private key the signature is null."""
    algorithm, inputs = asset_ids(record.submission.document, unnamed=None)
    job, secret = record.workflow.id, record.submission.secret
    return {
        "algoDID": algorithm,
        "jobId": job,
        "secret": secret,
        "DID": inputs,
        "signature": sign(private_key, secret, inputs, job, algorithm) if private_key else None,
    }


def sign(private_key: str, secret: str, inputs: list[str], job: str, algorithm: str | None) -> str:
    """operator-engine's signature: over the four values' JSON, one after another; hex without `0x`."""
    from functions.ethereum import sign_text

    text = "".join(json.dumps(value) for value in (secret, inputs, job, algorithm))
    return sign_text(private_key, text).removeprefix("0x")


def _tell(app: App, event: dict[str, Any], outgoing: Outgoing) -> bool:
    body = body_of(event)
    try:
        signed = signature_headers(app.settings.notify_hold_secret, event["id"], body, app.clock())
    except SettingsError as e:
        logger.error("notification not sent: %s", e, extra=about(workflow=outgoing.workflow, kind=outgoing.kind))
        return False
    headers = {"Content-Type": CLOUDEVENT, **signed}
    taken = [_post(url, body, headers, outgoing) for url in app.settings.notify_hold_urls]
    return all(taken)


def _post(url: str, body: bytes, headers: Mapping[str, str], outgoing: Outgoing) -> bool:
    import urllib3

    fields = about(workflow=outgoing.workflow, kind=outgoing.kind, tries=outgoing.tries)
    try:
        with urllib3.PoolManager(timeout=urllib3.Timeout(SECONDS), retries=False) as http:
            response = http.request("POST", url, body=body, headers=headers, redirect=False, preload_content=False)
            response.close()
    except (urllib3.exceptions.HTTPError, ValueError) as e:
        logger.warning("notification failed: %s", type(e).__name__, extra=fields)
        return False
    if response.status >= 300:
        logger.warning("notification refused with %d", response.status, extra=fields)
    return response.status < 300
