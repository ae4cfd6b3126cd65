"""The signature at the door of a route.

The order is: `require_signer`, the work, `consume` right before the answer. So a request that is answered with 503 has
not used its nonce up, and may be sent again as it is. What changes something asks `require_unused` first, so that
an old request that is sent again changes nothing.
"""

from __future__ import annotations

from functions.api.auth.signature import NonceRefused, Refused, Signer, verify
from functions.api.http import Call, HttpError


def require_signer(call: Call, message: str, *, prefix: str = "") -> Signer:
    """The allowed signer of the request, its nonce still unused. Raises HttpError.

    `prefix`: what operator-service puts before everything that is wrong with a nonce, by route.
    """
    try:
        return verify(call.params, message, call.app.settings, call.app.clock())
    except Refused as e:
        raise _error(e, prefix) from None


def require_unused(call: Call, signer: Signer, *, prefix: str = "") -> None:
    """Refuse a nonce that was used before; of equal requests at once all may pass here. Raises HttpError."""
    if call.app.store.nonce_used(signer.address, signer.nonce):
        raise _error(signer.replayed(), prefix)


def consume(call: Call, signer: Signer, *, prefix: str = "") -> None:
    """Use the signer's nonce up: of equal requests exactly one passes. Raises HttpError."""
    try:
        with call.app.store.begin() as tx:
            signer.consume(tx)
    except NonceRefused as e:
        raise _error(e, prefix) from None


def _error(refused: Refused, prefix: str) -> HttpError:
    text = f"{prefix}{refused}" if isinstance(refused, NonceRefused) else str(refused)
    return HttpError(refused.status, text)
