"""The console's session: a cookie that the server signs. There is no store of sessions.

The key is made from secrets that all functions have, so that each accepts what another has signed. A new Admin value
or a new password of the database ends all sessions. A session of a token of the file ends with its line there.

A cookie travels with every request that any page makes to this host. So a session counts only in a request that the
console itself has sent: see `is_from_console`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from werkzeug.wrappers import Request

from functions.api.auth import tokens
from functions.settings import Settings

if TYPE_CHECKING:
    from functions.api.http import Call

COOKIE = "sluice_session"
# Pages of other sites cannot add it: the answer to their preflight does not allow it.
HEADER = "Sluice-Console"
SECONDS = 4 * 3600  # how long a session lasts
_SAFE = ("GET", "HEAD")


class Role(StrEnum):
    """What a session may do."""

    OPERATOR = "operator"  # what the `Admin` header may
    CHECKER = "checker"  # reads held results, by the address of a wallet
    OBSERVER = "observer"  # reads the workflows of all owners, with a token that says `admin`
    CONSUMER = "consumer"  # reads the own workflows, with a token


@dataclass(frozen=True)
class Session:
    """Who has signed in. `name`: a checker's address or a token's owner; empty for an operator. `until`: since 1970.

    `token`: the SHA-256 of a token of the file, which nobody can turn back into the token; otherwise empty.
    """

    role: Role
    name: str
    until: int
    token: str = ""


def cookie(session: Session, settings: Settings) -> str:
    """Return the value of the cookie."""
    told = [session.role, session.name, session.until, session.token]
    payload = base64.urlsafe_b64encode(json.dumps(told).encode()).decode()
    return f"{payload}.{_signature(payload, settings)}"


def session_of(call: Call) -> Session | None:
    """Return the session of the request; None if it has none that counts."""
    text = call.request.cookies.get(COOKIE, "")
    if not text or not is_from_console(call.request):
        return None
    payload, _, signature = text.partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(payload, call.app.settings).encode()):
        return None
    role, name, until, token = json.loads(base64.urlsafe_b64decode(payload))
    session = Session(Role(role), name, until, token)
    is_over = call.app.clock().timestamp() >= session.until or _is_revoked(session, call.app.settings)
    return None if is_over else session


def _is_revoked(session: Session, settings: Settings) -> bool:
    """Return whether the token that opened the session has lost its line, or says something else now."""
    if not session.token:
        return False
    entry = tokens.find_digest(session.token, settings.tes_tokens_file) if settings.tes_tokens_file else None
    return entry is None or entry.owner != session.name or entry.admin is not (session.role is Role.OBSERVER)


def is_from_console(request: Request) -> bool:
    """Return whether the console's own page has sent the request.

    It adds the header HEADER. Browsers say where a request comes from in Sec-Fetch-Site or, over plain HTTP, in Origin.
    """
    if request.headers.get(HEADER) != "1":
        return False
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("Origin")
    if origin is None:
        return request.method in _SAFE
    return urlsplit(origin).netloc == request.host


def _signature(payload: str, settings: Settings) -> str:
    secrets = [settings.database_url, settings.postgres_password, settings.operator_private_key]
    key = hashlib.sha256(json.dumps(["sluice/session/v1", *secrets, *settings.allowed_admins]).encode()).digest()
    return hmac.new(key, payload.encode(), hashlib.sha256).hexdigest()
