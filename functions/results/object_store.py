"""Results in an object store: S3 and what speaks like it, Google Cloud Storage, Azure; through obstore, streaming."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from functions.results import layout
from functions.results.ports import Content, NotFound, StorageRefused, StorageTimeout, StorageUnavailable
from functions.settings import SettingsError
from functions.workflow.model import Manifest, ResultFile, WorkflowId

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PART = 8 << 20  # bytes; what is not larger goes up in one request
_MAX_PARTS = 9000  # S3 takes 10 000
_LARGE_AT_ONCE = 2  # each holds several parts in memory
_READ = 1 << 20
_DELETE_AT_ONCE = 1000

# Variables by the provider's own names; obstore knows them in lower case.
_VARIABLES = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
        "AWS_SERVER_SIDE_ENCRYPTION",
        "AWS_SSE_KMS_KEY_ID",
        "AWS_DISABLE_BULK_DELETE",  # for stores without DeleteObjects
    ),
    "gs": ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_APPLICATION_CREDENTIALS"),
    "az": (
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_KEY",
        "AZURE_STORAGE_ENDPOINT",
        "AZURE_STORAGE_USE_EMULATOR",
    ),
}


def open_bucket(url: str, variables: Mapping[str, str]) -> ObjectStorage:
    """The storage at `s3://bucket/prefix`, `gs://…` or `az://container/…`. Raises SettingsError."""
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    scheme = url.partition("://")[0]
    config: Any = {name.lower(): variables[name] for name in _VARIABLES[scheme] if variables.get(name)}
    endpoint = variables.get("AWS_ENDPOINT_URL" if scheme == "s3" else "AZURE_STORAGE_ENDPOINT", "")
    client: Any = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=10),
        "read_timeout": timedelta(seconds=60),  # without a byte
        "timeout": timedelta(days=1),  # of one request: a slow client may read a large file for hours
    }
    retry: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
    try:
        return ObjectStorage(from_url(url, config=config, client_options=client, retry_config=retry), url)
    except (BaseError, ValueError) as e:
        reason = str(e).partition("\n")[0]
        raise SettingsError(f"the storage {scheme}: of RESULTS_URL cannot be used: {reason}") from None


class ObjectStorage:
    """`url` is where `store` lies; it is the beginning of the URL of every file."""

    def __init__(self, store: ObjectStore, url: str) -> None:
        self._store = store
        self._url = url.rstrip("/")
        self._large = threading.BoundedSemaphore(_LARGE_AT_ONCE)

    def put(self, key: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
        import obstore

        attributes: Any = {"Content-Type": content_type}
        with _errors(missing=StorageRefused):
            if size <= PART:
                obstore.put(self._store, key, b"".join(chunks), attributes=attributes, use_multipart=False)
            else:
                part = max(PART, size // _MAX_PARTS)
                with self._large:
                    obstore.put(
                        self._store, key, iter(chunks), attributes=attributes, chunk_size=part, max_concurrency=2
                    )
        return layout.url_of(self._url, key)

    def put_manifest(self, workflow: WorkflowId, attempt: int, manifest: Manifest) -> None:
        content = layout.encode(manifest)
        key = f"{layout.attempt_folder(workflow, attempt)}/{layout.MANIFEST}"
        self.put(key, [content], len(content), layout.MANIFEST_TYPE)

    def manifest(self, workflow: WorkflowId, attempt: int) -> Manifest | None:
        import obstore

        try:
            with _errors():
                found = obstore.get(self._store, f"{layout.attempt_folder(workflow, attempt)}/{layout.MANIFEST}")
                return layout.decode(bytes(found.bytes()))
        except NotFound:
            return None

    def open(self, file: ResultFile, start: int = 0, end: int | None = None) -> Content:
        import obstore

        key = layout.key_of(self._url, file.url)
        ranged: Any = {"range": (start, end)} if end is not None else {"range": {"offset": start}} if start else {}
        with _errors():
            found = obstore.get(self._store, key, options=ranged)
        chunks = _read(found)
        return Content(chunks, found.meta["size"], chunks.close)

    def remove(self, workflow: WorkflowId, before: int | None = None) -> None:
        import obstore

        folder = layout.folder(workflow)
        with _errors():
            attempts = obstore.list_with_delimiter(self._store, folder)["common_prefixes"]
            for attempt in attempts:
                number = attempt.rsplit("/", 1)[-1]
                if before is None or (number.isdecimal() and int(number) < before):
                    self._remove_folder(attempt)

    def _remove_folder(self, folder: str) -> None:
        import obstore

        # The mark goes first: an interrupted removal must not leave a manifest of files that are gone.
        obstore.delete(self._store, [f"{folder}/{layout.MANIFEST}"])
        for batch in obstore.list(self._store, folder, chunk_size=_DELETE_AT_ONCE):
            obstore.delete(self._store, [found["path"] for found in batch])


def _read(found: Any) -> Generator[bytes]:
    with _errors():
        for chunk in found.stream(min_chunk_size=_READ):
            yield bytes(chunk)


@contextmanager
def _errors(missing: type[Exception] = NotFound) -> Iterator[None]:
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError as e:  # what obstore makes of a 404
        raise missing("the storage has no such bucket or file") from e
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as e:
        raise StorageRefused(_brief(e)) from e
    except (exceptions.BaseError, OSError) as e:
        kind = StorageTimeout if "timed out" in str(e) else StorageUnavailable
        raise kind(_brief(e)) from e


def _brief(error: Exception) -> str:
    # The second paragraph is a debug dump.
    return str(error).partition("\n\n")[0][:500]
