"""Authenticates reviewers of held results: checkers by a wallet's signature, operators by the `Admin` header.

A checker sends `Authorization: Checker <nonce>:<signature>`. The wallet signs (EIP-191) the text
`sluice checker <METHOD> <path with query> <nonce>`. A nonce is the current time and is used once.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct

from functions import ethereum
from functions.api.auth.guard import require_admin
from functions.api.auth.nonce import nanoseconds
from functions.api.auth.session import Role, session_of
from functions.api.auth.signature import CHECKER_SCHEME, checker_message
from functions.api.http import Call, HttpError

ADMIN = "operator"  # how an operator is named in the history
# A signature over a request is good for this long, in either direction of the clocks.
WINDOW = timedelta(minutes=5)


class Reviewer(Struct, frozen=True):
    """The caller. `address` is empty for an operator."""

    address: str = ""

    @property
    def name(self) -> str:
        """The name in the history."""
        return self.address or ADMIN


def require_reviewer(call: Call) -> Reviewer:
    """Return the checker or the operator who asks. Raises HttpError 400 or 401."""
    given = call.request.headers.get("Authorization", "")
    if given.startswith(CHECKER_SCHEME):
        return Reviewer(_checker(call, given.removeprefix(CHECKER_SCHEME)))
    session = session_of(call)
    if session and session.role is Role.CHECKER:
        return Reviewer(session.name)
    require_admin(call)
    return Reviewer()


def _checker(call: Call, given: str) -> str:
    nonce, _, signature = given.partition(":")
    try:
        number = nanoseconds(nonce)
        signed = checker_message(call.request.method, call.request.full_path.rstrip("?"), nonce)
        address = ethereum.recover_text(signed, signature)
    except ValueError as e:
        raise HttpError(401, f"the checker's signature is refused: {e}") from None
    if abs(number - int(call.app.clock().timestamp() * 10**9)) > WINDOW.total_seconds() * 10**9:
        raise HttpError(401, "the checker's signature is refused: its nonce is not the current time")
    with call.app.store.begin() as tx:
        if not tx.use_nonce(address, number):
            raise HttpError(401, "the checker's signature is refused: its nonce was used before")
    return address
