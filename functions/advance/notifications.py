"""Tells the operator's own service that a workflow started or ended: operator-engine's payload and signature.

Delivered by the sweep from the outbox, so it is retried, limited in time, and never in the way of a workflow.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from functions.log import about
from functions.store.values import Outgoing
from functions.workflow.document import asset_ids
from functions.workflow.model import Record

if TYPE_CHECKING:
    from functions.engine.app import App

logger = logging.getLogger(__name__)

SECONDS = 3.0  # for connecting and for each wait


def deliver(app: App, outgoing: Outgoing) -> bool:
    """POST one event. True if it was taken, or if nobody is to be told of it; False: try again later."""
    url = {"started": app.settings.notify_start_url, "finished": app.settings.notify_stop_url}.get(outgoing.kind)
    record = app.store.get(outgoing.workflow) if url else None
    if not url or record is None:
        return True
    return _post(url, payload(record, app.settings.operator_private_key), outgoing)


def payload(record: Record, private_key: str) -> dict[str, Any]:
    """What is sent, keys in operator-engine's order; without a key the signature is null."""
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


def _post(url: str, content: dict[str, Any], outgoing: Outgoing) -> bool:
    import urllib3

    told = about(workflow=outgoing.workflow, kind=outgoing.kind, tries=outgoing.tries)
    try:
        with urllib3.PoolManager(timeout=urllib3.Timeout(SECONDS), retries=False) as http:
            response = http.request("POST", url, json=content, redirect=False, preload_content=False)
            response.close()
    except (urllib3.exceptions.HTTPError, ValueError) as e:
        logger.warning("notification failed: %s", type(e).__name__, extra=told)
        return False
    if response.status >= 300:
        logger.warning("notification refused with %d", response.status, extra=told)
    return response.status < 300
