"""The console's session: a cookie that the server signs. There is no store of sessions.

The key is made from secrets that all functions have, so that each accepts what another has signed. Without any such
secret everybody could make the key, so no session is made or accepted. A new Admin value or a new password of the
database ends all sessions. A session of a token of the file ends with its line there.

A cookie travels with every request that any page makes to this host. So a session counts only in a request that the
console itself has sent: see `is_from_console`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct
from werkzeug.wrappers import Request

from functions.api.auth import tokens
from functions.settings import Settings
from functions.untrusted import Malformed, parse_json

if TYPE_CHECKING:
    from functions.api.http import Call

COOKIE = "sluice_session"
# Pages of other sites cannot add it: the answer to their preflight does not allow it.
HEADER = "Sluice-Console"
SECONDS = 4 * 3600  # how long a session lasts
_SAFE = ("GET", "HEAD")
_PASSWORD_IN_URL = re.compile(r"://[^/?#]*:[^/?#@]+@|[?&]password=[^&]")


class NoSessionKey(Exception):
    """The settings hold no secret, so the server cannot sign a session."""


class Role(StrEnum):
    """What a session may do."""

    OPERATOR = "operator"  # what the `Admin` header may
    CHECKER = "checker"  # reads held results, by the address of a wallet
    OBSERVER = "observer"  # reads the workflows of all owners, with a token that says `admin`
    CONSUMER = "consumer"  # reads their own workflows, with a token


class Session(Struct, frozen=True):
    """Who has signed in. `name`: a checker's address or a token's owner; empty for an operator. `until`: since 1970.

    `token`: the SHA-256 of a token of the file, which nobody can turn back into the token; otherwise empty.
    """

    role: Role
    name: str
    until: int
    token: str = ""


def cookie(session: Session, settings: Settings) -> str:
    """Return the value of the cookie. Raises NoSessionKey."""
    told = [session.role, session.name, session.until, session.token]
    payload = base64.urlsafe_b64encode(json.dumps(told).encode()).decode()
    return f"{payload}.{_signature(payload, _key(settings))}"


def session_of(call: Call) -> Session | None:
    """Return the session of the request; None if it has none that counts."""
    text = call.request.cookies.get(COOKIE, "")
    if not text or not is_from_console(call.request):
        return None
    session = _read(text, call.app.settings)
    if session is None:
        return None
    is_over = call.app.clock().timestamp() >= session.until or _is_revoked(session, call.app.settings)
    return None if is_over else session


def _read(text: str, settings: Settings) -> Session | None:
    """Return what a cookie says; None if this server has not signed it, or another version of Sluice has."""
    payload, _, signature = text.partition(".")
    try:
        if not hmac.compare_digest(signature.encode(), _signature(payload, _key(settings)).encode()):
            return None
        return Session(*parse_json(base64.urlsafe_b64decode(payload), tuple[Role, str, int, str]))
    except (NoSessionKey, Malformed, ValueError):  # ValueError: it is not base64
        return None


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


def _key(settings: Settings) -> bytes:
    """Return the key that signs sessions. Raises NoSessionKey."""
    url, password, operator = settings.database_url, settings.postgres_password, settings.operator_private_key
    if not (any(settings.allowed_admins) or password or operator or _PASSWORD_IN_URL.search(url)):
        raise NoSessionKey
    return hashlib.sha256(
        json.dumps(["sluice/session/v1", url, password, operator, *settings.allowed_admins]).encode()
    ).digest()


def _signature(payload: str, key: bytes) -> str:
    return hmac.new(key, payload.encode(), hashlib.sha256).hexdigest()
