"""Signs people in to the console and out again."""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Response

from functions.api.auth.guard import admin_is_open, is_admin
from functions.api.auth.principal import sign_in as principal_of
from functions.api.auth.reviewer import require_reviewer
from functions.api.auth.session import (
    COOKIE,
    SECONDS,
    NoSessionKey,
    Role,
    Session,
    cookie,
    is_from_console,
    session_of,
)
from functions.api.auth.signature import CHECKER_SCHEME
from functions.api.http import Call, HttpError
from functions.api.json_answers import answer

_NOT_FROM_HERE = "only the console may sign in here; open /console/ on this host"
_NO_KEY = "this server has no secret to sign sessions with; its operator must set ALLOWED_ADMINS"


def session(call: Call) -> Response:
    """GET /console/api/session: return who is signed in, or `{"role": null}`."""
    if admin_is_open(call.app.settings):
        return answer(_shown(call, Session(Role.OPERATOR, "", 0)) | {"open": True})
    found = session_of(call)
    return answer(_shown(call, found) if found else {"role": None})


def sign_in(call: Call) -> Response:
    """POST /console/api/session: exchange the Admin value, a token, or a checker's signature for a session.

    The body is `{"secret": "…"}`. A checker sends the header `Authorization: Checker …` and an empty body.
    """
    if not is_from_console(call.request):
        raise HttpError(403, _NOT_FROM_HERE)
    now = int(call.app.clock().timestamp())
    new = _who(call, now + SECONDS)
    try:
        value = cookie(new, call.app.settings)
    except NoSessionKey:
        raise HttpError(403, _NO_KEY) from None
    response = answer(_shown(call, new))
    _set_cookie(call, response, value, new.until - now)
    return response


def _who(call: Call, until: int) -> Session:
    """Return the new session, which lasts at most until a time, in seconds since 1970."""
    if call.request.headers.get("Authorization", "").startswith(CHECKER_SCHEME):
        return Session(Role.CHECKER, require_reviewer(call).address, until)
    secret = str(call.params.get("secret", ""))
    if is_admin(secret, call.app.settings):
        return Session(Role.OPERATOR, "", until)
    known = principal_of(secret, call.app)
    if known is None:
        raise HttpError(401, "this is neither an Admin value (ALLOWED_ADMINS) nor a valid token of this server")
    role = Role.OBSERVER if known.admin else Role.CONSUMER
    return Session(role, known.owner, until if known.until is None else min(until, known.until), known.token)


def sign_out(call: Call) -> Response:
    """DELETE /console/api/session: forget the session in this browser."""
    if not is_from_console(call.request):
        raise HttpError(403, _NOT_FROM_HERE)
    response = answer({"role": None})
    _set_cookie(call, response, "", 0)
    return response


def _set_cookie(call: Call, response: Response, value: str, seconds: int) -> None:
    # TLS ends at the gateway; the page's origin tells whether there is any.
    is_secure = call.request.headers.get("Origin", "").startswith("https:")
    response.set_cookie(COOKIE, value, max_age=seconds, httponly=True, samesite="Strict", secure=is_secure)


def _shown(call: Call, session: Session) -> dict[str, Any]:
    return {"role": session.role, "name": session.name, "until": session.until, "open": False}
