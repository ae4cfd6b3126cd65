"""How a crate names things: the ids of one workflow's entities, and the spelling of references and times."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from functions.trust import policy
from functions.trust.bag import Part, as_iri
from functions.trust.requested_work import ImageName, of_submission
from functions.trust.run_record import Edition, RunRecord
from functions.workflow.model import Phase, Stage

Entity = dict[str, Any]
# With more outputs than this, the graph names their folder, and the bag's manifest names the files.
MANY = 300
DELIVERED = "delivered.jsonl"  # the outputs of a task of TES, whose bytes are not in the crate
SHA256 = "https://www.iana.org/assignments/named-information#sha-256"
_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")
_RESULTS = ("outputs/", "logs/")


class Names:
    """The ids of the entities of one crate, and what several of them are made from."""

    def __init__(self, run: RunRecord, edition: Edition, parts: Sequence[Part]) -> None:
        self.run, self.edition, self.parts = run, edition, parts
        self.base = run.origin
        self.work = of_submission(run.record.submission)
        self.policy = policy.decode(run.record.submission.policy)
        self.workflow = f"{self.base}workflows/{run.job}/"
        self.archive = f"{self.base}workflows/{run.job}.zip"
        self.software = f"{self.base}software/sluice-{run.software}"
        self.consumer = f"{self.base}organisations/consumer"
        named = "-".join(self.policy.names)
        environment = run.record.workflow.environment
        self.project = f"{self.base}projects/{named or environment}"
        self.terms = f"{self.base}{f'policies/{named}' if named else f'environments/{environment}'}"
        address = run.record.submission.owner
        known = edition is Edition.HOLDER and _ADDRESS.fullmatch(address)
        self.person = f"urn:ethereum:{address.lower()}" if known else "#requester"
        self.outputs = [part for part in parts if part.path.startswith(_RESULTS)]
        self.own = [part for part in parts if not part.path.startswith((*_RESULTS, "workflow/"))]

    @property
    def many(self) -> bool:
        """Whether there are too many outputs to list each."""
        return len(self.outputs) > MANY

    @property
    def results(self) -> list[str]:
        """The ids of the released files, or of their folder; of a task of TES that of their list."""
        listed = [part.path for part in self.parts if part.path == DELIVERED]
        return listed or (["outputs/"] if self.many else [as_iri(part.path) for part in self.outputs])

    @cached_property
    def data(self) -> Sequence[tuple[str, str, int]]:
        """Name, sha256 and size of each file of the data sets; the data sets' names alone if none was fetched."""
        fetched = [file for file in self.run.inputs if file.path.startswith("inputs/")]
        if not fetched:
            return [(name, "", 0) for name in self.work.inputs.values()]
        found = []
        for file in fetched:
            _, folder, *rest = file.path.split("/")
            found.append((" ".join((self.work.inputs.get(folder, folder), *rest)), file.sha256, file.size))
        return found

    @cached_property
    def images(self) -> Sequence[tuple[str, str]]:
        """Each image that ran as the algorithm: as it was asked for, and its digest."""
        lines = [entry for entry, _ in self.run.covered if entry.before is Phase(Stage.ALGORITHM)]
        digests = [entry.facts["image"] for entry in lines if "image" in entry.facts]
        return list(dict.fromkeys(zip(self.work.images, digests, strict=False)))

    def action(self, key: str) -> str:
        """The id of an action."""
        return f"urn:uuid:{uuid5(NAMESPACE_URL, f'{self.base}{self.run.job}/{key}')}"

    def time(self, at: datetime) -> str:
        """RFC 3339 with `+00:00` and three digits. The consumer of a guarded run learns the minute only."""
        if self.edition is Edition.CONSUMER and self.run.guarded:
            return f"{at:%Y-%m-%dT%H:%M}:00+00:00"
        return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}+00:00"


def image_id(reference: str, digest: str) -> str:
    """Return the id of an image that ran."""
    image = ImageName.of(reference)
    return f"https://{image.registry}/{image.name}@{digest}"


def references(iris: Iterable[str]) -> Any:
    """Return references. One value stands alone: an array of one is a finding of the validator."""
    found = [{"@id": iri} for iri in iris]
    return found[0] if len(found) == 1 else found


def given(**values: Any) -> Mapping[str, Any]:
    """Return the values that there are."""
    return {name: value for name, value in values.items() if value}
