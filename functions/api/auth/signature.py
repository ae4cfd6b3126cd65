"""Verifies who signed a request: recover the address, authorise it, consume its nonce, in this order.

A Provider signs the route's message followed by the text of the nonce. Signatures over the message alone, which
operator-service and ocean-node use, can be replayed; ACCEPT_UNSIGNED_NONCE allows them.

The command line imports this module for the texts that it signs, so the module imports little.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from functions.api.auth.nonce import nanoseconds, too_far_ahead
from functions.ethereum import comparable, recover

if TYPE_CHECKING:
    from functions.settings import Settings
    from functions.store.transaction_port import Transaction

CHECKER_SCHEME = "Checker "  # of the Authorization header


class SignatureRefused(Exception):
    """The request is refused with `status`: 400 if it cannot be checked or is a replay, 401 if it is not allowed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NonceRefused(SignatureRefused):
    """The signer is allowed, but the nonce is not a time, too far ahead, used, or older than what is remembered."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


class RequestSigner(Struct, frozen=True):
    """The allowed provider that signed a request, with the request's nonce."""

    address: str  # lower-case
    nonce: int  # nanoseconds

    def consume(self, tx: Transaction) -> None:
        """Use the nonce in this transaction. Raises NonceRefused if it was used before."""
        if not tx.use_nonce(self.address, self.nonce):
            raise self.replayed()

    def replayed(self) -> NonceRefused:
        """Return the error for a used nonce. It begins as operator-service's."""
        return NonceRefused(
            f"Invalid signature expected nonce > current nonce ({self.nonce} ns): the nonce was used before "
            "or is too old to be checked. Send each request with a new nonce, the current time.",
        )


def signed_message(owner: Any, job: str | None = None) -> str:
    """Return what a Provider signs, before the nonce: the owner (`None` if missing), then the job if one is named."""
    return f"{owner}{job or ''}"


def checker_message(method: str, path: str, nonce: str) -> str:
    """Return what a checker signs for one request. `path` includes the query."""
    return f"sluice checker {method} {path} {nonce}"


def verify(params: Mapping[str, Any], message: str, settings: Settings, now: datetime) -> RequestSigner:
    """Return the allowed signer of `message`, without consuming the nonce. Raises SignatureRefused."""
    if message.startswith("did:"):
        # The operator's key signs DIDs, for downloads from Providers. Such a signature must not pass here.
        raise SignatureRefused(400, "`owner` must not be a DID")
    signature, nonce = params.get("providerSignature"), params.get("nonce")
    candidates = _recover(signature, message, nonce, settings)
    address = _authorised(candidates, settings)
    if address is None:
        raise SignatureRefused(
            401,
            f"Invalid signature {_shortened(str(signature))} of documentId {message}{nonce},"
            f"the signing ethereum account {candidates[0]} is not authorized to use this service.",
        )
    try:
        number = nanoseconds(nonce)
    except ValueError as e:
        raise NonceRefused(str(e)) from None
    if too_far_ahead(number, now):
        raise NonceRefused("nonce is more than a day ahead of this server's clock; use the current time")
    return RequestSigner(address, number)


def _recover(signature: Any, message: str, nonce: Any, settings: Settings) -> list[str]:
    """Return the addresses that may have signed, the likeliest first."""
    signed = [f"{message}{nonce}", message] if settings.accept_unsigned_nonce else [f"{message}{nonce}"]
    try:
        if not isinstance(signature, str):
            raise ValueError
        return [recover(text, signature) for text in signed]
    except ValueError:
        raise SignatureRefused(400, "Failed to recover address") from None


def _authorised(candidates: list[str], settings: Settings) -> str | None:
    allowed = {comparable(address) for address in settings.allowed_providers}
    found = next((address for address in candidates if comparable(address) in allowed), None)
    return found if settings.signature_required or found else candidates[0]


def _shortened(signature: str) -> str:
    return f"{signature[:10]}…"
