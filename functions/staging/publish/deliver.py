"""Writes the outputs of a GA4GH TES task to the URLs that its client gave, as far as the environment allows it."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from functions.results.ports import StorageFull, StorageRefused, StorageUnavailable
from functions.staging.command_line import delivery_credentials
from functions.staging.report import StageFailure
from functions.variables import SettingsError
from functions.workflow.destinations import DestinationRefused, check, is_below

if TYPE_CHECKING:
    from functions.results.object_store import ObjectStorage
    from functions.staging.guarded_http import GuardedHttp
    from functions.workflow.stage_task import Task


# By error of a file system: the exception that says what another attempt may change. All others may pass.
_EXCEPTIONS = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), StorageFull) | dict.fromkeys(
    (
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ),
        *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EFBIG, errno.ENOTSUP),
    ),
    StorageRefused,
)


def destinations_of(task: Task) -> Destinations:
    """Return where the outputs of a TES task go, with the credentials for them. Raises UnicodeError and OSError."""
    return Destinations(task, delivery_credentials(os.environ), task.results)


class Destinations:
    """Where outputs go. `put` takes a URL as the key."""

    def __init__(self, task: Task, credentials: Mapping[str, str], results: str) -> None:
        self._task = task
        self._credentials = credentials
        self._results = results
        self._stores: dict[str, ObjectStorage] = {}

    def put(self, url: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
        """Write one file, or replace it. Raises StorageUnavailable, and StageFailure where a retry cannot help.

        The client chose the storage. If it refuses a file, a retry cannot help.
        """
        self._check(url)
        try:
            self._put(url, chunks, size, content_type)
        except StorageFull:
            raise
        except StorageRefused as e:
            logging.error("an output is refused: %s", e)
            raise StageFailure("OutputRefused", "the storage at the URL of an output refuses it") from None
        return url

    def _put(self, url: str, chunks: Iterable[bytes], size: int, content_type: str) -> None:
        parts = urlsplit(url)
        match parts.scheme:
            case "s3" | "gs" | "az":
                key = unquote(parts.path.lstrip("/"))
                self._store(f"{parts.scheme}://{parts.netloc}").put(key, chunks, size, content_type)
            case "file":
                target = Path(unquote(parts.path))
                self._check_links(target)
                _write(target, chunks)
            case _:
                self._http.put(url, chunks, size, content_type)

    def _check(self, url: str) -> None:
        try:
            check(url, self._task.deliver.outputs, self._task.owner)
            forbidden = is_below(url, self._results)
        except DestinationRefused as e:
            raise StageFailure("OutputForbidden", f"an output may not go to its URL: expected {e}") from None
        if forbidden:
            raise StageFailure("OutputForbidden", "an output may not go where Sluice keeps results")

    def _check_links(self, target: Path) -> None:
        """Refuse a file whose folder leads out of its prefix by a link. Raises StageFailure."""
        folder = _resolved(target.parent.as_uri())
        allowed = [_resolved(each) if each.startswith("file:") else each for each in self._task.deliver.outputs]
        try:
            check(folder + "/" + quote(target.name), allowed, self._task.owner)
        except DestinationRefused:
            raise StageFailure("OutputForbidden", "an output may not go through a link to another folder") from None

    def _store(self, bucket: str) -> ObjectStorage:
        if bucket not in self._stores:
            from functions.results.bucket import open_bucket
            from functions.results.object_store import ObjectStorage

            endpoint = self._task.deliver.endpoints.get(bucket.partition("://")[0])
            try:
                store = open_bucket(bucket, self._credentials, endpoint=endpoint)
            except SettingsError as e:
                raise StageFailure("OutputUploadFailed", f"{e}; they belong into the Secret for outputs") from None
            self._stores[bucket] = ObjectStorage(store, bucket)
        return self._stores[bucket]

    @cached_property
    def _http(self) -> GuardedHttp:
        from functions.staging.guarded_http import GuardedHttp

        private = self._task.fetch.allow_private_addresses
        return GuardedHttp(frozenset({"https", "http"}), private=private)


def _resolved(url: str) -> str:
    """Return a file: URL without links. A part `{owner}` stays as it is."""
    return "file://" + quote(os.path.realpath(unquote(urlsplit(url).path)), safe="/{}")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as e:  # as below /proc, where no folder can be made
        raise StorageRefused(f"{folder}: {e.strerror}") from e


def _write(target: Path, chunks: Iterable[bytes]) -> None:
    """Write a file of this machine: beside its name first, so that nobody sees half of it."""
    draft = target.with_name(f".{hashlib.sha256(target.name.encode()).hexdigest()[:16]}.new")
    try:
        _make_folder(target.parent)
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644), "wb") as out:
                out.writelines(chunks)
                out.flush()
                os.fsync(out.fileno())
            os.replace(draft, target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as e:
        kind = _EXCEPTIONS.get(e.errno or 0, StorageUnavailable)
        raise kind(f"{target}: {e.strerror}") from e
