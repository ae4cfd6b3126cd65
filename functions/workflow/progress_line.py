"""The progress line that configure and publish print to stderr, which the operator's routes read from the live log.

A line is `progress {"files":1,"files_total":2,"bytes":10,"bytes_total":20}`. It is not part of the published logs.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

_MARK = b"progress "


class Progress(msgspec.Struct, frozen=True):
    """Files and bytes that are done, and how many there are; `bytes_total` is None while a size is unknown."""

    files: int
    files_total: int
    bytes: int
    bytes_total: int | None


def line(progress: Progress) -> str:
    """The line, with its line feed."""
    return f"{(_MARK + msgspec.json.encode(progress)).decode()}\n"


# Made at import, in one thread: msgspec crashes if two threads prepare one type at the same time.
_PROGRESS = msgspec.json.Decoder(Progress)


def last(log: Iterable[bytes]) -> Progress | None:
    """Return the last progress in a stage's log, or None."""
    found, rest = b"", b""
    for chunk in log:
        *lines, rest = (rest + chunk).split(b"\n")
        found = next((line for line in reversed(lines) if line.startswith(_MARK)), found)
    try:
        return _PROGRESS.decode(found.removeprefix(_MARK))
    except (ValueError, RecursionError):  # msgspec.DecodeError and UnicodeError are ValueErrors
        return None
