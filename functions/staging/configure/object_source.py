"""Reads files from S3, Google Cloud Storage and Azure.

Buckets are read anonymously. Only buckets that the environment names are read with the operator's credentials:
otherwise any workflow could name the operator's own buckets, which hold other people's results, as its data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from functions.results.bucket import Connection, open_bucket
from functions.staging.configure.fetch import CHUNK, Body
from functions.staging.report import StageFailure
from functions.staging.retry import RetryPolicy, TransientError
from functions.variables import SettingsError
from functions.workflow.stage_options import FetchOptions


class ObjectSource(Struct, frozen=True):
    """One object. Its ETag is the version."""

    store: Any
    key: str
    where: str
    kind: str

    @classmethod
    def of(cls, url: str, options: FetchOptions, credentials: Mapping[str, str], retries: RetryPolicy) -> ObjectSource:
        """Raises StageFailure if the URL names no object, or if the bucket cannot be opened."""
        parts = urlsplit(url)
        scheme, bucket, key = parts.scheme.lower(), parts.netloc, unquote(parts.path.lstrip("/"))
        if not key or not _is_bucket(bucket):
            raise StageFailure("DataUnavailable", f"a {scheme}: URL must name a bucket and an object, and no port")
        where = f"{scheme}://{bucket}/{key}"
        return cls(_open(f"{scheme}://{bucket}", options, credentials, retries), key, where, scheme)

    @contextmanager
    def open(self, start: int, version: str | None) -> Iterator[Body]:
        from obstore import exceptions as known

        get_options: dict[str, Any] = {"range": {"offset": start}, "if_match": version} if start and version else {}
        try:
            got = self._get(get_options)
            # A stream: a large object must not fill the memory.
            stream = (bytes(chunk) for chunk in got.stream(min_chunk_size=CHUNK))
            yield Body(stream, start if get_options else 0, got.meta["size"], got.meta["e_tag"])
        except known.PreconditionError:
            raise TransientError("the object was replaced during the download", restart=True) from None
        except (known.NotFoundError, FileNotFoundError):
            raise StageFailure("DataUnavailable", "the object does not exist, or may not be read") from None
        except (known.PermissionDeniedError, known.UnauthenticatedError):
            raise StageFailure("DataUnavailable", "the storage denies access to the object") from None
        except known.BaseError as e:
            # Only the kind of error: the text contains internal URLs.
            raise TransientError(f"the storage fails ({type(e).__name__})") from None

    def _get(self, get_options: Any) -> Any:
        try:
            return self.store.get(self.key, options=get_options)
        except ValueError:
            unusable = "its name has an empty part, `.`, `..` or a control character; store it under another name"
            raise StageFailure("DataUnavailable", unusable) from None


def _is_bucket(name: str) -> bool:
    """Whether it is a bucket's name alone. obstore ignores a port, so `b:80` would be the bucket `b`."""
    return bool(name) and not set(name) & set("@:")


def list_objects(
    url: str, options: FetchOptions, credentials: Mapping[str, str], retries: RetryPolicy
) -> Iterator[tuple[str, ObjectSource]]:
    """Yield the objects below a prefix, with their names below it. Raises StageFailure, also if there are none."""
    from obstore import exceptions as known

    parts = urlsplit(url)
    scheme, bucket, prefix = parts.scheme.lower(), parts.netloc, unquote(parts.path.strip("/"))
    if not _is_bucket(bucket):
        raise StageFailure("DataUnavailable", f"a {scheme}: URL must name a bucket, and no port")
    where = f"{scheme}://{bucket}"
    store = _open(where, options, credentials, retries)
    lister = _open(where, options, credentials, retries, again=retries.tries - 1)
    none = True
    try:
        for found in _without_markers(
            each for batch in lister.list(f"{prefix}/" if prefix else None) for each in batch
        ):
            key, none = found["path"], False
            name = key.removeprefix(f"{prefix}/") if prefix else key
            yield name, ObjectSource(store, key, f"{where}/{key}", scheme)
    except (known.BaseError, OSError) as e:
        # Only the kind of error: the text contains internal URLs.
        raise StageFailure("DataUnavailable", f"the storage does not list the folder ({type(e).__name__})") from None
    if none:
        raise StageFailure("DataUnavailable", "there is no object below the folder")


def _without_markers(listed: Iterator[Any]) -> Iterator[Any]:
    """Leave out the empty objects `folder/` that some tools write: the listing has `folder` right before its files."""
    last = None
    for found in listed:
        if last is not None and not (last["size"] == 0 and found["path"].startswith(f"{last['path']}/")):
            yield last
        last = found
    if last is not None:
        yield last


def _open(
    bucket: str, options: FetchOptions, credentials: Mapping[str, str], retries: RetryPolicy, again: int = 0
) -> Any:
    """Open a bucket. `again`: obstore's own retries, which neither the progress nor the deadline of a download sees."""
    connection = Connection(retries.connect, retries.stall, options.seconds, retries=again, retry_seconds=retries.stall)
    scheme = bucket.partition("://")[0]
    try:
        return open_bucket(
            bucket,
            credentials,
            anonymous=bucket not in options.buckets,
            endpoint=options.endpoints.get(scheme, ""),
            connection=connection,
        )
    except SettingsError as e:
        raise StageFailure("NotConfigured", f"{e}; {scheme}: data sets need them in the operator's Secret") from None
