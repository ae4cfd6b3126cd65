"""Finds what the operator's filter changed: compares the list that its Pod made first with the outputs now."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from functions.workflow.reported_facts import digest_of
from functions.workflow.volume_layout import FILTER_FOLDER, OUTPUTS, UNFILTERED_LIST

LONGEST = 64 << 20  # characters of the list
COMPLETE = "complete\n"  # its last line
_LINE = re.compile(r"^([0-9a-f]{64})  \./(.+)$", re.MULTILINE)
_CHUNK = 1 << 20


def facts_of(volume: Path) -> dict[str, str]:
    """Return the digest over the outputs before the filter, and how many it removed, changed and added.

    Returns nothing if they were not listed: no filter ran, or it ran the command of its image. Raises OSError.
    """
    before = _listed(volume)
    if before is None:
        return {}
    now = dict(_outputs(volume))
    kept = before.keys() & now.keys()
    return {
        "unfiltered": digest_of({"path": path, "sha256": sha256} for path, sha256 in before.items()),
        "removed": str(len(before) - len(kept)),
        "changed": str(sum(_digest(now[path]) != before[path] for path in kept)),
        "added": str(len(now) - len(kept)),
    }


def _listed(volume: Path) -> dict[str, str] | None:
    """Return the sha256 of each output before the filter; None if there is no whole list."""
    try:
        with open(volume / FILTER_FOLDER / UNFILTERED_LIST, encoding="utf-8", errors="replace", newline="\n") as file:
            text = file.read(LONGEST)
    except OSError:
        return None
    if not text.endswith(COMPLETE):
        return None
    return {f"{OUTPUTS}/{name}": sha256 for sha256, name in _LINE.findall(text)}


def _outputs(volume: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each output by its name in the list. Names that sha256sum would escape are left out."""
    root = os.fsencode(volume)
    for folder, _, names in os.walk(root + b"/" + OUTPUTS.encode()):
        for name in names:
            path = os.path.join(folder, name)
            listed = path[len(root) + 1 :].decode("utf-8", "replace")
            if not os.path.islink(path) and os.path.isfile(path) and not set("\n\r\\") & set(listed):
                yield listed, path


def _digest(path: bytes) -> str:
    digest = hashlib.sha256()
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
