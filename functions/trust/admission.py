"""What a policy must know of an Ocean workflow document: its data sets, and its algorithm. Pure."""

from __future__ import annotations

import hashlib

import msgspec

from functions.trust.allow_list import Candidate
from functions.workflow.document import Algorithm, Definition

# Where the document holds what a refusal is about, below `$.stages[0].algorithm`.
PLACES = {"rawcode": ".rawcode", "custom": "", "algorithm": ""}


def data_sets(definition: Definition) -> list[tuple[str, ...]]:
    """Return the names of each data set: its DID, where it has one, and its URLs."""
    return [tuple(filter(None, (item.id, *item.urls))) for item in definition.stage.input]


def candidate(definition: Definition) -> Candidate:
    """Return the algorithm as far as the document tells: the bytes only of code that it carries."""
    algorithm, inputs = definition.stage.algorithm, definition.stage.input
    raw = algorithm.rawcode or ""
    return Candidate(
        did=algorithm.id,
        image=algorithm.container.checksum,
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
