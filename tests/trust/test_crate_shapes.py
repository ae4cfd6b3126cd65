"""Our own shapes of Five Safes refuse the mutations of a crate that the profile's shapes refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.five_safes_rules import broken
from support.proofs import proof_api, unpacked


def _organisation_as_agent(graph: list[dict[str, Any]]) -> None:
    _one(graph, "CreateAction")["agent"] = {"@id": _one(graph, "Organization")["@id"]}


def _no_run(graph: list[dict[str, Any]]) -> None:
    graph.remove(_one(graph, "CreateAction"))


def _second_run(graph: list[dict[str, Any]]) -> None:
    second = {**_one(graph, "CreateAction"), "@id": "#second"}
    graph.append(second)
    _one(graph, "./")["mentions"].append({"@id": second["@id"]})


def _filter_as_run(graph: list[dict[str, Any]]) -> None:
    software = next(each["@id"] for each in graph if each.get("name") == "Sluice")
    _second_run(graph)
    graph[-1]["instrument"] = {"@id": software}


def _no_project(graph: list[dict[str, Any]]) -> None:
    del _one(graph, "./")["sourceOrganization"]


def _status_as_iri(graph: list[dict[str, Any]]) -> None:
    run = _one(graph, "CreateAction")
    run["actionStatus"] = {"@id": run["actionStatus"]}


def _type_for_at_type(graph: list[dict[str, Any]]) -> None:
    check = _one(graph, "AssessAction")
    check["type"] = check["@type"]


def _unmentioned(graph: list[dict[str, Any]]) -> None:
    root, check = _one(graph, "./"), _one(graph, "AssessAction")
    root["mentions"] = [each for each in root["mentions"] if each["@id"] != check["@id"]]


MUTATIONS: dict[Callable[[list[dict[str, Any]]], None], set[str]] = {
    _organisation_as_agent: {
        "a CreateAction has no agent that is a Person",
        "the agent has no affiliation, or is no member of a Project",
        "the agent is no member of the root's Project",
    },
    _no_run: {"the root mentions no CreateAction"},
    _second_run: {"there is more than one CreateAction"},
    _filter_as_run: {"there is more than one CreateAction", "a CreateAction's instrument is not the mainEntity"},
    _no_project: {
        "the root has no sourceOrganization that is a Project",
        "the agent is no member of the root's Project",
    },
    _status_as_iri: {"a CreateAction has no status of the four"},
    _type_for_at_type: {"an entity has `type` instead of `@type`"},
    _unmentioned: {"the root does not mention the AssessAction"},
}


def _one(graph: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(each for each in graph if kind == each["@id"] or kind in (each["@type"], *each["@type"]))


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_our_own_shapes_refuse_what_the_profiles_shapes_refuse(
    mutate: Callable[[list[dict[str, Any]]], None], tmp_path: Path
) -> None:
    proofs = proof_api()
    bag = unpacked(proofs.crate(proofs.finished()), tmp_path)
    graph = json.loads((bag / "data/ro-crate-metadata.json").read_text())
    mutate(graph["@graph"])
    assert {re.sub(" urn:.*", "", told) for told in broken(graph)} == MUTATIONS[mutate]
