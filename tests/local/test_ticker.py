"""The ticker, in place of the PingSources."""

from __future__ import annotations

import json
import queue
from pathlib import Path
from typing import Any

import pytest

from functions.advance.sweep import level_of
from functions.cluster.processes import ProcessCluster, tick_level
from functions.local import ticker as ticking
from functions.local.broker import Message
from functions.local.knative_manifests import ManifestError, load, of_kind
from functions.local.ticker import HOURLY, Ticker, tick
from functions.workflow.tick import TickLevel


def source(schedule: str = HOURLY) -> dict[str, Any]:
    return {"metadata": {"name": "tick-hourly", "namespace": "n"}, "spec": {"schedule": schedule, "data": '{"x": 1}'}}


def never() -> TickLevel:
    return TickLevel.NONE


@pytest.mark.parametrize("schedule", ["* * * * *", "*/5 * * * *", "@hourly", ""])
def test_any_schedule_but_the_hourly_one_is_refused(schedule: str) -> None:
    with pytest.raises(ManifestError, match="not supported on a laptop"):
        Ticker(source(schedule), print, never)


def test_the_clusters_own_ping_source_is_hourly() -> None:
    assert [item["spec"]["schedule"] for item in of_kind(load(), "PingSource")] == [HOURLY]


def test_the_hourly_tick_is_the_event_that_its_ping_source_sends() -> None:
    one, other = tick(source()), tick(source())
    assert one.attributes["type"] == "dev.knative.sources.ping"
    assert one.attributes["source"] == "/apis/v1/namespaces/n/pingsources/tick-hourly"
    assert one.attributes["id"] != other.attributes["id"]
    assert one.body == b'{"x": 1}'


def test_a_tick_of_a_level_names_it() -> None:
    fast = tick(source(), TickLevel.FAST)
    assert fast.attributes["source"] == "/apis/v1/namespaces/n/pingsources/tick"
    assert level_of(json.loads(fast.body)) is TickLevel.FAST


def test_ticks_repeat() -> None:
    sent: queue.Queue[Message] = queue.Queue()
    ticker = Ticker(source(), sent.put, never, every=0.01)
    ticker.start()
    for _ in range(6):
        sent.get(timeout=10)
    ticker.stop()


def test_the_first_tick_comes_within_seconds() -> None:
    sent: queue.Queue[Message] = queue.Queue()
    ticker = Ticker(source(), sent.put, never)
    ticker.start()
    sent.get(timeout=10)
    ticker.stop()


def test_ticks_come_as_soon_as_the_level_rises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ticking, "_FIRST_PAUSES", ())
    monkeypatch.setattr(ticking, "_LEVEL_CHECK", 0.01)
    monkeypatch.setitem(ticking.PERIODS, TickLevel.FAST, 0.01)
    sent: queue.Queue[Message] = queue.Queue()
    ticker = Ticker(source(), sent.put, lambda: tick_level(tmp_path))
    ticker.start()
    with pytest.raises(queue.Empty):
        sent.get(timeout=0.2)
    ProcessCluster(tmp_path).set_tick(TickLevel.FAST)
    assert level_of(json.loads(sent.get(timeout=10).body)) is TickLevel.FAST
    ticker.stop()


def test_ticks_continue_after_one_that_could_not_be_sent() -> None:
    tries: queue.Queue[Message] = queue.Queue()

    def fail(message: Message) -> None:
        tries.put(message)
        raise ConnectionRefusedError

    ticker = Ticker(source(), fail, never, every=0.01)
    ticker.start()
    for _ in range(2):
        tries.get(timeout=10)
    ticker.stop()
