"""Every scenario recorded on a real cluster makes exactly one transition, with the right outcome and reason.

The events of the Jobs, of the Pods, or of both are delivered: in order, late, out of order, several times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.recorded import (
    REF,
    SCENARIOS,
    Sent,
    job_events,
    job_uid,
    lines,
    pod_events,
    reference_events,
)
from support.replay import EXPECTED, Replay

from functions.advance.event_filter import hint_of
from functions.workflow.model import Outcome, Phase

# The reasons that the Pods of these scenarios give while they wait for the Job's deadline. The Jobs give none.
NEVER_RAN = {
    "image-missing": ("ErrImagePull", "ImagePullBackOff"),
    "unschedulable": ("Unschedulable",),
    "configmap-missing": ("FailedMount",),  # only a read shows it: its event looks like that of any new Pod
}
SOURCES: dict[str, Callable[[str], list[Sent]]] = {
    "jobs": job_events,
    "pods": pod_events,
    "both": lambda scenario: sorted([*job_events(scenario), *pod_events(scenario)], key=lambda sent: sent.at),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_makes_one_transition(scenario: str, source: str) -> None:
    replay = Replay(scenario)
    for sent in SOURCES[source](scenario):
        replay.deliver(sent, sent.at)
    told = source != "jobs" and scenario in ("image-missing", "unschedulable")
    assert replay.waited in (NEVER_RAN[scenario] if told else ("",))
    assert replay.ends == [replay.expected(scenario)]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_late_reordered_and_repeated_events_make_the_same_transition(scenario: str, source: str) -> None:
    events = SOURCES[source](scenario)
    # The Job of this scenario is removed 3 s after its end; a later read finds nothing (F27).
    latest = 2 if scenario == "ttl" else 60
    delays = st.lists(
        st.lists(st.floats(0, latest), min_size=1, max_size=3), min_size=len(events), max_size=len(events)
    )

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(delays)
    def deliver(delays: list[list[float]]) -> None:
        deliveries = [
            (sent.at + delay, n) for n, (sent, late) in enumerate(zip(events, delays, strict=True)) for delay in late
        ]
        replay = Replay(scenario)
        for at, n in sorted(deliveries):
            replay.deliver(events[n], at)
        assert replay.waited in ("", *NEVER_RAN.get(scenario, ()))
        assert replay.ends == [replay.expected(scenario)]

    deliver()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_makes_the_same_transition_in_reference_mode(scenario: str) -> None:
    replay = Replay(scenario)
    for sent in reference_events(scenario):
        replay.deliver(sent, sent.at + 0.1)  # both modes were recorded at the same time, to the hundredth of a second
    assert replay.ends == [EXPECTED[scenario]]


@pytest.mark.parametrize("source", [*SOURCES, "none"])
@pytest.mark.parametrize(
    ("scenario", "reason"),
    [("image-missing", "ImagePullBackOff"), ("unschedulable", "Unschedulable"), ("configmap-missing", "FailedMount")],
)
def test_a_pod_that_waits_with_a_fatal_reason_fails_its_stage_after_the_grace_period(
    scenario: str, reason: str, source: str
) -> None:
    """With the sweep, which is part of the system; also without any event."""
    replay = Replay(scenario, stuck_seconds=8)
    events = list(SOURCES[source](scenario)) if source in SOURCES else []
    looks: list[tuple[float, Sent | None]] = [(sent.at, sent) for sent in events]
    looks += [(float(second), None) for second in range(3, 40, 2)]
    for at, sent in sorted(looks, key=lambda look: look[0]):
        if sent is not None:
            replay.deliver(sent, at)
        elif replay.workflow.stage is REF.stage:
            replay.look(at)
    [(outcome, told, _)] = replay.ends
    assert outcome is Outcome.FAILED
    assert told in (reason, "ErrImagePull")
    assert replay.ended_at < 18  # the deadlines are at 20 s and 25 s


@pytest.mark.parametrize("source", ["pods", "both"])
@pytest.mark.parametrize("scenario", ["success", "suspended", "ttl", "exit-1", "oom"])
def test_a_stage_ends_at_the_event_of_its_terminated_container(scenario: str, source: str) -> None:
    replay = Replay(scenario)
    for sent in SOURCES[source](scenario):
        replay.deliver(sent, sent.at)
    first = next(sent.at for sent in pod_events(scenario) if "'terminated'" in str(sent.body["status"]))
    assert replay.ended_at == first


@pytest.mark.parametrize("source", SOURCES)
def test_a_job_with_retries_ends_with_its_last_pod(source: str) -> None:
    replay = Replay("retry-then-ok")
    for sent in SOURCES[source]("retry-then-ok"):
        replay.deliver(sent, sent.at)
    assert replay.ended_at >= 15


def test_a_success_that_a_pod_announces_costs_one_read() -> None:
    replay = Replay("success")
    for sent in pod_events("success"):
        replay.deliver(sent, sent.at)
    assert replay.api.reads == 1


@pytest.mark.parametrize(("events", "kept"), [(job_events, 2), (pod_events, 3)])
def test_most_events_of_a_success_are_dropped_without_a_read(events: Any, kept: int) -> None:
    assert len([sent for sent in events("success") if hint_of(sent.attributes, sent.body)]) == kept


def test_two_of_three_recorded_job_events_are_dropped_without_a_read() -> None:
    sent = [event for scenario in SCENARIOS for event in job_events(scenario)]
    kept = [event for event in sent if hint_of(event.attributes, event.body)]
    assert len(sent) == 78
    assert len(kept) <= 26


@pytest.mark.parametrize("stage_left", ["publish", "finished"])
def test_events_of_a_past_stage_cost_no_read(stage_left: str) -> None:
    replay = Replay("success")
    replay.workflow = replace(replay.workflow, phase=Phase(stage_left))
    for sent in SOURCES["both"]("success"):
        replay.deliver(sent, sent.at)
    assert replay.api.reads == 0


def test_f8_a_forged_end_only_costs_a_read() -> None:
    replay = Replay("deadline")
    for sent in SOURCES["both"]("success"):
        replay.deliver(sent, 3.0)  # the true Job is running then
    assert replay.ends == []
    assert replay.workflow.phase is Phase.ALGORITHM


def test_f10_the_end_of_another_job_of_the_same_name_is_not_believed() -> None:
    replay = Replay("success")
    replay.workflow = replace(replay.workflow, job_uid=job_uid("oom"))
    for sent in SOURCES["both"]("success"):
        replay.deliver(sent, sent.at)
    assert [end.outcome for end in replay.ended] == [Outcome.LOST]


@pytest.mark.parametrize("line", lines("apiserversource-workflow.jsonl"))
def test_events_of_workflow_objects_are_not_about_jobs(line: dict[str, Any]) -> None:
    attributes = {key.removeprefix("ce-"): value for key, value in line["headers"].items()}
    assert hint_of(attributes, line["data"]) is None
