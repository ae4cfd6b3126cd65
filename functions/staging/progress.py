"""How far configure and publish are: lines on stderr, so that whoever reads the live log of the Job knows.

A line is `progress {"files":1,"files_total":2,"bytes":10,"bytes_total":20}`. It is not part of the published logs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress

import msgspec

EVERY = 1.0  # seconds between two lines
_MARK = b"progress "


class Progress(msgspec.Struct, frozen=True):
    """What is done, and what there is to do; `bytes_total` is None while a size is unknown."""

    files: int
    files_total: int
    bytes: int
    bytes_total: int | None


Tell = Callable[[Progress], None]


def tell(progress: Progress) -> None:
    """Write the line; nobody who has closed stderr is waiting for it."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{(_MARK + msgspec.json.encode(progress)).decode()}\n")


def last(log: Iterable[bytes]) -> Progress | None:
    """The last progress that a stage's log tells; None if there is none."""
    found, rest = b"", b""
    for chunk in log:
        *lines, rest = (rest + chunk).split(b"\n")
        found = next((line for line in reversed(lines) if line.startswith(_MARK)), found)
    try:
        return msgspec.json.decode(found.removeprefix(_MARK), type=Progress)
    except msgspec.DecodeError:
        return None
