"""Who signs a request: verify → authorise → consume the nonce, in this order.

Signed is the message of the route with the nonce's text appended, as the Ocean Provider does it. The form without the
nonce (operator-service's own, ocean-node's) can be replayed and needs ACCEPT_UNSIGNED_NONCE.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.api.auth.nonce import nanoseconds, too_far_ahead
from functions.ethereum import recover
from functions.settings import Settings
from functions.store.ports import Transaction


class Refused(Exception):
    """The request is not to be served. `status`: 400 cannot be checked or was sent before, 401 not allowed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NonceRefused(Refused):
    """The signer may do it, but not with this nonce: no time, too far ahead, used before, or too old to tell."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


@dataclass(frozen=True)
class Signer:
    """A provider that may do what it asks, once."""

    address: str  # lower-case
    nonce: int  # nanoseconds

    def consume(self, tx: Transaction) -> None:
        """Use the nonce up, if the transaction is committed. Raises NonceRefused if that was done before."""
        if not tx.use_nonce(self.address, self.nonce):
            raise self.replayed()

    def replayed(self) -> NonceRefused:
        """The refusal; it begins as operator-service's."""
        return NonceRefused(
            f"Invalid signature expected nonce > current nonce ({self.nonce} ns): it was used before, "
            "or is older than all that is remembered; every request needs a new one.",
        )


def signed_message(owner: Any, job: str | None = None) -> str:
    """Return what a Provider signs, before the nonce: the owner (`None` if missing), then the job if one is named."""
    return f"{owner}{job or ''}"


def verify(params: Mapping[str, Any], message: str, settings: Settings, now: datetime) -> Signer:
    """The allowed signer of `message`; its nonce is not consumed yet. Raises Refused."""
    signature, nonce = params.get("providerSignature"), params.get("nonce")
    candidates = _recover(signature, message, nonce, settings)
    address = _authorised(candidates, settings)
    if address is None:
        raise Refused(
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
    return Signer(address, number)


def _recover(signature: Any, message: str, nonce: Any, settings: Settings) -> list[str]:
    """The addresses that may have signed, likeliest first."""
    signed = [f"{message}{nonce}", message] if settings.accept_unsigned_nonce else [f"{message}{nonce}"]
    try:
        if not isinstance(signature, str):
            raise ValueError
        return [recover(text, signature) for text in signed]
    except ValueError:
        raise Refused(400, "Failed to recover address") from None


def _authorised(candidates: list[str], settings: Settings) -> str | None:
    allowed = {address.lower() for address in settings.allowed_providers}
    found = next((address for address in candidates if address in allowed), None)
    return found if settings.signature_required or found else candidates[0]


def _shortened(signature: str) -> str:
    return f"{signature[:10]}…"
