"""The ticker, in place of PingSource."""

from __future__ import annotations

import queue
from typing import Any

import pytest

from functions.local.broker import Message
from functions.local.knative_manifests import ManifestError, load, of_kind
from functions.local.ticker import Ticker, period, tick


def source(schedule: str) -> dict[str, Any]:
    return {"metadata": {"name": "tick", "namespace": "n"}, "spec": {"schedule": schedule, "data": '{"x": 1}'}}


def test_a_schedule_in_minutes_gives_a_period() -> None:
    assert [period(source(text)) for text in ("* * * * *", "*/1 * * * *", "*/5 * * * *")] == [60, 60, 300]


@pytest.mark.parametrize("schedule", ["0 * * * *", "*/0 * * * *", "@hourly", ""])
def test_any_other_schedule_is_refused(schedule: str) -> None:
    with pytest.raises(ManifestError, match="not supported on a laptop"):
        period(source(schedule))


def test_the_clusters_own_ping_source_has_a_period() -> None:
    assert [period(item) for item in of_kind(load(), "PingSource")] == [60]


def test_a_tick_is_the_event_that_ping_source_sends() -> None:
    one, other = tick(source("* * * * *")), tick(source("* * * * *"))
    assert one.attributes["type"] == "dev.knative.sources.ping"
    assert one.attributes["source"] == "/apis/v1/namespaces/n/pingsources/tick"
    assert one.attributes["id"] != other.attributes["id"]
    assert one.body == b'{"x": 1}'


def test_ticks_repeat() -> None:
    sent: queue.Queue[Message] = queue.Queue()
    ticker = Ticker(source("* * * * *"), sent.put, every=0.01)
    ticker.start()
    for _ in range(3):
        sent.get(timeout=10)
    ticker.stop()


def test_the_first_tick_comes_within_seconds() -> None:
    sent: queue.Queue[Message] = queue.Queue()
    ticker = Ticker(source("* * * * *"), sent.put, every=None)
    ticker.start()
    sent.get(timeout=10)
    ticker.stop()


def test_ticks_continue_after_one_that_could_not_be_sent() -> None:
    tries: queue.Queue[Message] = queue.Queue()

    def fail(message: Message) -> None:
        tries.put(message)
        raise ConnectionRefusedError

    ticker = Ticker(source("* * * * *"), fail, every=0.01)
    ticker.start()
    for _ in range(2):
        tries.get(timeout=10)
    ticker.stop()
