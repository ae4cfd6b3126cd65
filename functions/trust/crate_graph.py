"""The graph of a crate: who asked for what, what ran on which data, what was checked, and what left.

`Words` (functions/trust/five_safes.py) says how the profile spells it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from functions.trust.bag import Part, as_iri
from functions.trust.crate_actions import Action, actions
from functions.trust.crate_entities import images, inputs, people
from functions.trust.crate_names import SHA256, Entity, Names, given, image_id, references
from functions.trust.five_safes import DESCRIBED, LICENSE, WORKFLOW_CRATE, Words
from functions.trust.run_record import Edition, RunRecord


def graph(run: RunRecord, edition: Edition, words: Words, parts: Sequence[Part]) -> dict[str, Any]:
    """Return the JSON-LD of `ro-crate-metadata.json`. `parts`: the other files of the crate."""
    return {"@context": list(words.context), "@graph": list(_Graph(Names(run, edition, parts), words).entities())}


class _Graph:
    def __init__(self, names: Names, words: Words) -> None:
        self.names, self.words, self.run = names, words, names.run
        self.actions = actions(names.run, names.edition)

    def entities(self) -> Iterator[Entity]:
        yield {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": {"@id": self.words.base},
        }
        yield self._root()
        for iri, (name, version) in self.words.profiles.items():
            yield {"@id": iri, "@type": ["CreativeWork", "Profile"], "name": name, "version": version}
        yield from self._workflow()
        yield self._identifier()
        yield from self._files()
        yield from inputs(self.names)
        yield from people(self.names, {action.person for action in self.actions if action.person})
        yield from images(self.names)
        yield from (self._action(action) for action in self.actions)
        yield from self._instruments()
        for iri, described in DESCRIBED.items():
            yield {"@id": iri, **described}

    # --- the crate and the workflow -----------------------------------------------------------------

    def _root(self) -> Entity:
        names, job = self.names, self.run.job
        own = [part.path for part in names.own]
        return {
            "@id": "./",
            "@type": "Dataset",
            "name": f"Compute-to-data run {job}",
            "description": "What ran on which data, who allowed what to leave, and what left.",
            "identifier": {"@id": "#identifier"},
            "datePublished": self.names.time(self.run.made_at),
            "license": {"@id": LICENSE},
            "publisher": {"@id": self.names.base},
            "author": {"@id": self.names.base},
            "sourceOrganization": {"@id": self.names.project},
            "mainEntity": {"@id": self.names.workflow},
            "conformsTo": [{"@id": iri} for iri in self.words.profiles],
            "hasPart": references(dict.fromkeys([names.workflow, "workflow/", *map(as_iri, own), *names.results])),
            "mentions": references([self.names.action(action.key) for action in self.actions]),
        }

    def _workflow(self) -> Iterator[Entity]:
        (document,) = (part for part in self.names.parts if part.path == "workflow/workflow.json")
        copy = [part.path for part in self.names.parts if part.path.startswith("workflow/")]
        about: Entity = {
            "datePublished": self.names.time(self.run.record.workflow.created_at)[:10],
            "license": {"@id": LICENSE},
            "conformsTo": {"@id": WORKFLOW_CRATE},
            "distribution": {"@id": self.names.archive},
        }
        yield {
            "@id": self.names.workflow,
            "@type": ["Dataset", "SoftwareApplication"],
            "name": self.names.work.title,
            "version": f"sha256:{document.sha256}",
            "description": f"{self.names.work.kind}, and the algorithm's code where the document has it.",
            "url": self.names.workflow,
            **about,
        }
        yield {
            "@id": "workflow/",
            "@type": "Dataset",
            "name": f"{self.names.work.title}, as it was asked for",
            "description": "Secrets and addresses of data are replaced by keyed digests.",
            "sameAs": {"@id": self.names.workflow},
            "hasPart": references(map(as_iri, copy)),
            **about,
        }
        yield {
            "@id": self.names.archive,
            "@type": "DataDownload",
            "name": "The workflow crate, zipped",
            "encodingFormat": "application/zip",
            "conformsTo": {"@id": "https://w3id.org/ro/crate"},
        }

    def _identifier(self) -> Entity:
        return {
            "@id": "#identifier",
            "@type": "PropertyValue",
            "name": "Sluice job",
            "propertyID": f"{self.names.base}crates",
            "value": self.run.job,
            "url": f"{self.names.base}crates/{self.run.job}",
        }

    def _files(self) -> Iterator[Entity]:
        many = self.names.many
        if many:
            yield {
                "@id": "outputs/",
                "@type": "Dataset",
                "name": "The released files",
                "description": f"{len(self.names.outputs)} files; manifest-sha512.txt of the bag names each.",
            }
        for part in self.names.parts:
            if many and part in self.names.outputs:
                continue
            yield {
                "@id": as_iri(part.path),
                "@type": "File",
                "name": part.name,
                "description": part.description,
                "encodingFormat": part.media_type,
                "contentSize": str(part.size),
                "sha256": part.sha256,
            }

    # --- actions -----------------------------------------------------------------------------------

    def _action(self, action: Action) -> Entity:
        kind, additional = self.words.actions[action.kind]
        entity: Entity = {"@id": self.names.action(action.key), "@type": kind, "name": action.name}
        if additional:
            entity["additionalType"] = {"@id": additional}
        if action.begun:
            entity["startTime"] = self.names.time(action.begun)
        if action.ended:
            entity["endTime"] = self.names.time(action.ended)
        entity["actionStatus"] = self.words.statuses[action.status]
        if action.error:
            entity["error"] = action.error
        return {**entity, **self._details(action)}

    def _details(self, action: Action) -> Mapping[str, Any]:
        """The object, instrument, agent and result of an action."""
        agent = {"@id": f"urn:ethereum:{action.person}" if action.person else self.names.software}
        match action.kind:
            case "run":
                ran = references([image_id(reference, digest) for reference, digest in self.names.images])
                data = references([f"#input-{number}" for number in range(len(self.names.data))])
                return given(
                    description="; ".join(self.names.work.commands) or "as the document says",
                    instrument={"@id": self.names.workflow},
                    agent={"@id": self.names.person},
                    object=data,
                    result=references(self.names.results),  # a failed run may have some too
                    containerImage=ran,
                    environment={"@id": "#environment"},
                )
            case "fetch":
                return {"object": {"@id": self.names.archive}, "result": {"@id": "workflow/"}, "agent": agent}
            case "sign-off":
                about = references(["./", self.names.workflow, self.names.project])
                return {"object": about, "instrument": {"@id": self.names.terms}, "agent": agent}
            case "checksums":
                return {"object": {"@id": "./"}, "instrument": {"@id": SHA256}, "agent": agent}
            case _:
                report = [part.path for part in self.names.parts if part.path == action.report]
                about = references(["./", *self.names.results])
                used = {"@id": self.names.terms}
                return given(object=about, instrument=used, agent=agent, result=references(report))

    def _instruments(self) -> Iterator[Entity]:
        digest = self.run.facts().get("policy", "")
        name = "Policy of the data sets" if digest else "The operator's terms of the environment"
        version = {"sha256": digest, "version": f"sha256:{digest}"} if digest else {}
        yield {"@id": self.names.terms, "@type": "CreativeWork", "name": name, **version}
