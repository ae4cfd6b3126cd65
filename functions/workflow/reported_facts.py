"""Facts that a stage program reports with its end: digests and counts, as the last line of its termination message.

Only our own programs are asked. Their facts become facts of a history line, so a reader keeps known names and plain
values, and drops everything else.

A list of files has one digest: over the canonical JSON of `[{path, sha256, size}, …]`, sorted by path.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from functions.workflow.volume_layout import TRANSFORMATIONS

# What the programs report: digests over the fetched inputs, of the algorithm and of the checks' report; how many files
# the checks block; the digest over the outputs before the filter, and how many of them it removed, changed and added.
NAMES = ("inputs", "algorithm", "checks", "blocked", "unfiltered", "removed", "changed", "added")
_VALUE = re.compile(r"[0-9a-f]{64}|[0-9]{1,12}")
_IMAGE_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def of_fetched(files: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the digest over the inputs, and the algorithm's: of its file, or over the list of its files.

    `files`: the entries of provenance.json, with `path`, `sha256` and `size`.
    """
    found = [{name: file[name] for name in ("path", "sha256", "size")} for file in files]
    algorithm = [file for file in found if is_algorithm(file["path"])]
    inputs = digest_of(file for file in found if not is_algorithm(file["path"]))
    return {"inputs": inputs, "algorithm": algorithm[0]["sha256"] if len(algorithm) == 1 else digest_of(algorithm)}


def is_algorithm(path: str) -> bool:
    """Whether a file on the volume is the algorithm, or a part of it."""
    return path.startswith(f"{TRANSFORMATIONS}/")


def digest_of(files: Iterable[Mapping[str, Any]]) -> str:
    """Return the one digest of a list of files."""
    ordered = sorted(files, key=lambda file: str(file["path"]))
    return hashlib.sha256(msgspec.json.encode(ordered, order="sorted")).hexdigest()


def line(facts: Mapping[str, str]) -> bytes:
    """Return what follows the message; nothing without facts."""
    return b"\n" + msgspec.json.encode(facts) if facts else b""


def read(message: str) -> dict[str, str]:
    """Return the facts of a termination message. It may be forged, cut or missing."""
    try:
        values = msgspec.json.decode(message.partition("\n")[2] or "null")
    except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
        return {}
    if not isinstance(values, dict):
        return {}
    known = {name: values[name] for name in NAMES if isinstance(values.get(name), str)}
    return {name: value for name, value in known.items() if _VALUE.fullmatch(value)}


def image_of(image_id: str) -> dict[str, str]:
    """Return the digest of the image that ran, from a Pod's `imageID`; nothing if it names none."""
    found = _IMAGE_DIGEST.findall(image_id)
    return {"image": found[-1]} if found else {}
