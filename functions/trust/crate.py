"""A crate: a BagIt bag with an RO-Crate about one workflow. The same record makes the same bytes.

The data holder's edition has the history, the policy, the checks' report and the decisions. The consumer's edition has
what the consumer may know: with a filter, checks or a hold it has neither the history nor exact times.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

from msgspec import Struct

from functions.trust import canonical
from functions.trust.bag import MANIFEST, PAYLOAD, Part, tag_files
from functions.trust.crate_graph import graph
from functions.trust.crate_names import DELIVERED
from functions.trust.five_safes import CRATE_1_1, FIVE_SAFES_0_4, LICENSE, WORKFLOW_CRATE, WORKFLOW_RUN_TERMS, Words
from functions.trust.requested_work import RequestedWork, of_submission, redacted
from functions.trust.run_record import Edition, RunRecord

METADATA = "ro-crate-metadata.json"
_JSON = "application/json"
_NAMESPACE = UUID("6f1c2a54-59b5-5a62-9d0a-3a4c07d8387b")
_LANGUAGES = {
    "Ocean workflow": ("Ocean Protocol compute-to-data workflow", "https://docs.oceanprotocol.com/"),
    "GA4GH TES task": ("GA4GH Task Execution Service task", "https://ga4gh.github.io/task-execution-schemas/"),
}


class Crate(Struct, frozen=True):
    """The files of a bag: `parts` lie below `data/`, `tags` beside it."""

    job: str
    edition: Edition
    parts: Sequence[Part]
    tags: Mapping[str, bytes]

    @property
    def folder(self) -> str:
        """The name of the bag's folder."""
        return f"sluice-{self.job}-{self.edition}"

    @property
    def digests(self) -> Mapping[str, str]:
        """What a statement is about: the sha256 of the metadata, and of the manifest that binds the bag."""
        (metadata,) = (part.sha256 for part in self.parts if part.path == METADATA)
        binding = hashlib.sha256(self.tags[MANIFEST]).hexdigest()
        return {f"{self.edition}/{PAYLOAD}{METADATA}": metadata, f"{self.edition}/{MANIFEST}": binding}


def build(run: RunRecord, edition: Edition, words: Words = FIVE_SAFES_0_4) -> Crate:
    """Return the crate of a workflow."""
    parts = [*_workflow(run), *_evidence(run, edition), *_results(run)]
    content = _json(graph(run, edition, words, parts))
    parts.append(Part.of_bytes(METADATA, "RO-Crate metadata", _JSON, "the crate's graph", content))
    identifier = f"urn:uuid:{uuid5(_NAMESPACE, f'{run.origin} {run.job} {run.head} {edition}')}"
    return Crate(run.job, edition, parts, tag_files(parts, identifier, f"{run.made_at:%Y-%m-%d}"))


def _workflow(run: RunRecord) -> Iterator[Part]:
    """Yield the nested Workflow RO-Crate: the redacted document, and the code that is part of it."""
    submission, salt = run.record.submission, run.record.workflow.salt
    work = of_submission(submission)
    document = redacted(submission, salt)
    described = "as submitted; secrets and addresses of data are replaced"
    parts = [Part.of_bytes("workflow/workflow.json", work.kind, _JSON, described, document)]
    if work.code:
        described = "the code that the document brought; the history has the sha256 of what ran"
        parts.append(Part.of_bytes("workflow/algorithm", "Algorithm", "text/plain", described, work.code.encode()))
    metadata = _json(_nested(run, work, parts))
    yield from parts
    yield Part.of_bytes(f"workflow/{METADATA}", "Workflow RO-Crate metadata", _JSON, "Workflow RO-Crate 1.0", metadata)


def _nested(run: RunRecord, work: RequestedWork, parts: Sequence[Part]) -> dict[str, Any]:
    language, url = _LANGUAGES[work.kind]
    files = [{"@id": part.path.removeprefix("workflow/")} for part in parts]
    published = f"{run.record.workflow.created_at:%Y-%m-%d}"
    named = {"name": work.title, "description": f"{work.kind}: {'; '.join(work.commands) or 'as the document says'}"}
    graph_: list[dict[str, Any]] = [
        {
            "@id": METADATA,
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": [{"@id": CRATE_1_1}, {"@id": WORKFLOW_CRATE}],
        },
        {
            "@id": "./",
            "@type": "Dataset",
            **named,
            "datePublished": published,
            "license": {"@id": LICENSE},
            "mainEntity": files[0],
            "hasPart": files if len(files) > 1 else files[0],
        },
        {
            **files[0],
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            **named,
            "programmingLanguage": {"@id": "#language"},
        },
        *({**file, "@type": "File", "name": "Algorithm", "encodingFormat": "text/plain"} for file in files[1:]),
        {
            "@id": "#language",
            "@type": "ComputerLanguage",
            "name": language,
            "identifier": {"@id": url},
            "url": {"@id": url},
        },
        {"@id": url, "@type": "CreativeWork", "name": language},
        {"@id": LICENSE, "@type": "CreativeWork", "name": "CC0 1.0", "description": "Public domain dedication"},
    ]
    return {"@context": [f"{CRATE_1_1}/context", WORKFLOW_RUN_TERMS], "@graph": graph_}


def _evidence(run: RunRecord, edition: Edition) -> Iterator[Part]:
    """Yield the evidence of how the results were made, as far as readers of the edition may see it."""
    if edition is Edition.HOLDER or not run.guarded:
        described = "one line per transition; each names the digest of the line before"
        content = _lines(run.lines)
        yield Part.of_bytes("history.jsonl", "Hash-chained history", "application/jsonl", described, content)
    if run.delivered:
        described = "path, size and sha256 of each file that was written to the URL that the client gave"
        yield Part.of_bytes(DELIVERED, "Delivered files", "application/jsonl", described, _lines(run.delivered))
    if edition is not Edition.HOLDER:
        return
    if run.record.submission.policy:
        described = "what the data holders asked for, merged; the history has its sha256"
        content = run.record.submission.policy.encode()
        yield Part.of_bytes("policy.json", "Policy of the data sets", _JSON, described, content)
    if run.report:
        described = "every file, every rule, every finding"
        content = run.report.encode()
        yield Part.of_bytes("checks.json", "Report of the disclosure checks", _JSON, described, content)
    if run.decisions:
        described = "what the checkers signed, one decision per line; the history has the digest of the last"
        content = b"".join(decision.text.encode() + b"\n" for decision in run.decisions)
        yield Part.of_bytes("decisions.jsonl", "Decisions", "application/jsonl", described, content)
    if run.withheld:
        described = "path, size and sha256 of each file that did not leave"
        yield Part.of_bytes("withheld.jsonl", "Withheld files", "application/jsonl", described, _lines(run.withheld))


def _lines(values: Iterable[Mapping[str, Any]]) -> bytes:
    """Return canonical JSON, one value a line."""
    return b"".join(canonical.encode(dict(value)) + b"\n" for value in values)


def _results(run: RunRecord) -> Iterator[Part]:
    for file in run.released:
        plain = f"encrypted to the consumer; sha256 before encryption: {file.plain_sha256}" if file.plain_sha256 else ""
        yield Part.of_result(file, plain or "a released file")


def _json(value: Any) -> bytes:
    """Return JSON that people can read: one entity a line."""
    lines = ",\n".join(json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in value["@graph"])
    context = json.dumps(value["@context"], ensure_ascii=False)
    return f'{{"@context":{context},"@graph":[\n{lines}\n]}}\n'.encode()
