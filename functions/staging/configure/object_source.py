"""Files in S3, Google Cloud Storage and Azure, through obstore.

Buckets are read anonymously. Only those that the environment names are read with the operator's credentials: else
anybody's workflow could have the operator's own buckets, other people's results among them, as its data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from functions.staging.configure.fetch import CHUNK, Body
from functions.staging.report import Failure
from functions.staging.retry import RetryPolicy, TransientError
from functions.workflow.environment import FetchPolicy

# obstore's names for the credentials, by scheme.
_KEYS = {
    "s3": {
        "access_key_id": "AWS_ACCESS_KEY_ID",
        "secret_access_key": "AWS_SECRET_ACCESS_KEY",
        "session_token": "AWS_SESSION_TOKEN",
    },
    "gs": {"service_account_key": "GOOGLE_SERVICE_ACCOUNT_KEY"},
    "az": {"account_key": "AZURE_STORAGE_ACCOUNT_KEY", "sas_key": "AZURE_STORAGE_SAS_KEY"},
}
# What an anonymous request needs to know as well.
_PLACES = {"s3": {"region": "AWS_REGION"}, "gs": {}, "az": {"account_name": "AZURE_STORAGE_ACCOUNT_NAME"}}
_ENDPOINTS = {"s3": "endpoint", "gs": "base_url", "az": "endpoint"}


@dataclass(frozen=True)
class ObjectSource:
    """One object. `version` is its ETag."""

    store: Any
    key: str
    where: str
    kind: str

    @classmethod
    def of(cls, url: str, policy: FetchPolicy, credentials: Mapping[str, str], patience: RetryPolicy) -> ObjectSource:
        """Raises Failure for a URL without an object's name, and where the storage cannot be opened."""
        parts = urlsplit(url)
        scheme, bucket, key = parts.scheme.lower(), parts.netloc, unquote(parts.path.lstrip("/"))
        if not key or not bucket or "@" in bucket:
            raise Failure("DataUnavailable", f"a {scheme}: URL names a bucket and an object")
        where = f"{scheme}://{bucket}/{key}"
        return cls(_store(scheme, bucket, policy, credentials, patience), key, where, scheme)

    @contextmanager
    def open(self, start: int, version: str | None) -> Iterator[Body]:
        from obstore import exceptions as known

        options: dict[str, Any] = {"range": {"offset": start}, "if_match": version} if start and version else {}
        try:
            got = self._get(options)
            # A stream, so that neither a slow disk nor a large object fills the memory.
            stream = (bytes(chunk) for chunk in got.stream(min_chunk_size=CHUNK))
            yield Body(stream, start if options else 0, got.meta["size"], got.meta["e_tag"])
        except known.PreconditionError:
            raise TransientError("the object was replaced meanwhile", restart=True) from None
        except (known.NotFoundError, FileNotFoundError):
            raise Failure("DataUnavailable", "no such object, or none that may be read") from None
        except (known.PermissionDeniedError, known.UnauthenticatedError):
            raise Failure("DataUnavailable", "the storage refuses to let it be read") from None
        except known.BaseError as e:
            # The kind only: the text carries internal URLs.
            raise TransientError(f"the storage fails ({type(e).__name__})") from None

    def _get(self, options: Any) -> Any:
        try:
            return self.store.get(self.key, options=options)
        except ValueError:
            unusable = "its name has an empty part, `.`, `..` or a control character; store it under another"
            raise Failure("DataUnavailable", unusable) from None


def _store(scheme: str, bucket: str, policy: FetchPolicy, credentials: Mapping[str, str], patience: RetryPolicy) -> Any:
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    ours = f"{scheme}://{bucket}" in policy.buckets
    names = _PLACES[scheme] | (_KEYS[scheme] if ours else {})
    config: Any = {key: credentials[name] for key, name in names.items() if credentials.get(name)}
    if not ours:
        config["skip_signature"] = True
    endpoint = policy.endpoints.get(scheme)
    if endpoint:
        config[_ENDPOINTS[scheme]] = endpoint
    client: Any = {
        "connect_timeout": timedelta(seconds=patience.connect),
        "read_timeout": timedelta(seconds=patience.stall),
        "timeout": timedelta(seconds=policy.seconds),
        "allow_http": bool(endpoint and endpoint.startswith("http://")),
    }
    # We do the retries: obstore's own would hide from progress and deadline.
    retries: Any = {"max_retries": 0, "retry_timeout": timedelta(seconds=patience.stall)}
    try:
        return from_url(f"{scheme}://{bucket}", config=config, client_options=client, retry_config=retries)
    except BaseError:
        # Not its text, which may quote a credential.
        wanted = f"{scheme}: URLs need the operator's Secret to hold what they are read with"
        raise Failure("NotConfigured", f"{wanted}; missing or wrong: {' or '.join(names.values())}") from None
