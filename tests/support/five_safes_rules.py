"""The MUSTs of Five Safes RO-Crate 0.4 that its own shapes test, as a list of what a graph breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

STATUSES = {f"http://schema.org/{word}ActionStatus" for word in ("Potential", "Active", "Completed", "Failed")}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_SHP = "https://w3id.org/shp#"


def broken(crate: Mapping[str, Any]) -> list[str]:
    """What the crate's graph breaks; nothing if it meets the profile."""
    return list(_Graph(crate).broken())


class _Graph:
    def __init__(self, crate: Mapping[str, Any]) -> None:
        self.entities = {entity["@id"]: entity for entity in crate["@graph"]}
        self.root = self.entities["./"]

    def broken(self) -> Iterator[str]:
        yield from self._of_root()
        for entity in self.of_type("CreateAction"):
            yield from self._of_run(entity)
        for entity in self.of_type("AssessAction"):
            yield from self._of_check(entity)
        for entity in self.entities.values():
            for name in ("startTime", "endTime", "datePublished"):
                if "T" in str(entity.get(name, "")) and not _TIME.fullmatch(str(entity[name])):
                    yield f"{entity['@id']}: {name} is not RFC 3339"
            if not entity.get("@type"):
                yield f"{entity['@id']}: has no @type"

    def of_type(self, name: str) -> list[dict[str, Any]]:
        return [entity for entity in self.entities.values() if name in _list(entity.get("@type"))]

    def named(self, entity: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
        ids = [each.get("@id") for each in _list(entity.get(name)) if isinstance(each, dict)]
        return [self.entities[iri] for iri in ids if iri in self.entities]

    def is_a(self, entity: Mapping[str, Any], name: str, *types: str) -> bool:
        return any(set(types) & set(_list(each.get("@type"))) for each in self.named(entity, name))

    def _of_root(self) -> Iterator[str]:
        if not self.is_a(self.root, "sourceOrganization", "Project"):
            yield "the root has no sourceOrganization that is a Project"
        if len(self.named(self.root, "mainEntity")) != 1 or not self.is_a(self.root, "mainEntity", "Dataset"):
            yield "the root does not have one mainEntity that is a Dataset"
        for entity in self.named(self.root, "mainEntity"):
            profiles = _list(entity.get("conformsTo"))
            if len(profiles) != 1 or "workflow-ro-crate" not in profiles[0]["@id"]:
                yield "the mainEntity does not conform to a Workflow RO-Crate alone"
        mentioned = {entity["@id"] for entity in self.named(self.root, "mentions")}
        runs = [each for each in self.of_type("CreateAction") if each["@id"] in mentioned]
        if not runs:
            yield "the root mentions no CreateAction"
        if len(self.of_type("CreateAction")) > 1:  # the profile would take another one of the same instrument
            yield "there is more than one CreateAction"
        if missing := [each["@id"] for each in self.of_type("AssessAction") if each["@id"] not in mentioned]:
            yield f"the root does not mention the AssessAction {missing[0]}"
        if any(str(each.get("type", "")) for each in self.entities.values()):
            yield "an entity has `type` instead of `@type`"

    def _of_run(self, run: dict[str, Any]) -> Iterator[str]:
        if len(run.get("name", "")) < 10:
            yield "a CreateAction has a name of less than 10 characters"
        if str(run.get("actionStatus")) not in STATUSES:
            yield "a CreateAction has no status of the four"
        if run.get("instrument") != self.root["mainEntity"]:
            yield "a CreateAction's instrument is not the mainEntity"
        if not self.is_a(run, "agent", "Person"):
            yield "a CreateAction has no agent that is a Person"
        if len(self.named(run, "object")) != len(_list(run.get("object"))):
            yield "an object of a CreateAction is not described"
        yield from self._of_people(run)

    def _of_people(self, run: dict[str, Any]) -> Iterator[str]:
        for person in self.named(run, "agent"):
            if not self.is_a(person, "affiliation", "Organization") or not self.is_a(person, "memberOf", "Project"):
                yield "the agent has no affiliation, or is no member of a Project"
            if person.get("memberOf") != self.root.get("sourceOrganization"):
                yield "the agent is no member of the root's Project"
        for project in self.of_type("Project"):
            if not self.is_a(project, "member", "Organization", "Person") or not self.is_a(project, "funding", "Grant"):
                yield "a Project has no member, or no funding"

    def _of_check(self, check: dict[str, Any]) -> Iterator[str]:
        kind = _list(check.get("additionalType"))
        known = {f"{_SHP}{word}" for word in ("CheckValue", "ValidationCheck", "SignOff", "DisclosureCheck")}
        if len(kind) != 1 or kind[0].get("@id") not in known:
            yield f"{check['@id']} has no additionalType of the four"
        if not check.get("name") or str(check.get("actionStatus")) not in STATUSES:
            yield f"{check['@id']} has no name, or no status of the four"


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
