"""Telemetry gathers, exports soon, and is in nobody's way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from support.otlp_receiver import Receiver, receiving

from functions import otlp, telemetry
from functions.instruments import DEAD_LETTERS, REPAIRS, REQUESTS, Measurement
from functions.telemetry import Span, Telemetry

BEGAN = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC)
SPAN = Span("work", "ab" * 16, "cd" * 8, "ef" * 8, BEGAN, BEGAN + timedelta(seconds=1.5), {"n": 1, "b": True})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def test_a_span_arrives_as_it_is(receiver: Receiver) -> None:
    with closing(Telemetry(partial(otlp.connect, receiver.url, {"faas.name": "advance"}), delay=0)) as made:
        made.add(SPAN._replace(error="why", links=(("12" * 16, "34" * 8),)))
        span = receiver.wait_for("work")
    assert (span.trace_id, span.span_id, span.parent) == SPAN[1:4]
    assert (span.began, span.ended) == (SPAN.began, SPAN.ended)
    assert (span.attributes, span.error, span.links) == ({"n": 1, "b": True}, "why", [("12" * 16, "34" * 8)])
    assert receiver.resource["service.name"] == "sluice"
    assert receiver.resource["faas.name"] == "advance"


def test_measurements_arrive_by_their_kind(receiver: Receiver) -> None:
    with closing(Telemetry(partial(otlp.connect, receiver.url, {}))) as made:
        for seconds in (0.1, 0.2):
            made.measure(REQUESTS, seconds, **{"http.route": "/x"})
        made.measure(REPAIRS, 2, kind="a")
        made.measure(REPAIRS, 3, kind="a")
        made.put(Measurement(DEAD_LETTERS, 7, {}))
        assert made.flush(20)
    assert receiver.metrics["http.server.request.duration"] == [({"http.route": "/x"}, 2)]
    assert receiver.metrics["sluice.sweep.repairs"] == [({"kind": "a"}, 5)]
    assert receiver.metrics["sluice.dead_letters"] == [({}, 7)]


def test_closing_exports_what_waits(receiver: Receiver) -> None:
    made = Telemetry(partial(otlp.connect, receiver.url, {}), delay=3600)
    made.add(SPAN)
    made.close()
    assert receiver.named("work")


def test_nothing_is_started_before_the_first_span() -> None:
    Telemetry(partial(otlp.connect, "http://127.0.0.1:1", {}))
    assert not [thread for thread in threading.enumerate() if thread.name == "telemetry"]


def test_a_receiver_that_fails_costs_only_what_it_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    arrived: list[Sequence[Span]] = []

    def export(spans: Sequence[Span], measurements: Sequence[Measurement]) -> None:
        if not arrived:
            arrived.append(())
            raise OSError("http://user:password@receiver is down")
        arrived.append(spans)

    with closing(Telemetry(lambda: export, delay=0)) as made:
        made.add(SPAN)
        assert made.flush(20)
        made.add(SPAN._replace(name="later"))
        assert made.flush(20)
    assert [span.name for span in arrived[-1]] == ["later"]
    assert [record.message for record in caplog.records] == ["telemetry was not exported"]


def test_a_receiver_that_refuses_is_logged_without_its_address(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 400
    with closing(Telemetry(partial(otlp.connect, receiver.url, {}), delay=0)) as made:
        made.add(SPAN)
        assert made.flush(20)
    assert [record.message for record in caplog.records] == ["telemetry was not exported"]
    assert receiver.url not in caplog.text.partition("Traceback")[0]


def test_without_the_extra_one_error_names_it(caplog: pytest.LogCaptureFixture) -> None:
    def connect() -> telemetry.Export:
        raise ModuleNotFoundError("opentelemetry")

    with closing(Telemetry(connect, delay=0)) as made:
        for _ in range(3):
            made.add(SPAN)
            made.flush(20)
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "pip install -c constraints.txt '.[otel]'" in record.message


def test_a_slow_receiver_does_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telemetry, "MOST", 3)
    held, exported = threading.Event(), []

    def export(spans: Sequence[Span], measurements: Sequence[Measurement]) -> None:
        held.wait(20)
        exported.append(len(spans))

    with closing(Telemetry(lambda: export, delay=0)) as made:
        for _ in range(100):
            made.add(SPAN)
        held.set()
        assert made.flush(20)
        made.add(SPAN)
    assert sum(exported) < 10
    assert "were dropped" in caplog.text
