"""Signs a POST by Standard Webhooks 1.0 (standardwebhooks.com), so that its receiver recognises a forgery."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from datetime import datetime
from typing import Any

from functions.engine.sweep_settings import webhook_keys


def body_of(content: Any) -> bytes:
    """Return the body of a POST: the bytes that are signed and sent."""
    return json.dumps(content, separators=(",", ":")).encode()


def signature_headers(secrets: str, event_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """Return the headers that sign `body`; none without secrets.

    Several secrets, separated by white space, each give a signature, so that a secret can be replaced. Raises
    SettingsError.
    """
    keys = webhook_keys(secrets)
    if not keys:
        return {}
    # The specification forbids dots in an id, and the id of a freeze may name a URL.
    message = f"evt_{hashlib.sha256(event_id.encode()).hexdigest()[:32]}"
    at = str(int(now.timestamp()))
    signed = b".".join((message.encode(), at.encode(), body))
    signatures = [b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys]
    return {
        "webhook-id": message,
        "webhook-timestamp": at,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
