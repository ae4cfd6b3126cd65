"""The reading routes of GA4GH TES."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from werkzeug.wrappers import Response

from functions import __version__
from functions.api.auth.principal import require_principal
from functions.api.http import Call, HttpError
from functions.api.json_answers import large_record
from functions.api.tes.list_query import page_token, task_query, view_of
from functions.api.tes.messages import answer, own_task
from functions.api.tes.task_view import View, task_view
from functions.status.jobs import is_covered
from functions.store.values import TaskEntry
from functions.workflow.destinations import ANY
from functions.workflow.tes_task import BACKEND_PARAMETERS

# Bytes of tasks and logs in one BASIC or FULL page: a page may have fewer tasks than were asked for.
MAX_PAGE_BYTES = 4 << 20
TES_VERSION = "1.1.0"


def service_info(call: Call) -> Response:
    """GET /service-info: describe the service. It needs no token."""
    settings = call.app.settings
    info: dict[str, Any] = {
        "id": settings.tes_service_id,
        "name": settings.tes_service_name,
        "type": {"group": "org.ga4gh", "artifact": "tes", "version": TES_VERSION},
        "organization": {"name": settings.tes_organization, "url": settings.tes_organization_url},
        "version": __version__,
        "storage": _storage(call),
        "tesResources_backend_parameters": list(BACKEND_PARAMETERS),
    }
    if settings.tes_contact_url:
        info["contactUrl"] = settings.tes_contact_url
    return answer(info)


def tasks(call: Call) -> Response:
    """GET /tasks: list the caller's tasks, newest first; of an admin, those of all owners."""
    principal = require_principal(call)
    args = call.request.args
    view, query = view_of(args), task_query(args, None if principal.admin else principal.owner)
    found = call.app.store.find_tasks(query)
    page = _fitting(found[: query.limit - 1], view)
    with large_record():
        listed: dict[str, Any] = {"tasks": _views(call, page, view)}
        if page and len(page) < len(found):
            listed["next_page_token"] = page_token(page[-1])
        return answer(listed)


def task(call: Call) -> Response:
    """GET /tasks/ID: show one task."""
    principal = require_principal(call)
    view = view_of(call.request.args)
    entry = own_task(call, principal)
    if view is View.MINIMAL:
        return answer(_minimal(entry))
    with large_record():
        shown = _views(call, [entry], view)
        if not shown:
            raise HttpError(404, f"there is no task {entry.id}")
        return answer(shown[0])


def _views(call: Call, entries: Sequence[TaskEntry], view: View) -> list[dict[str, Any]]:
    if view is View.MINIMAL:
        return [_minimal(entry) for entry in entries]
    scopes = [freeze.scope for freeze in call.app.store.freezes()]
    found = call.app.store.get_tasks([entry.id for entry in entries])
    return [task_view(each, view, frozen=bool(scopes) and is_covered(each.record, scopes)) for each in found]


def _minimal(entry: TaskEntry) -> dict[str, Any]:
    return {"id": entry.id, "state": entry.state}


def _fitting(entries: Sequence[TaskEntry], view: View) -> Sequence[TaskEntry]:
    """Return as many entries as fit into one answer, at least one."""
    if view is View.MINIMAL:
        return entries
    left = MAX_PAGE_BYTES
    for n, entry in enumerate(entries):
        left -= entry.size
        if left < 0 and n:
            return entries[:n]
    return entries


def _storage(call: Call) -> list[str]:
    """Return the URL prefixes to which outputs may go, in some environment."""
    prefixes = [prefix for environment in call.app.environments.values() for prefix in environment.tes.outputs]
    return [prefix for prefix in dict.fromkeys(prefixes) if prefix != ANY]
