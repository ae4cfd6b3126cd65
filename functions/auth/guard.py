"""The signature at the door of a route."""

from __future__ import annotations

from functions.auth.signature import NonceRefused, Refused, Signer, verify
from functions.web import Call, HttpError


def require_signer(call: Call, message: str, *, prefix: str = "") -> Signer:
    """The allowed signer of the request, its nonce still unused. Raises HttpError.

    `prefix`: what operator-service puts before everything that is wrong with a nonce, by route.
    """
    try:
        return verify(call.params, message, call.sluice.settings, call.sluice.clock())
    except Refused as e:
        raise _error(e, prefix) from None


def require_signature(call: Call, message: str, *, prefix: str = "") -> str:
    """The address of the allowed signer; its nonce is used up. Raises HttpError."""
    signer = require_signer(call, message, prefix=prefix)
    consume(call, signer, prefix=prefix)
    return signer.address


def consume(call: Call, signer: Signer, *, prefix: str = "") -> None:
    """Use the signer's nonce up. Raises HttpError."""
    try:
        signer.consume(call.sluice.store)
    except NonceRefused as e:
        raise _error(e, prefix) from None


def _error(refused: Refused, prefix: str) -> HttpError:
    text = f"{prefix}{refused}" if isinstance(refused, NonceRefused) else str(refused)
    return HttpError(refused.status, text)
