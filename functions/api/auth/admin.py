"""The `Admin` header: one of ALLOWED_ADMINS, in any case of letters as operator-service compares it."""

from __future__ import annotations

import hmac

from functions.api.http import Call, HttpError
from functions.settings import Settings


def require_admin(call: Call) -> None:
    """Raises HttpError 400 without the header, 401 with a wrong one."""
    settings = call.app.settings
    if settings.open_admin and not settings.allowed_admins:
        return
    given = call.request.headers.get("Admin", "")
    if not given:
        raise HttpError(400, "Admin header is empty.")
    if not _is_admin(given, settings):
        raise HttpError(401, "Access admin route failed due to invalid admin address.")


def _is_admin(given: str, settings: Settings) -> bool:
    """In a time that tells nothing: every entry is compared, each in constant time."""
    candidate = given.lower().encode()
    matches = [hmac.compare_digest(candidate, admin.lower().encode()) for admin in settings.allowed_admins if admin]
    return any(matches)
