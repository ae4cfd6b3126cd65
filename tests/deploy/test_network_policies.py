"""Who may reach whom, read from the policies as Kubernetes reads them: what is selected is denied, rules add up."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clusters import stage_job
from support.deployment import TRY_OUT, of_kind, pods, rendered

from functions.cluster.labels import job_labels
from functions.staging.addresses import is_public
from functions.workflow.model import Stage

JOBS, FUNCTIONS = "ocean-compute", "sluice"
METADATA = ("169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254")  # of all clouds
PRIVATE = ("10.96.0.1", "172.18.0.2", "192.168.1.1", "127.0.0.1", "100.64.0.1", "fd00::1", "fe80::1", *METADATA)
PUBLIC = ("1.1.1.1", "185.199.108.133", "2606:4700::1111")
FETCHERS = [Stage.CONFIGURE, Stage.PUBLISH, Stage.RELEASE]
ISOLATED = [Stage.ALGORITHM, Stage.FILTER, Stage.CHECK]
addresses = st.ip_addresses().map(str)


def policies(namespace: str, *overlays: str) -> list[Mapping[str, Any]]:
    found = [obj for name in ("install", *overlays) for obj in rendered(name) if obj["kind"] == "NetworkPolicy"]
    return [obj["spec"] for obj in found if obj["metadata"]["namespace"] == namespace]


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def rules(namespace: str, labels: Mapping[str, str], way: str, *overlays: str) -> list[Mapping[str, Any]]:
    """What is allowed; asserts that everything else is denied."""
    chosen = [
        p for p in policies(namespace, *overlays) if selects(p["podSelector"], labels) and way in p["policyTypes"]
    ]
    assert chosen, f"{labels} is not denied anything ({way})"
    return [rule for policy in chosen for rule in policy.get(way.lower(), [])]


def labels_of(stage: Stage) -> dict[str, str]:
    return job_labels(stage_job("w1", stage).ref)


def reaches(labels: Mapping[str, str], address: str, port: int, namespace: str = JOBS) -> bool:
    """Whether a Pod may open a connection to an address outside the cluster."""
    for rule in rules(namespace, labels, "Egress"):
        blocks = [peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer]
        if port in [each.get("port", port) for each in rule.get("ports", [{}])] and any(
            inside(address, block["cidr"]) and not any(inside(address, hole) for hole in block["except"])
            for block in blocks
        ):
            return True
    return False


def inside(address: str, network: str) -> bool:
    return ip_address(address) in ip_network(network)


def test_every_stage_is_isolated_or_fetches() -> None:
    assert sorted([*FETCHERS, *ISOLATED]) == sorted(Stage)


@pytest.mark.parametrize("overlay", [(), *((name,) for name in TRY_OUT)])
@pytest.mark.parametrize("stage", ISOLATED)
def test_isolated_stages_reach_nothing_not_even_dns(stage: Stage, overlay: tuple[str, ...]) -> None:
    assert rules(JOBS, labels_of(stage), "Egress", *overlay) == []


@pytest.mark.parametrize("stage", list(Stage))
def test_no_stage_can_be_called(stage: Stage) -> None:
    assert rules(JOBS, labels_of(stage), "Ingress") == []


@pytest.mark.parametrize("stage", FETCHERS)
def test_stages_that_fetch_reach_public_addresses_alone(stage: Stage) -> None:
    assert [address for address in PRIVATE if reaches(labels_of(stage), address, 443)] == []
    assert [address for address in PUBLIC if not reaches(labels_of(stage), address, 443)] == []


@pytest.mark.parametrize("stage", FETCHERS)
def test_stages_that_fetch_reach_port_443_alone(stage: Stage) -> None:
    assert [port for port in (22, 80, 443, 2375, 5432, 6443, 8080) if reaches(labels_of(stage), PUBLIC[0], port)] == [
        443
    ]


@pytest.mark.parametrize("stage", FETCHERS)
@given(address=addresses)
def test_the_policies_allow_no_address_that_configure_itself_refuses(stage: Stage, address: str) -> None:
    assert is_public(address) or not reaches(labels_of(stage), address, 443)


def test_the_edges_of_every_excepted_network_are_refused_too() -> None:
    labels = labels_of(Stage.CONFIGURE)
    blocks = [peer["ipBlock"] for rule in rules(JOBS, labels, "Egress") for peer in rule["to"] if "ipBlock" in peer]
    holes = [ip_network(hole) for block in blocks for hole in block["except"]]
    assert [hole for hole in holes if reaches(labels, str(hole[0]), 443) or reaches(labels, str(hole[-1]), 443)] == []
    beyond = [hole[-1] + 1 for hole in holes if hole[-1] != ip_address("255.255.255.255")]
    assert [edge for edge in beyond if reaches(labels, str(edge), 443) and not is_public(str(edge))] == []


@pytest.mark.parametrize("name", ["submit", "advance", "status", "migrate"])
def test_functions_and_migrate_reach_no_metadata_and_only_the_ports_they_need(name: str) -> None:
    labels = {"app.kubernetes.io/name": name}
    allowed = [5432] if name == "migrate" else [443, 5432, 6443]
    assert [
        port for port in (22, 53, 80, 443, 2379, 5432, 6443, 10250) if reaches(labels, "10.0.0.9", port, FUNCTIONS)
    ] == allowed
    assert [each for each in METADATA if any(reaches(labels, each, port, FUNCTIONS) for port in allowed)] == []


def test_kns_adapter_reaches_the_api_and_eventing_but_no_metadata() -> None:
    labels = {"eventing.knative.dev/source": "apiserver-source-controller"}
    assert reaches(labels, "10.96.0.1", 443)
    assert not reaches(labels, "10.96.0.1", 5432)
    assert [each for each in METADATA if reaches(labels, each, 443)] == []


@pytest.mark.parametrize("name", ["submit", "advance", "status", "migrate"])
def test_functions_and_migrate_reach_the_try_out_postgres(name: str) -> None:
    peers = [
        peer["podSelector"]["matchLabels"]
        for rule in rules(FUNCTIONS, {"app.kubernetes.io/name": name}, "Egress")
        if {"protocol": "TCP", "port": 5432} in rule["ports"]
        for peer in rule["to"]
        if "podSelector" in peer
    ]
    assert {"app.kubernetes.io/name": "postgres"} in peers


@pytest.mark.parametrize("stage", FETCHERS)
def test_only_the_dns_of_the_cluster_is_asked_for_names(stage: Stage) -> None:
    peers = [peer for rule in rules(JOBS, labels_of(stage), "Egress") for peer in rule["to"] if "ipBlock" not in peer]
    assert [peer["podSelector"]["matchLabels"] for peer in peers] == [{"k8s-app": "kube-dns"}]


def test_functions_are_called_by_knative_and_the_gateway_alone() -> None:
    for name in ("submit", "advance", "status"):
        (rule,) = rules(FUNCTIONS, {"app.kubernetes.io/name": name}, "Ingress")
        (peer,) = rule["from"]
        assert "podSelector" not in peer
        (expression,) = peer["namespaceSelector"]["matchExpressions"]
        assert expression["key"] == "kubernetes.io/metadata.name"
        assert JOBS not in expression["values"]
        assert "sluice" not in expression["values"]


def test_only_functions_and_migrate_reach_the_database_and_it_reaches_nothing() -> None:
    postgres = {"app.kubernetes.io/name": "postgres"}
    (rule,) = rules(FUNCTIONS, postgres, "Ingress")
    (peer,) = rule["from"]
    callers = ["submit", "advance", "status", "migrate", "s3", "other"]
    assert [n for n in callers if selects(peer["podSelector"], {"app.kubernetes.io/name": n})] == callers[:4]
    assert rules(FUNCTIONS, postgres, "Egress") == []


def test_the_policies_select_labels_that_the_pods_carry() -> None:
    assert of_kind("install", "NetworkPolicy")["functions"]["spec"]["podSelector"]["matchExpressions"]
    for name in ("base", "eventing-only"):
        for obj in rendered(name):
            template = obj.get("spec", {}).get("template")
            if template and obj["kind"] in ("Service", "Deployment"):
                assert template["metadata"]["labels"]["app.kubernetes.io/name"] == obj["metadata"]["name"]
    assert "Job migrate" in dict(pods("install"))
