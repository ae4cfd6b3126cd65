"""The parts of a submission that a policy judges: its data sets, and its algorithm or executors. Pure."""

from __future__ import annotations

import hashlib
import shlex

import msgspec

from functions.trust.allow_list import Candidate
from functions.workflow.document import Algorithm, Definition
from functions.workflow.tes_task import Document, TesTask, url_of

# Where the document holds what a refusal is about, below `$.stages[0].algorithm`.
PLACES = {"rawcode": ".rawcode", "custom": "", "algorithm": ""}


def data_sets(definition: Document) -> list[tuple[str, ...]]:
    """Return the names of each data set: its DID, if it has one, and its URLs. The URL of a folder ends with `/`."""
    if isinstance(definition, TesTask):
        inputs = [each for each in definition.inputs if not each.content]
        return [(url_of(each.url) + ("/" if each.type == "DIRECTORY" else ""),) for each in inputs]
    return [tuple(filter(None, (item.id, *item.urls))) for item in definition.stage.input]


def executors(task: TesTask) -> list[Candidate]:
    """Return what runs in a TES task. Each command stands for an entrypoint; no file is known beforehand."""
    custom = any(each.content for each in task.inputs)
    return [
        Candidate(
            image=each.image.partition("@")[2],
            entrypoint=shlex.join(each.command),
            files=(),
            custom=custom or bool(each.env),
        )
        for each in task.executors
    ]


def candidate(definition: Definition) -> Candidate:
    """Return the algorithm as far as the document tells: the bytes only of code that it carries."""
    algorithm, inputs = definition.stage.algorithm, definition.stage.input
    raw = algorithm.rawcode or ""
    return Candidate(
        did=algorithm.id,
        image=algorithm.container.reference.partition("@")[2],
        entrypoint=algorithm.container.entrypoint,
        files=(hashlib.sha256(raw.encode(errors="surrogatepass")).hexdigest(),) if raw else None,
        raw=bool(raw),
        custom=_is_custom(algorithm) or any(item.remote and _has_user_data(item.remote) for item in inputs),
    )


def _is_custom(algorithm: Algorithm) -> bool:
    given = algorithm.algocustomdata not in (msgspec.UNSET, None, {}, "") or bool(algorithm.algouserdata)
    return given or bool(algorithm.remote and _has_user_data(algorithm.remote))


def _has_user_data(remote: object) -> bool:
    return any(getattr(remote, name) for name in ("userdata", "userData", "algouserdata"))
