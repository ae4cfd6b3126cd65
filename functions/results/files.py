"""Results in a folder: of this machine, or of a volume that publish and status share."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from functions.results import layout
from functions.results.ports import Content, NotFound, StorageFull, StorageUnavailable
from functions.workflow.model import Manifest, ResultFile, WorkflowId

CHUNK = 1 << 20
_UNFINISHED = ".unfinished"


class FileStorage:
    """Stores every file atomically: written to a temporary file, synced, then renamed."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._url = self._root.as_uri()

    def put(self, key: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
        target = self._root / key
        # Outside the attempts' folders: no attempt lists what a killed publish left here, and the next one removes it.
        unfinished = self._root / key.split("/", 1)[0] / _UNFINISHED / hashlib.sha256(key.encode()).hexdigest()
        with _errors():
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished.parent.mkdir(parents=True, exist_ok=True)
            try:
                with unfinished.open("wb") as out:
                    out.writelines(chunks)
                    out.flush()
                    os.fsync(out.fileno())
                os.replace(unfinished, target)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
        return layout.url_of(self._url, key)

    def put_manifest(self, workflow: WorkflowId, attempt: int, manifest: Manifest) -> None:
        content = layout.encode(manifest)
        folder = layout.attempt_folder(workflow, attempt)
        with _errors():
            for written, _, _ in os.walk(self._root / folder):
                # The names first: after a power cut, no manifest may list a file that is lost.
                _sync_folder(written)
        self.put(f"{folder}/{layout.MANIFEST}", [content], len(content), layout.MANIFEST_TYPE)
        with _errors():
            for synced in (self._root / folder, self._root / workflow, self._root):
                _sync_folder(synced)
            shutil.rmtree(self._root / workflow / _UNFINISHED, ignore_errors=True)

    def manifest(self, workflow: WorkflowId, attempt: int) -> Manifest | None:
        path = self._root / layout.attempt_folder(workflow, attempt) / layout.MANIFEST
        try:
            with _errors(missing=NotFound):
                return layout.decode(path.read_bytes())
        except NotFound:
            return None

    def open(self, file: ResultFile, start: int = 0, end: int | None = None) -> Content:
        with _errors(missing=NotFound):
            source = (self._root / layout.key_of(self._url, file.url)).open("rb")
            size = os.fstat(source.fileno()).st_size
            source.seek(start)
        stop = size if end is None else min(end, size)
        return Content(_read(source, stop - start), size, source.close)

    def remove(self, workflow: WorkflowId, before: int | None = None) -> None:
        home = self._root / layout.folder(workflow)
        with _errors():
            if before is None:
                attempts = [home] if home.exists() else []
            else:
                attempts = [self._root / layout.attempt_folder(workflow, n) for n in _attempts(home) if n < before]
                shutil.rmtree(home / _UNFINISHED, ignore_errors=True)
            for attempt in attempts:
                # Delete the manifest first: an interrupted removal must not leave one that lists deleted files.
                for mark in (attempt / layout.MANIFEST, *attempt.glob(f"*/{layout.MANIFEST}")):
                    mark.unlink(missing_ok=True)
                shutil.rmtree(attempt)


def _attempts(home: Path) -> Iterator[int]:
    if home.is_dir():
        yield from (int(child.name) for child in home.iterdir() if child.name.isdecimal())


def _read(source: BinaryIO, left: int) -> Iterator[bytes]:
    with _errors():
        while left > 0 and (chunk := source.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk


def _sync_folder(path: str | Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _errors(missing: type[Exception] = StorageUnavailable) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as e:
        raise missing("the results folder has no such file") from e
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("no space left in the results folder") from e
        raise StorageUnavailable(f"the results folder: {os.strerror(e.errno or 0)}") from e
