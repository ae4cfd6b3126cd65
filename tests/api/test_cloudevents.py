"""CloudEvents in both modes of HTTP, well formed and not."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.api import app
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from functions.api import cloudevents
from functions.api.http import Call, HttpError, read_body

JSON = {"Content-Type": "application/json"}
BINARY = {"ce-id": "1", "ce-source": "s", "ce-type": "t", "ce-specversion": "1.0", **JSON}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
WHOLE = {"id": "1", "source": "s", "type": "t", "specversion": "1.0", "data": {"a": 1}}


def received(body: bytes, headers: dict[str, str], limit: int = 65_536) -> cloudevents.CloudEvent:
    asked = Request(EnvironBuilder("/", method="POST", data=body, headers=Headers(headers)).get_environ())
    return cloudevents.read(Call(asked, app(), {}, read_body(asked, limit, 10)))


@pytest.mark.parametrize(
    ("body", "headers"), [(b'{"a": 1}', BINARY), (json.dumps(WHOLE).encode(), STRUCTURED)], ids=["binary", "structured"]
)
def test_an_event_is_read_in_both_modes(body: bytes, headers: dict[str, str]) -> None:
    event = received(body, headers)
    assert (event.id, event.source, event.type, event.subject, event.data) == ("1", "s", "t", "", {"a": 1})


def test_an_event_without_data_has_none() -> None:
    assert received(b"", BINARY).data is None


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in BINARY.items() if key != name}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"a"', BINARY, 400),
        (b"NaN", BINARY, 400),
        (b"[" * 60_000, BINARY, 400),
        (b"{}", without("ce-id"), 400),
        (b"{}", without("ce-type"), 400),
        (b"{}", without("ce-source"), 400),
        (b"{}", without("ce-specversion"), 400),
        (b"{}", {**BINARY, "ce-id": ""}, 400),
        (b"{}", {**BINARY, "ce-specversion": "9.9"}, 400),
        (b"<a/>", {**BINARY, "Content-Type": "text/xml"}, 415),
        (b"[" * 60_000, STRUCTURED, 400),
        (b"null", STRUCTURED, 400),
        (b"", STRUCTURED, 400),
        (json.dumps([WHOLE]).encode(), STRUCTURED, 400),
        (json.dumps({**WHOLE, "id": None}).encode(), STRUCTURED, 400),
        (json.dumps([WHOLE]).encode(), {"Content-Type": "application/cloudevents-batch+json"}, 415),
        (b" " * 65_537, BINARY, 413),
    ],
)
def test_a_malformed_event_is_refused_with_a_final_code(body: bytes, headers: dict[str, str], status: int) -> None:
    with pytest.raises(HttpError) as refused:
        received(body, headers)
    assert refused.value.status == status


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([BINARY, STRUCTURED]))
def test_every_body_is_an_event_or_is_refused(body: bytes, headers: dict[str, str]) -> None:
    with suppress(HttpError):
        received(body, headers)
