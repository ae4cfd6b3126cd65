"""Streams a crate as a ZIP: nothing is written to a disk, and no file is held in memory."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from werkzeug.wrappers import Response

from functions.results.ports import NotFound, Storage, StorageUnavailable
from functions.status.results import Interrupted
from functions.trust.bag import PAYLOAD, Part
from functions.trust.crate import Crate

logger = logging.getLogger(__name__)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # ZIP's first moment: the same record makes the same bytes
_MODE = 0o100644 << 16


class _Pipe:
    """A file that ZipFile writes to, and that is emptied after each piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: `take` empties it."""

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


def respond(crate: Crate, storage: Storage) -> Response:
    """Answer with the crate. If a result cannot be read, or is not what was published, the connection is cut."""
    headers = {
        "Content-Type": "application/zip",
        "Content-Disposition": f'attachment; filename="{crate.folder}.zip"',
        "X-Content-Type-Options": "nosniff",
    }
    return Response(stream(crate, storage), 200, headers, direct_passthrough=True)


def stream(crate: Crate, storage: Storage) -> Iterator[bytes]:
    """Yield the bytes of the ZIP. Raises Interrupted."""
    pipe = _Pipe()
    with ZipFile(pipe, "w", ZIP_STORED) as archive:  # type: ignore[call-overload]
        for name, content in crate.tags.items():
            archive.writestr(_entry(f"{crate.folder}/{name}"), content)
            yield pipe.take()
        for part in crate.parts:
            info = _entry(f"{crate.folder}/{PAYLOAD}{part.path}")
            info.file_size = part.size
            with archive.open(info, "w") as target:
                for chunk in _content(part, storage):
                    target.write(chunk)
                    yield pipe.take()
    yield pipe.take()


def _entry(name: str) -> ZipInfo:
    info = ZipInfo(name, _EPOCH)
    info.external_attr = _MODE
    return info


def _content(part: Part, storage: Storage) -> Iterator[bytes]:
    if isinstance(part.content, bytes):
        yield part.content
        return
    digest = hashlib.sha256()
    try:
        content = storage.open(part.content)
        try:
            for chunk in content.chunks:
                digest.update(chunk)
                yield chunk
        finally:
            content.close()
    except (NotFound, StorageUnavailable) as e:
        logger.error("a result of a crate cannot be read: %s", type(e).__name__)
        raise Interrupted("a result cannot be read") from None
    if digest.hexdigest() != part.sha256:
        logger.error("a stored result is not what was published: %s", part.path)
        raise Interrupted("a stored result is not what was published")
