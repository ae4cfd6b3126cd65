"""Reads the query of a TES request: the view, the filters and the page."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime

from werkzeug.datastructures import MultiDict

from functions.api.http import HttpError
from functions.api.tes.task_view import View
from functions.store.values import TaskEntry, TaskQuery

PAGE, MAX_PAGE = 256, 2047  # tasks
MAX_TAGS = 100  # in one filter
MAX_TEXT = 4096  # characters of a prefix, a key or a value
STATES = (
    *("UNKNOWN", "QUEUED", "INITIALIZING", "RUNNING", "PAUSED", "COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR"),
    *("CANCELED", "PREEMPTED", "CANCELING"),
)
Args = MultiDict[str, str]


def view_of(args: Args) -> View:
    """Return the view. Raises HttpError 400."""
    given = args.get("view") or View.MINIMAL
    if given not in list(View):
        raise HttpError(400, f"`view`: expected one of {', '.join(View)}")
    return View(given)


def task_query(args: Args, owner: str | None) -> TaskQuery:
    """Return the query of a list. Raises HttpError 400.

    Its limit is one task more than a page holds. The extra task shows that there is a next page.
    """
    state = args.get("state") or None
    if state is not None and state not in STATES:
        raise HttpError(400, f"`state`: expected one of {', '.join(STATES)}")
    token = args.get("page_token")
    return TaskQuery(
        owner=owner,
        name_prefix=_text(args.get("name_prefix", ""), "name_prefix"),
        state=state,
        tags=_tags(args.getlist("tag_key"), args.getlist("tag_value")),
        after=_position(token) if token else None,
        limit=_page_size(args.get("page_size")) + 1,
    )


def page_token(last: TaskEntry) -> str:
    """Return the token of the page that begins after a task."""
    return urlsafe_b64encode(f"{last.created_at.isoformat()} {last.id}".encode()).decode()


def _position(token: str) -> tuple[datetime, str]:
    try:
        created, _, id = urlsafe_b64decode(token).decode("ascii").partition(" ")
        at = datetime.fromisoformat(created)
        if at.tzinfo is None or not id or not id.isprintable():
            raise ValueError
        return at.astimezone(UTC), id
    except (ValueError, OverflowError):  # binascii.Error and UnicodeError too
        raise HttpError(400, "`page_token`: expected the `next_page_token` of an earlier answer") from None


def _page_size(given: str | None) -> int:
    if not given:
        return PAGE
    if not (given.isascii() and given.isdigit()) or len(given) > 10 or int(given) == 0:
        raise HttpError(400, "`page_size`: expected a whole number from 1; an answer has at most 2047 tasks")
    return min(int(given), MAX_PAGE)


def _tags(keys: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    """Pair keys and values by position. A missing value is empty; an empty value matches any value of its key."""
    if len(values) > len(keys):
        raise HttpError(400, "`tag_value`: expected a `tag_key` for each")
    if len(keys) > MAX_TAGS:
        raise HttpError(400, f"`tag_key`: expected at most {MAX_TAGS}")
    padded = [*values, *[""] * (len(keys) - len(values))]
    return {_text(key, "tag_key"): _text(value, "tag_value") for key, value in zip(keys, padded, strict=True)}


def _text(given: str, name: str) -> str:
    if "\0" in given or len(given) > MAX_TEXT:
        raise HttpError(400, f"`{name}`: expected at most {MAX_TEXT} characters, without NUL")
    return given
