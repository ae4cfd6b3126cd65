"""The network side of one run: files by URL, files from Providers, and DDOs. Imported only if a workflow needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from functions.staging.configure.fetch import DataSource
from functions.staging.configure.metadata import MetadataService
from functions.staging.configure.provider import Asset, DownloadSigner, files
from functions.staging.configure.provider_directory import ProviderDirectory
from functions.staging.configure.sources import source
from functions.staging.guarded_http import GuardedHttp
from functions.staging.retry import RetryPolicy
from functions.workflow.document import Remote
from functions.workflow.stage_options import FetchOptions


class Network:
    """Finds the files and DDOs that a document names. Thread-safe. All methods raise StageFailure."""

    def __init__(
        self,
        options: FetchOptions,
        metadata_uri: str | None,
        http: GuardedHttp,
        retries: RetryPolicy,
        credentials: Mapping[str, str],
        wait: Callable[[float], None],
    ) -> None:
        self._options = options
        self._http = http
        self._retries = retries
        self._credentials = credentials
        self._wait = wait
        self._signer = DownloadSigner(credentials.get("OPERATOR_PRIVATE_KEY"))
        own, named = options.metadata_uri, metadata_uri
        self._metadata = MetadataService(http, own or named, bool(own), retries, wait)
        self._providers = ProviderDirectory(options.providers, self._metadata)

    def source(self, url: str) -> DataSource:
        """Return the file at `url`."""
        return source(url, self._options, self._http, self._credentials, self._retries)

    def ddo(self, did: str) -> bytes | None:
        """Return the DDO of an asset, if it can be had at once."""
        return self._metadata.find(did)

    def files(
        self, did: str, remote: Remote, userdata: Any, ddo: bytes | None
    ) -> tuple[Sequence[DataSource], bytes | None]:
        """Return the files of an asset from its Provider, and its DDO if it is known."""
        endpoint, ddo = self._providers.endpoint(did, remote, ddo)
        asset = Asset(endpoint, did, remote.serviceId, remote.txId, userdata)
        return files(asset, self._http, self._signer, self._retries, self._wait), ddo
