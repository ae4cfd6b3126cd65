"""The checks that routes make of their caller: an allowed signer with a fresh nonce, or the `Admin` header.

A signed route calls `require_signer`, does its work, and calls `consume` right before it answers. A request that is
answered with 503 has therefore not used its nonce and may be sent again unchanged. Routes that change something call
`require_unused` before the work, so that a replayed request changes nothing.
"""

from __future__ import annotations

import hmac

from functions.api.auth.session import Role, is_from_console, session_of
from functions.api.auth.signature import NonceRefused, RequestSigner, SignatureRefused, verify
from functions.api.http import Call, HttpError
from functions.settings import Settings


def require_signer(call: Call, message: str, *, prefix: str = "") -> RequestSigner:
    """Return the allowed signer of the request, whose nonce is not consumed yet. Raises HttpError.

    `prefix` is what operator-service's route puts before an error about a nonce.
    """
    try:
        return verify(call.params, message, call.app.settings, call.app.clock())
    except SignatureRefused as e:
        raise _error(e, prefix) from None


def require_unused(call: Call, signer: RequestSigner, *, prefix: str = "") -> None:
    """Refuse a nonce that was used before. Concurrent copies of one request may all pass. Raises HttpError."""
    if call.app.store.nonce_used(signer.address, signer.nonce):
        raise _error(signer.replayed(), prefix)


def consume(call: Call, signer: RequestSigner, *, prefix: str = "") -> None:
    """Use the signer's nonce. Of concurrent copies of one request, exactly one passes. Raises HttpError."""
    try:
        with call.app.store.begin() as tx:
            signer.consume(tx)
    except NonceRefused as e:
        raise _error(e, prefix) from None


def bound_to(call: Call, signer: RequestSigner) -> str | None:
    """Return the provider to whose jobs the request is limited. It is None where signatures are not required."""
    return signer.address if call.app.settings.signature_required else None


def require_admin(call: Call) -> None:
    """Require the `Admin` header, or an operator's session.

    Raises HttpError 400 if the header is missing, 401 if it is wrong or the session is over, 403 for another's session.
    """
    settings = call.app.settings
    if admin_is_open(settings):
        return
    given = call.request.headers.get("Admin", "")
    if given:
        if not is_admin(given, settings):
            raise HttpError(401, "Access admin route failed due to invalid admin address.")
        return
    session = session_of(call)
    if session is None and is_from_console(call.request):
        raise HttpError(401, "the session is over; sign in again")
    if session is None:
        raise HttpError(400, "Admin header is empty.")
    if session.role is not Role.OPERATOR:
        raise HttpError(403, "only an operator may do this")


def admin_is_open(settings: Settings) -> bool:
    """Return whether everybody is an operator, as on a laptop."""
    return settings.open_admin and not settings.allowed_admins


def is_admin(given: str, settings: Settings) -> bool:
    """Compare with every entry, each in constant time, ignoring case as operator-service does."""
    candidate = given.lower().encode()
    matches = [hmac.compare_digest(candidate, admin.lower().encode()) for admin in settings.allowed_admins if admin]
    return any(matches)


def _error(refused: SignatureRefused, prefix: str) -> HttpError:
    text = f"{prefix}{refused}" if isinstance(refused, NonceRefused) else str(refused)
    return HttpError(refused.status, text)
