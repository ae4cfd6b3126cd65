"""Who may reach whom, read from the policies as Kubernetes reads them: what is selected is denied, rules add up."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from support.clusters import stage_job
from support.deployment import of_kind, pods, rendered

from functions.cluster.labels import job_labels
from functions.workflow.model import Stage

JOBS, FUNCTIONS = "ocean-compute", "sluice"
PRIVATE = ("10.96.0.1", "172.18.0.2", "192.168.1.1", "169.254.169.254", "127.0.0.1", "100.64.0.1", "fd00::1", "fe80::1")
PUBLIC = ("1.1.1.1", "185.199.108.133", "2606:4700::1111")


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


def reaches(stage: Stage, address: str, port: int) -> bool:
    for rule in rules(JOBS, labels_of(stage), "Egress"):
        open_ports = [each.get("port", port) for each in rule["ports"]]
        for peer in rule["to"]:
            block = peer.get("ipBlock")
            if block and port in open_ports and inside(address, block["cidr"]):
                return not any(inside(address, hole) for hole in block["except"])
    return False


def inside(address: str, network: str) -> bool:
    return ip_address(address) in ip_network(network)


@pytest.mark.parametrize("overlay", [(), ("kind",)])
@pytest.mark.parametrize("stage", [Stage.ALGORITHM, Stage.FILTER])
def test_algorithm_and_filter_reach_nothing_not_even_dns(stage: Stage, overlay: tuple[str, ...]) -> None:
    assert rules(JOBS, labels_of(stage), "Egress", *overlay) == []


@pytest.mark.parametrize("stage", list(Stage))
def test_no_stage_can_be_called(stage: Stage) -> None:
    assert rules(JOBS, labels_of(stage), "Ingress") == []


@pytest.mark.parametrize("stage", [Stage.CONFIGURE, Stage.PUBLISH])
def test_configure_and_publish_reach_public_addresses_alone(stage: Stage) -> None:
    assert [address for address in PRIVATE if reaches(stage, address, 443)] == []
    assert [address for address in PUBLIC if not reaches(stage, address, 443)] == []


def test_publish_reaches_nothing_but_tls() -> None:
    assert not reaches(Stage.PUBLISH, "1.1.1.1", 80)
    assert reaches(Stage.CONFIGURE, "1.1.1.1", 8080)


@pytest.mark.parametrize("stage", [Stage.CONFIGURE, Stage.PUBLISH])
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
