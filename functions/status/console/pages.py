"""What the console's pages read. Each list is one indexed query, and is answered with 304 while nothing changes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from werkzeug.wrappers import Response

from functions.api.auth.guard import require_admin
from functions.api.auth.session import Role, session_of
from functions.api.http import Call, HttpError
from functions.api.json_answers import answer, large_record
from functions.api.ocean.answers import epoch
from functions.status.console import console_views as views
from functions.status.console.console_views import Viewer
from functions.store.listing import DIALECTS, STATES
from functions.store.values import Listing
from functions.workflow.model import Phase, WorkflowId

PAGE = 50  # workflows
_QUEUE = 1000  # positions in the queue that are shown
_LONGEST = 255  # characters of a filter


def overview(call: Call) -> Response:
    """GET /console/api/overview: list the environments with their slots, and what is frozen."""
    viewer = _viewer(call)
    unfinished = call.app.store.unfinished_by_phase()
    environments = [
        views.environment(each, unfinished.get(each.id, {}), viewer) for each in call.app.environments.values()
    ]
    freezes = [views.freeze(each) for each in call.app.store.freezes()] if viewer.sees_all else []
    return _unless_same(call, {"environments": environments, "freezes": freezes})


def workflows(call: Call) -> Response:
    """GET /console/api/workflows?state=&owner=&environment=&dialect=&id=&before=: list a page, newest first."""
    viewer = _viewer(call)
    found = list(call.app.store.summaries(_listing(call, viewer)))
    more = len(found) > PAGE
    shown = [views.summary(each, viewer) for each in found[:PAGE]]
    following = f"{epoch(found[PAGE - 1].created_at)},{found[PAGE - 1].id}" if more else None
    return _unless_same(call, {"workflows": shown, "next": following})


def workflow(call: Call) -> Response:
    """GET /console/api/workflows/{id}: show all that is recorded of a workflow, without its secrets and URLs."""
    viewer = _viewer(call)
    id_ = WorkflowId(call.captured["job"])
    store = call.app.store
    with large_record():
        record = store.get(id_)
        if record is None or not viewer.may_see(record.submission.owner):
            raise HttpError(404, f"there is no workflow {id_}")
        position = None
        if record.workflow.phase is Phase.QUEUED:
            queue = store.queue(record.workflow.environment, _QUEUE)
            position = queue.index(id_) + 1 if id_ in queue else None
        shown = views.workflow(record, store.attempts(id_), store.history(id_), position, viewer)
    return _unless_same(call, shown)


def _unless_same(call: Call, value: Any) -> Response:
    response = answer(value)
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Vary"] = "Cookie"
    response.add_etag()
    return response.make_conditional(call.request)


def _viewer(call: Call) -> Viewer:
    """Return the reader. Raises HttpError as `require_admin` does."""
    session = session_of(call)
    if session and session.role is Role.CONSUMER:
        return Viewer(session.name)
    if not (session and session.role is Role.OBSERVER):
        require_admin(call)
    return Viewer()


def _listing(call: Call, viewer: Viewer) -> Listing:
    wanted = _text(call, "owner")
    if wanted and not viewer.may_see(wanted):
        raise HttpError(403, "with this token you see your own workflows only")
    return Listing(
        state=_state(call, viewer),
        dialect=_choice(call, "dialect", DIALECTS),
        environment=_text(call, "environment"),
        owner=wanted or viewer.owner,
        id_prefix=_text(call, "id"),
        before=_before(call),
        limit=PAGE + 1,
    )


def _state(call: Call, viewer: Viewer) -> str | None:
    """Return the state to list. Held results are running for their owner."""
    if viewer.sees_all:
        return _choice(call, "state", STATES)
    state = _choice(call, "state", tuple(each for each in STATES if each != "held"))
    return "started" if state == "running" else state


def _text(call: Call, name: str) -> str | None:
    return str(call.params.get(name, ""))[:_LONGEST] or None


def _choice(call: Call, name: str, choices: tuple[str, ...]) -> str | None:
    value = _text(call, name)
    if value is not None and value not in choices:
        raise HttpError(400, f"`{name}` must be one of {', '.join(choices)}")
    return value


def _before(call: Call) -> tuple[datetime, str] | None:
    text = str(call.params.get("before", ""))
    if not text:
        return None
    seconds, _, id_ = text.partition(",")
    whole, _, micro = seconds.partition(".")
    if not (seconds.isascii() and whole.isdigit() and len(micro) == 6 and micro.isdigit() and len(whole) < 12):
        raise HttpError(400, "`before` must be the `next` of an earlier page")
    return datetime.fromtimestamp(int(whole), UTC).replace(microsecond=int(micro)), id_
