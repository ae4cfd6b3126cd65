"""The tick on Kubernetes: a PingSource beside the Broker, for as few calls as possible."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.deployment import of_kind
from support.fake_kube import FakeKube, Fault
from support.schemas import errors

from functions.advance.sweep import level_of
from functions.cluster.kubernetes.cluster import TICK_SCHEDULES, KubernetesCluster, ping_source
from functions.cluster.ports import ClusterUnavailable
from functions.settings import Settings
from functions.workflow.tick import FAST_PERIOD, MEDIUM_PERIOD, SLOW_PERIOD, TickLevel


@pytest.fixture
def cluster(kube: FakeKube, tmp_path: Path) -> KubernetesCluster:
    return KubernetesCluster(Settings(kubeconfig=kube.kubeconfig(tmp_path), tick_broker="sluice/sluice"))


@pytest.mark.parametrize("level", [TickLevel.SLOW, TickLevel.MEDIUM, TickLevel.FAST])
def test_the_ping_source_is_valid_goes_to_the_broker_and_names_its_level(level: TickLevel) -> None:
    source = ping_source(level, "sluice", "sluice")
    assert errors(source) == []
    assert source["spec"]["sink"] == of_kind("base", "PingSource")["tick-hourly"]["spec"]["sink"]
    assert level_of(json.loads(source["spec"]["data"])) is level


def test_the_schedules_are_the_periods_that_the_rules_count_on() -> None:
    assert TICK_SCHEDULES[TickLevel.FAST] == f"*/{FAST_PERIOD.total_seconds():.0f} * * * * *"  # seconds come first
    assert TICK_SCHEDULES[TickLevel.MEDIUM] == f"*/{MEDIUM_PERIOD.total_seconds() / 60:.0f} * * * *"
    assert TICK_SCHEDULES[TickLevel.SLOW] == f"*/{SLOW_PERIOD.total_seconds() / 60:.0f} * * * *"


def test_the_setting_names_the_broker_of_the_manifests() -> None:
    (broker,) = of_kind("base", "Broker").values()
    settings = of_kind("base", "ConfigMap")["sluice-settings"]["data"]
    assert settings["TICK_BROKER"] == f"{broker['metadata']['namespace']}/{broker['metadata']['name']}"


def test_a_change_costs_one_call_and_a_creation_two(kube: FakeKube, cluster: KubernetesCluster) -> None:
    cluster.set_tick(TickLevel.FAST)
    assert kube.calls == {("patch", "pingsources"): 1, ("create", "pingsources"): 1}
    kube.calls.clear()
    cluster.set_tick(TickLevel.SLOW)
    assert kube.calls == {("patch", "pingsources"): 1}
    kube.calls.clear()
    cluster.set_tick(TickLevel.NONE)
    assert kube.calls == {("delete", "pingsources"): 1}


def test_without_a_broker_nobody_is_asked(kube: FakeKube, tmp_path: Path) -> None:
    KubernetesCluster(Settings(kubeconfig=kube.kubeconfig(tmp_path))).set_tick(TickLevel.FAST)
    assert not kube.calls


def test_a_ping_source_that_another_process_creates_meanwhile_is_changed(
    kube: FakeKube, cluster: KubernetesCluster
) -> None:
    kube.fail_next("patch", "pingsources", Fault(404, "not found"))
    kube.put("pingsources", ping_source(TickLevel.SLOW, "sluice", "sluice"))
    cluster.set_tick(TickLevel.FAST)
    source = kube.find("pingsources", "tick", "sluice")
    assert source is not None
    assert source["spec"] == ping_source(TickLevel.FAST, "sluice", "sluice")["spec"]


@pytest.mark.parametrize("status", [403, 422, 429, 500])
@pytest.mark.parametrize("verb", ["patch", "create"])
def test_a_call_that_fails_is_unavailable_and_may_be_repeated(
    verb: str, status: int, kube: FakeKube, cluster: KubernetesCluster
) -> None:
    kube.fail_next(verb, "pingsources", Fault(status))
    with pytest.raises(ClusterUnavailable):
        cluster.set_tick(TickLevel.FAST)
    cluster.set_tick(TickLevel.FAST)
    assert kube.find("pingsources", "tick", "sluice") is not None


def test_without_knative_eventing_the_error_says_what_is_missing(kube: FakeKube, cluster: KubernetesCluster) -> None:
    kube.fail_next("create", "pingsources", Fault(404, "the server could not find the requested resource"))
    with pytest.raises(ClusterUnavailable, match=r"sluice/tick .* namespace or Knative Eventing is missing"):
        cluster.set_tick(TickLevel.FAST)
