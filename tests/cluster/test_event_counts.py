"""Events of Pods are enough: what the Jobs' own events would add, and what they would cost (recorded on a cluster)."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from support.deployment import ROOT
from support.recorded import SCENARIOS, Sent, job_events, pod_events
from support.replay import Replay

from functions.advance.event_filter import hint_of

STAGES = 3  # of a workflow without a filter
# Without a Trigger for Jobs. Each event is sent to the broker's ingress, to its channel, from there to the filter of
# every Trigger, and by one of them to a function.
HOPS_BESIDE_FILTERS = 3


def replayed(scenario: str, events: list[Sent]) -> Replay:
    replay = Replay(scenario)
    for sent in sorted(events, key=lambda sent: sent.at):
        replay.deliver(sent, sent.at)
    return replay


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_event_of_a_job_changes_a_decision_that_its_pod_does_not_announce_within_a_second(scenario: str) -> None:
    pods = replayed(scenario, pod_events(scenario))
    both = replayed(scenario, [*job_events(scenario), *pod_events(scenario)])
    assert pods.ends == both.ends
    assert pods.ended_at <= both.ended_at + 1.0


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_events_of_jobs_are_still_understood(scenario: str) -> None:
    """A deployment may go on watching Jobs, or watch nothing else."""
    assert len(replayed(scenario, job_events(scenario)).ends) == 1


def documents(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "knative" / "base" / file).read_text()))


def test_a_workflow_costs_30_events_and_180_requests_within_the_broker() -> None:
    """Before: 54 events and 378 requests. The scenario is a Job that succeeds and is removed, Pods and all."""
    watched = {
        resource["kind"]
        for source in documents("sources.yaml")
        for resource in source["spec"].get("resources", [])
        if resource["kind"] != "WorkFlow"
    }
    assert watched == {"Pod"}
    triggers = len(documents("triggers.yaml"))
    before, after = len(job_events("ttl") + pod_events("ttl")), len(pod_events("ttl"))
    assert (STAGES * before, STAGES * before * (HOPS_BESIDE_FILTERS + triggers + 1)) == (54, 378)
    assert (STAGES * after, STAGES * after * (HOPS_BESIDE_FILTERS + triggers)) == (30, 180)


def test_of_these_events_half_are_dropped_without_a_read() -> None:
    kept = [sent for sent in pod_events("ttl") if hint_of(sent.attributes, sent.body)]
    assert len(kept) == 5
