"""An event that could not be delivered is kept with its reason, bounded, whatever it holds."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from support.api import function
from support.world import World
from werkzeug.test import Client

from functions.advance.dead_letters import MAX_ATTRIBUTES, MAX_TEXT, NO_REASON, reason_of
from functions.advance.sweep import LETTER_AGE, LETTERS
from functions.store.ports import Store
from functions.store.sql import SqlStore

HEADERS = {"ce-specversion": "1.0", "ce-type": "t", "ce-source": "s", "ce-id": "e1", "Content-Type": "application/json"}
SECRET = "https://user:pass@data.example/1.csv?sig=abc"


def encoded(text: str) -> str:
    """As Knative sends it: the base64 is cut off at 1024 characters."""
    return base64.b64encode(text.encode()).decode()[:1024]


class Sink:
    """The dead letter sink of `advance`."""

    def __init__(self, store: Store | None = None) -> None:
        self.world = World(store=store) if store else World()
        self._client = Client(function("advance", self.world.app))

    def send(self, body: Any = None, headers: Mapping[str, str] = HEADERS, **extra: str) -> None:
        data = body if isinstance(body, str) else json.dumps(body)
        more = {f"ce-{name}": value for name, value in extra.items()}
        answered = self._client.post("/dead-letters", data=data, headers={**headers, **more})
        assert (answered.status_code, answered.data) == (204, b"")

    def letters(self) -> list[dict[str, Any]]:
        return [dict(letter) for letter in self.world.app.store.dead_letters(2 * LETTERS)]


@pytest.fixture(params=["sqlite", "postgres"])
def stored(request: pytest.FixtureRequest) -> Iterator[Sink]:
    with closing(SqlStore(request.getfixturevalue(f"{request.param}_url"))) as store:
        yield Sink(store)


@pytest.mark.parametrize(
    ("code", "data", "reason"),
    [
        ("500", encoded('{"error": "internal"}'), 'status 500: {"error": "internal"}'),
        ("404", "", "status 404"),
        ("503", encoded("a\r\nb\x1b[31m"), "status 503: a b [31m"),
        ("500", encoded(f"dispatch error: {SECRET}"), "status 500: dispatch error: https://data.example/1.csv"),
        ("500", "plain text of an old Knative", "status 500: plain text of an old Knative"),
        ("500", encoded("é" * 2000), "status 500: " + "é" * 200),
        ("-1", "", "no answer"),
        ("", encoded("refused"), "refused"),
        (" ", "", NO_REASON),
        ("", "", NO_REASON),
    ],
)
def test_the_reason_is_one_line_and_never_empty(code: str, data: str, reason: str) -> None:
    found = reason_of({"knativeerrorcode": code, "knativeerrordata": data})
    assert found.startswith(reason)
    assert 0 < len(found) <= MAX_TEXT
    assert found.isprintable()
    assert reason_of({}) == NO_REASON


def test_a_letter_tells_what_happened_to_which_object_and_nothing_of_its_content() -> None:
    sink = Sink()
    job = {"kind": "Job", "metadata": {"namespace": "n", "name": "w-configure-1", "uid": "u"}, "spec": {"url": SECRET}}
    sink.send(job, knativeerrorcode="500", knativeerrordata=encoded("x"), subject="s")
    (letter,) = sink.letters()
    assert (letter["event_id"], letter["reason"]) == ("e1", "status 500: x")
    assert letter["event"]["object"] == {"kind": "Job", "namespace": "n", "name": "w-configure-1", "uid": "u"}
    assert letter["event"]["attributes"]["subject"] == "s"
    assert "knativeerrordata" not in letter["event"]["attributes"]
    assert "pass" not in repr(letter)


def test_an_event_in_reference_mode_is_identified_too() -> None:
    sink = Sink()
    sink.send({"kind": "Pod", "namespace": "n", "name": "p", "apiVersion": "v1"})
    assert sink.letters()[0]["event"]["object"] == {"kind": "Pod", "namespace": "n", "name": "p"}


def test_a_forged_id_leaves_the_letter_of_the_real_event() -> None:
    sink = Sink()
    sink.send({"kind": "Job"}, knativeerrorcode="500")
    sink.send({"kind": "Pod"}, knativeerrorcode="204")
    assert [letter["reason"] for letter in sink.letters()] == ["status 204", "status 500"]


@pytest.mark.parametrize("bad", ["\0", "\ud800", "x" * 300_000])
@pytest.mark.parametrize("field", ["id", "subject", "knativeerrorcode", "data"])
def test_text_that_no_database_can_hold_still_leaves_a_small_letter(stored: Sink, field: str, bad: str) -> None:
    event: dict[str, Any] = {"specversion": "1.0", "id": "e1", "source": "s", "type": "t", "data": {"kind": "Job"}}
    event[field] = {"kind": "Job", "metadata": {"name": bad, "uid": [bad]}} if field == "data" else bad
    stored.send(event, {"Content-Type": "application/cloudevents+json"})
    (letter,) = stored.letters()
    assert letter["reason"]
    assert len(json.dumps(letter["event"])) < 10_000


def test_an_event_with_thousands_of_attributes_leaves_a_small_letter(stored: Sink) -> None:
    stored.send(None, HEADERS, **{f"x{n}": "y" * 5000 for n in range(60)})
    (letter,) = stored.letters()
    assert len(letter["event"]["attributes"]) == MAX_ATTRIBUTES
    assert all(len(value) <= MAX_TEXT for value in letter["event"]["attributes"].values())


def test_what_is_no_cloud_event_is_kept_with_the_fault() -> None:
    sink = Sink()
    sink.send("{not json", {**HEADERS, "ce-id": "e7"})
    (letter,) = sink.letters()
    assert letter["event_id"] == "e7"
    assert letter["reason"].startswith("malformed: the body is not valid JSON")


def test_each_sweep_prunes_letters_by_age_and_by_number(stored: Sink) -> None:
    store, clock = stored.world.app.store, stored.world.clock
    for n in range(LETTERS + 5):
        store.add_dead_letter(f"e{n}", "r", {}, clock.now)
    stored.world.tick()
    kept = stored.letters()
    assert len(kept) == LETTERS
    assert (kept[0]["event_id"], kept[-1]["event_id"]) == (f"e{LETTERS + 4}", "e5")
    clock.now += LETTER_AGE - timedelta(minutes=2)
    store.add_dead_letter("young", "r", {}, clock.now)
    stored.world.tick(120)
    assert [letter["event_id"] for letter in stored.letters()] == ["young"]
