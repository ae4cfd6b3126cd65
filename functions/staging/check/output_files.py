"""The files that want to leave, as the rules see them: their bytes, a bounded part at a time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from msgspec import Struct

from functions.staging.publish.names import published_name

T = TypeVar("T")
CHUNK = 1 << 20
HEAD = 64 << 10
WHOLE = 32 << 20  # what is read into memory at once is not larger


class TooLarge(ValueError):
    """The file is larger than what a rule reads into memory at once."""


class OutputFile(Struct, frozen=True, dict=True):
    """One regular file. `path` is the name below the volume under which it is published: `outputs/plots/a.svg`."""

    path: str
    location: Path

    @property
    def name(self) -> str:
        """The name below its top folder: what a policy's list of names is compared with."""
        return self.path.split("/", 1)[1] if "/" in self.path else self.path

    @property
    def extension(self) -> str:
        """The ending in lower case, with its dot; empty where there is none."""
        return os.path.splitext(self.name)[1].lower()

    @cached_property
    def size(self) -> int:
        """Bytes."""
        return self.location.stat().st_size

    @cached_property
    def head(self) -> bytes:
        """The first 64 KiB."""
        with self.open() as stream:
            return stream.read(HEAD)

    @cached_property
    def sha256(self) -> str:
        """The digest of all bytes, as 64 hex digits."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    @cached_property
    def _read(self) -> dict[Callable[..., Any], Any]:
        return {}

    def once(self, read: Callable[[OutputFile], T]) -> T:
        """Return what `read` makes of this file. The file is read for the first rule that asks, not for each."""
        if read not in self._read:
            self._read[read] = read(self)
        found: T = self._read[read]
        return found

    def open(self) -> BinaryIO:
        """Open the file itself; a link in its place is refused."""
        return os.fdopen(os.open(self.location, os.O_RDONLY | os.O_NOFOLLOW), "rb")

    def chunks(self) -> Iterator[bytes]:
        """The bytes, 1 MiB at a time."""
        with self.open() as stream:
            while chunk := stream.read(CHUNK):
                yield chunk

    def whole(self, most: int = WHOLE) -> bytes:
        """All bytes. Raises TooLarge if there are more than `most`."""
        if self.size > most:
            raise TooLarge(f"it has {self.size} bytes; only {most} can be looked at in one piece")
        with self.open() as stream:
            return stream.read(most)


def walk(volume: Path, folder: str) -> Iterator[OutputFile]:
    """The regular files below a folder of the volume, by name. Links are not followed and not listed."""
    root = volume / folder
    for current, folders, names in os.walk(root, followlinks=False):
        folders.sort()
        for name in sorted(names):
            location = Path(current, name)
            if location.is_file() and not location.is_symlink():
                parts = location.relative_to(root).parts
                yield OutputFile("/".join((folder, *map(_published, parts))), location)


def _published(name: str) -> str:
    return published_name(os.fsencode(name))
