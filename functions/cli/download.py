"""Downloads results: resumes interrupted downloads, and keeps a file only if its checksum is right.

The server sends a file's sha256 as its ETag. An incomplete file is kept as `<name>.part`.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from functions.cli.command_errors import FAILED, fail, printable
from functions.cli.results_folder import OWN_FILES

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from functions.cli.api_client import Client

_CHUNK = 1 << 18
_SHA256 = re.compile(r'(?:W/)?"?([0-9a-f]{64})"?')
_TRIES = 5  # attempts in a row that receive nothing
_OUTPUT = "output"
_LONGEST_NAME = 240  # bytes; file systems take 255


@dataclass(frozen=True)
class Target:
    """A result and the file it is saved to. `index` is its number at the server, `size` is in bytes."""

    index: int
    filename: str
    size: int
    type: str
    path: Path

    @property
    def part(self) -> Path:
        return self.path.with_name(self.path.name + ".part")


def targets(results: Iterable[Any], folder: Path) -> list[Target]:
    """Choose a file for each result: outputs go below `folder` under their own names, logs into `folder/logs`.

    The server chooses the names. A name that leads out of `folder` ends the command. Control characters in names are
    replaced by their escapes, and names that are too long for a file are shortened.
    """
    taken = {folder / name for name in OWN_FILES}
    folders = {folder / "logs"}
    chosen = []
    for index, result in enumerate(results):
        given = str(result["filename"])
        name = PurePosixPath(printable(given))
        if name.is_absolute() or ".." in name.parts or not name.parts or "\0" in given:
            fail(f"the server names a result {str(name)!r}, which is a path outside {folder}; nothing was saved")
        short = PurePosixPath(*map(_shortened, name.parts))
        path = folder / short if result["type"] == _OUTPUT else folder / "logs" / short
        while path in taken | folders or path.with_name(path.name.removesuffix(".part")) in taken:
            path = path.with_name(path.name + "~")
        taken.add(path)
        folders.update(path.parents)
        chosen.append(Target(index, str(name), int(result["filesize"]), str(result["type"]), path))
    return chosen


def _shortened(name: str) -> str:
    """Return a name that a file can have, also with `.part` and `~` behind it."""
    encoded = name.encode("utf-8", "surrogateescape")
    if len(encoded) <= _LONGEST_NAME:
        return name
    mark = f"~{hashlib.sha256(encoded).hexdigest()[:16]}"
    return encoded[: _LONGEST_NAME - len(mark)].decode("utf-8", "ignore") + mark


@dataclass
class Downloader:
    """Downloads the results of one job. Calls `progress` with the number of bytes of the current file so far."""

    client: Client
    job: str
    owner: str
    progress: Callable[[int], None] = lambda position: None
    pause: Callable[[float], None] = field(default=time.sleep)

    def fetch(self, target: Target) -> dict[str, Any]:
        """Save one result, and describe it: `filename`, `filesize`, `type`, `path`, `sha256`.

        Ends the command if it cannot be downloaded or saved.
        """
        try:
            target.path.parent.mkdir(parents=True, exist_ok=True)
            digest = self._complete(target)
        except OSError as e:
            fail(f"{target.path}: cannot be written ({e.strerror or e})", FAILED)
        return {
            "filename": target.filename,
            "filesize": target.size,
            "type": target.type,
            "path": str(target.path),
            "sha256": digest,
        }

    def _complete(self, target: Target) -> str:
        if target.path.is_file() and target.path.stat().st_size == target.size:
            # Perhaps downloaded before: the server sends nothing if the checksum is that of its file.
            digest = _digest(target.path)
            with self._request(target, 0, digest) as answer:
                if answer.status == 304:
                    self.progress(target.size)
                    return digest
        digest = self._fill(target)
        os.replace(target.part, target.path)
        return digest

    def _fill(self, target: Target) -> str:
        """Complete the `.part` file, with retries. Returns its sha256."""
        from urllib3.exceptions import HTTPError

        from functions.cli.http_client import ApiError, ServerUnavailable

        failures = 0
        while True:
            have = _length(target.part)
            try:
                expected = self._append(target)
                break
            except (HTTPError, ServerUnavailable, ApiError, _WrongLength) as e:
                if isinstance(e, ApiError) and e.status < 500:
                    raise
                failures = 1 if _length(target.part) > have else failures + 1
                if failures >= _TRIES:
                    fail(
                        f"{target.filename}: the download broke off at {_length(target.part)} of {target.size} bytes; "
                        "run the command again to resume it",
                        FAILED,
                    )
                self.pause(0.2 * 2**failures)
        digest = _digest(target.part)
        if expected and digest != expected:
            target.part.unlink()
            fail(
                f"{target.filename}: damaged in transit: its sha256 is {digest}, expected {expected}; "
                "run the command again",
                FAILED,
            )
        return digest

    def _append(self, target: Target) -> str | None:
        """Receive the missing bytes. Returns the sha256 that the whole file must have, if the server sends one."""
        have = _length(target.part)
        if have > target.size:
            target.part.unlink()
            have = 0
        # Complete but not renamed yet: ask whether it is the server's file, and start again if not.
        known = _digest(target.part) if have and have == target.size else None
        with self._request(target, 0 if known else have, known) as answer:
            if answer.status == 304:
                self.progress(have)
                return known
            start = have if answer.status == 206 else 0
            with target.part.open("r+b" if start else "wb") as out:
                out.seek(start)
                for chunk in answer.stream(_CHUNK, decode_content=False):
                    out.write(chunk)
                    self.progress(out.tell())
                out.truncate()
            if _length(target.part) != target.size:
                raise _WrongLength
            found = _SHA256.fullmatch(answer.headers.get("ETag", ""))
            return found[1] if found else None

    def _request(self, target: Target, start: int, known: str | None) -> AbstractContextManager[BaseHTTPResponse]:
        return self.client.result(self.job, self.owner, target.index, start, known)


class _WrongLength(Exception):
    """The server sent fewer or more bytes than it announced."""


def _length(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return 0


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
