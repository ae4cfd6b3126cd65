"""Sources, Triggers and the event policy: which event wakes which function."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from support.deployment import ROOT, WITH_FUNCTIONS, answer, of_kind, rendered
from support.kustomize import render
from support.schemas import DATA, errors

from functions.cluster.kubernetes.cluster import ping_source
from functions.cluster.labels import MANAGED_BY, MANAGER
from functions.engine.app import App
from functions.settings import Settings
from functions.workflow.tick import TickLevel


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_every_reference_names_an_existing_object(name: str) -> None:
    there = {(o["apiVersion"], o["kind"], o["metadata"]["name"]) for o in rendered(name)}
    for obj in rendered(name):
        for reference in references(obj.get("spec", {})):
            assert (reference["apiVersion"], reference["kind"], reference["name"]) in there, obj["metadata"]["name"]


def references(node: Any) -> list[Mapping[str, str]]:
    if isinstance(node, list):
        return [found for item in node for found in references(item)]
    if not isinstance(node, dict):
        return []
    own = [node["ref"]] if isinstance(node.get("ref"), dict) else []
    return own + [found for value in node.values() for found in references(value)]


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_every_recorded_event_is_routed_to_one_function(name: str) -> None:
    expected = {"Pod": "advance", "WorkFlow": "submit"}
    seen = set()
    for file in ("pods", "workflow"):
        for line in (DATA / f"recorded/apiserversource-{file}.jsonl").read_text().splitlines():
            event = json.loads(line)["headers"]
            attributes = {key.removeprefix("ce-"): value for key, value in event.items() if key.startswith("ce-")}
            assert woken(name, attributes) == [expected[attributes["kind"]]]
            seen.add(attributes["kind"])
    assert seen == expected.keys()
    assert woken(name, {"type": "dev.knative.sources.ping", "source": "/apis/v1/x"}) == ["advance"]
    assert woken(name, {"type": "dev.knative.apiserver.resource.add", "kind": "Node", "apiversion": "v1"}) == []


def woken(name: str, attributes: Mapping[str, str]) -> list[str]:
    return [
        trigger["spec"]["subscriber"]["ref"]["name"]
        for trigger in of_kind(name, "Trigger").values()
        if trigger["spec"]["filter"]["attributes"].items() <= attributes.items()
    ]


def test_undelivered_events_go_to_the_dead_letter_path_of_advance() -> None:
    for name, trigger in of_kind("base", "Trigger").items():
        delivery = trigger["spec"]["delivery"]
        assert delivery["retry"] >= 1
        if name != "ticks-to-advance":  # the next one comes within the minute
            sink = delivery["deadLetterSink"]
            assert answer(sink["ref"]["name"], "GET", sink["uri"], App(Settings())) == 405  # POST alone


def test_the_source_selects_the_label_of_our_pods() -> None:
    for resource in of_kind("base", "ApiServerSource")["pods"]["spec"]["resources"]:
        assert resource["selector"]["matchLabels"] == {MANAGED_BY: MANAGER}
    for source in of_kind("base", "ApiServerSource").values():
        assert source["spec"]["mode"] == "Resource"
        assert source["spec"]["serviceAccountName"] in of_kind("install", "ServiceAccount")


def oidc_account(source: Mapping[str, Any]) -> str:
    """The account that Knative Eventing creates for a source, to authenticate it to its sink."""
    group = source["apiVersion"].partition("/")[0]
    return f"{source['metadata']['name']}-oidc-{group}-{source['kind']}".lower()


def test_the_event_policy_admits_exactly_the_sources() -> None:
    (policy,) = render(ROOT / "knative/components/event-policy")
    assert errors(policy) == []
    sources = {
        (o["apiVersion"], o["kind"], o["metadata"]["namespace"], o["metadata"]["name"])
        for o in rendered("base")
        if o["apiVersion"].startswith("sources.")
    }
    # A ref to an object that does not exist keeps the policy, the Broker and its Triggers from being ready.
    refs = [entry["ref"] for entry in policy["spec"]["from"] if "ref" in entry]
    assert {(ref["apiVersion"], ref["kind"], ref["namespace"], ref["name"]) for ref in refs} == sources
    tick = ping_source(TickLevel.FAST, "sluice", "sluice")
    subjects = [entry["sub"] for entry in policy["spec"]["from"] if "sub" in entry]
    assert subjects == [f"system:serviceaccount:{tick['metadata']['namespace']}:{oidc_account(tick)}"]
    assert policy["spec"]["to"] == [
        {"ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "sluice"}}
    ]


def test_the_account_of_the_sources_may_watch_exactly_what_they_watch() -> None:
    rights = {
        (group, resource)
        for rule in of_kind("install", "Role")["sluice-events"]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        if rule["verbs"] == ["get", "list", "watch"]
    }
    watched = {
        (r["apiVersion"].rpartition("/")[0].removesuffix("v1"), r["kind"].lower() + "s")
        for source in of_kind("base", "ApiServerSource").values()
        for r in source["spec"]["resources"]
    }
    assert watched == rights
