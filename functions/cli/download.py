"""Results to disk: resumed where they broke off, believed only with the right checksum.

A server says a file's sha256 in its ETag. What is not complete yet lies beside its place as `<name>.part`.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from functions.cli.errors import FAILED, fail

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from functions.cli.api_client import Client

_CHUNK = 1 << 18
_SHA256 = re.compile(r'(?:W/)?"?([0-9a-f]{64})"?')
_TRIES = 5  # in a row without a byte received
_OUTPUT = "output"


@dataclass(frozen=True)
class Place:
    """A result and where it goes. `index`: its number at the server."""

    index: int
    filename: str
    size: int
    type: str
    path: Path

    @property
    def part(self) -> Path:
        return self.path.with_name(self.path.name + ".part")


def places(results: Iterable[Any], folder: Path) -> list[Place]:
    """Where each result goes: outputs below `folder` under their own names, logs in `logs/`.

    Names are the server's; one that would lead out of `folder` ends the command.
    """
    taken: set[Path] = set()
    found = []
    for index, result in enumerate(results):
        name = PurePosixPath(str(result["filename"]))
        if name.is_absolute() or ".." in name.parts or not name.parts or "\0" in str(name):
            fail(f"the server names a result {str(name)!r}, which would lie outside of {folder}; nothing was saved")
        path = folder / name if result["type"] == _OUTPUT else folder / "logs" / name
        while path in taken or path.with_name(path.name.removesuffix(".part")) in taken:
            path = path.with_name(path.name + "~")
        taken.add(path)
        found.append(Place(index, str(name), int(result["filesize"]), str(result["type"]), path))
    return found


def writable(folder: Path) -> None:
    """Make the folder of the results; ends the command where nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as e:
        fail(f"nothing can be written to {folder} ({e.strerror or e}); choose another folder with --out")


@dataclass
class Download:
    """Downloads the results of one job. `progress` is told how many bytes of the present file are there."""

    client: Client
    job: str
    owner: str
    progress: Callable[[int], None] = lambda position: None
    pause: Callable[[float], None] = field(default=time.sleep)

    def fetch(self, place: Place) -> dict[str, Any]:
        """Bring one result to its place; what is said of it afterwards. Ends the command where that cannot be."""
        try:
            place.path.parent.mkdir(parents=True, exist_ok=True)
            digest = self._complete(place)
        except OSError as e:
            fail(f"{place.path} cannot be written: {e.strerror or e}", FAILED)
        return {
            "filename": place.filename,
            "filesize": place.size,
            "type": place.type,
            "path": str(place.path),
            "sha256": digest,
        }

    def _complete(self, place: Place) -> str:
        if place.path.is_file() and place.path.stat().st_size == place.size:
            # Had before? Then the server, told the checksum, has nothing to send.
            digest = _digest(place.path)
            with self._request(place, 0, digest) as answer:
                if answer.status == 304:
                    self.progress(place.size)
                    return digest
        digest = self._fill(place)
        os.replace(place.part, place.path)
        return digest

    def _fill(self, place: Place) -> str:
        """Write the part until it is whole; its checksum."""
        from urllib3.exceptions import HTTPError

        from functions.cli.api_client import NoServer, Refused

        failures = 0
        while True:
            have = _length(place.part)
            try:
                expected = self._append(place)
                break
            except (HTTPError, NoServer, Refused, _Short) as e:
                if isinstance(e, Refused) and e.status < 500:
                    raise
                failures = 1 if _length(place.part) > have else failures + 1
                if failures >= _TRIES:
                    fail(
                        f"{place.filename} broke off at {_length(place.part)} of {place.size} bytes; "
                        "call again to go on from there",
                        FAILED,
                    )
                self.pause(0.2 * 2**failures)
        digest = _digest(place.part)
        if expected and digest != expected:
            place.part.unlink()
            fail(f"{place.filename} is damaged: its sha256 is {digest}, it should be {expected}; call again", FAILED)
        return digest

    def _append(self, place: Place) -> str | None:
        """Receive what is missing; the checksum that the whole must have, where the server says one."""
        have = _length(place.part)
        if have > place.size:
            place.part.unlink()
            have = 0
        # All there but not moved: ask as if it were complete, and begin again if the server does not agree.
        known = _digest(place.part) if have and have == place.size else None
        with self._request(place, 0 if known else have, known) as answer:
            if answer.status == 304:
                self.progress(have)
                return known
            start = have if answer.status == 206 else 0
            with place.part.open("r+b" if start else "wb") as out:
                out.seek(start)
                for chunk in answer.stream(_CHUNK, decode_content=False):
                    out.write(chunk)
                    self.progress(out.tell())
                out.truncate()
            if _length(place.part) != place.size:
                raise _Short
            found = _SHA256.fullmatch(answer.headers.get("ETag", ""))
            return found[1] if found else None

    def _request(self, place: Place, start: int, known: str | None) -> AbstractContextManager[BaseHTTPResponse]:
        return self.client.result(self.job, self.owner, place.index, start, known)


class _Short(Exception):
    """Fewer or more bytes came than were announced."""


def _length(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return 0


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
