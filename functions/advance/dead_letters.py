"""Keeps the events that a broker could not deliver (`sluice dead-letters` lists them).

Knative adds three attributes to a dead letter: `knativeerrordest` (the URL that was tried), `knativeerrorcode` (the
HTTP status; -1 without an answer) and `knativeerrordata` (the start of the answer's body, in base64). Its channel-based
broker adds none of them if its own filter did not answer properly.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from werkzeug.wrappers import Response

from functions.api import cloudevents, http
from functions.log import about, scrub

logger = logging.getLogger(__name__)

MAX_ATTRIBUTES = 32  # of one event
MAX_TEXT = 255  # characters of an attribute, a name, or a reason
NO_REASON = "no reason given by the broker"
_CODE, _DATA = "knativeerrorcode", "knativeerrordata"


def receive(call: http.Call) -> Response:
    """POST /dead-letters: keep an event and the reason why it was not delivered.

    Of its content only what identifies it is kept, because its data may contain URLs with credentials.
    """
    attributes: Mapping[str, str] = {}
    data: Any = None
    try:
        event = cloudevents.read(call)
        attributes, data, reason = event.attributes, event.data, reason_of(event.attributes)
    except http.HttpError as e:
        reason = f"malformed: {e.message}"[:MAX_TEXT]
    number = attributes.get("id") or call.request.headers.get("ce-id", "")
    kept = {"attributes": _kept(attributes), "object": _identity(data)}
    logger.error("dead letter", extra=about(event=number[:MAX_TEXT], status=attributes.get(_CODE)))
    call.app.store.add_dead_letter(number[:MAX_TEXT], reason, kept, call.app.clock())
    return http.empty()


def reason_of(attributes: Mapping[str, str]) -> str:
    """The reason why the event was not delivered, in one line; never empty."""
    code, text = attributes.get(_CODE, "").strip(), _text(attributes.get(_DATA, ""))
    answered = {"": "", "-1": "no answer"}.get(code, f"status {code}")
    return ": ".join(part for part in (answered, text) if part)[:MAX_TEXT] or NO_REASON


def _text(data: str) -> str:
    """The body of the answer in one printable line. Knative sends base64 now, and sent plain text before."""
    with suppress(ValueError):
        data = base64.b64decode(data, validate=True).decode(errors="replace")
    line = "".join(char if char.isprintable() else " " for char in data)
    return scrub(" ".join(line.split()))


def _kept(attributes: Mapping[str, str]) -> dict[str, str]:
    names = [name for name in attributes if name != _DATA][:MAX_ATTRIBUTES]
    return {name[:MAX_TEXT]: attributes[name][:MAX_TEXT] for name in names}


def _identity(data: Any) -> dict[str, str]:
    """The names of the object that the event is about; in Reference mode they are not in `metadata`."""
    if not isinstance(data, dict):
        return {}
    names = data["metadata"] if isinstance(data.get("metadata"), dict) else data
    found = {"kind": data.get("kind"), **{key: names.get(key) for key in ("namespace", "name", "uid")}}
    return {key: value[:MAX_TEXT] for key, value in found.items() if isinstance(value, str)}
