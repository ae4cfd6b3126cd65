"""The caller: a principal, known by a token that it sends as bearer or as the password of basic authentication.

A token is one of the operator's file (`tokens`), or a JWT of the OpenID Connect issuer (`oidc`).
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from functions.api.auth import tokens
from functions.api.http import Call, HttpError

if TYPE_CHECKING:
    from functions.engine.app import App

LOCAL = "local"  # the owner of everything on a laptop
MAX_TOKEN = 16_384  # characters


@dataclass(frozen=True)
class Principal:
    """Somebody whom the server knows. `environments`: where their jobs may run; None means everywhere.

    `token`: the SHA-256 of a token of the file; empty for a JWT. `until`: the end of a JWT, since 1970.
    """

    owner: str
    environments: frozenset[str] | None = None
    admin: bool = False
    token: str = field(default="", compare=False)
    until: int | None = field(default=None, compare=False)

    def may_use(self, environment: str) -> bool:
        """Whether their jobs may run in the environment."""
        return self.environments is None or environment in self.environments


def require_principal(call: Call) -> Principal:
    """Return who calls. Raises HttpError 401 if the request carries no valid token."""
    if _is_open(call.app):
        return Principal(LOCAL)  # whatever the request carries: some clients send `Basic None:None`
    given = _token(call.request.headers.get("Authorization", ""))
    found = sign_in(given, call.app) if given else None
    if found is None:
        why = "the token is not valid" if given else "the request carries no token"
        raise HttpError(
            401,
            f"{why}; send `Authorization: Bearer TOKEN`, or the token as the password of basic authentication",
            {"WWW-Authenticate": 'Bearer realm="sluice"'},
        )
    return found


def carries_token(call: Call) -> bool:
    """Whether a request carries a principal's token. For routes that operators and checkers use too."""
    headers = call.request.headers
    scheme = headers.get("Authorization", "").partition(" ")[0].lower()
    return scheme in ("bearer", "basic") and "Admin" not in headers


def sign_in(token: str, app: App) -> Principal | None:
    """Return the principal of a token; None if it is not valid. Raises SettingsError, and Unavailable without keys."""
    settings = app.settings
    if len(token) > MAX_TOKEN:
        return None
    if settings.oidc_issuer and token.count(".") == 2:
        from functions.api.auth import oidc

        claims = oidc.verify(token, settings)
        return Principal(claims.owner, claims.environments, claims.admin, until=claims.until) if claims else None
    if not settings.tes_tokens_file:
        return None
    entry = tokens.find(token, settings.tes_tokens_file)
    return Principal(entry.owner, entry.environments, entry.admin, entry.digest) if entry else None


def _is_open(app: App) -> bool:
    settings = app.settings
    return settings.open_tes and not settings.tes_tokens_file and not settings.oidc_issuer


def _token(header: str) -> str:
    """Return the token of an `Authorization` header; empty if there is none."""
    scheme, _, value = header.partition(" ")
    match scheme.lower():
        case "bearer":
            return value.strip()
        case "basic":
            try:
                return b64decode(value, validate=True).decode().partition(":")[2]
            except ValueError:
                return ""
        case _:
            return ""
