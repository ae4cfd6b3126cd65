"""Lists the files that a workflow document asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions.staging.configure.fetch import DataSource
from functions.staging.configure.metadata import MetadataService
from functions.staging.configure.provider import Asset, DownloadSigner, files
from functions.staging.configure.provider_directory import ProviderDirectory
from functions.staging.configure.sources import TextSource, source
from functions.staging.guarded_http import GuardedHttp
from functions.staging.report import StageFailure
from functions.staging.retry import RetryPolicy
from functions.workflow.document import Algorithm, Input, Remote
from functions.workflow.stage_task import Task
from functions.workflow.volume_layout import ALGORITHM, INPUTS, TRANSFORMATIONS


@dataclass(frozen=True)
class Item:
    """One file to fetch. `path` is relative to the volume."""

    path: str
    source: DataSource
    sha256: str | None = None


@dataclass(frozen=True)
class Plan:
    """The files of one asset, and its DDO if there is one."""

    items: Sequence[Item]
    ddo: bytes | None = None


class Planner:
    """Makes plans, and asks Providers and the metadata service where needed. All methods raise StageFailure."""

    def __init__(
        self,
        task: Task,
        http: GuardedHttp,
        retries: RetryPolicy,
        credentials: Mapping[str, str],
        wait: Callable[[float], None],
    ) -> None:
        self._task = task
        self._http = http
        self._retries = retries
        self._credentials = credentials
        self._signer = DownloadSigner(credentials.get("OPERATOR_PRIVATE_KEY"))
        self._wait = wait
        own, named = task.fetch.metadata_uri, task.definition.stage.output.metadataUri
        self._metadata = MetadataService(http, own or named, bool(own), retries, wait)
        self._providers = ProviderDirectory(task.fetch.providers, self._metadata)

    def input(self, each: Input) -> Plan:
        """Return the files of a data set: `inputs/<folder>/0`, `1`, …"""
        ddo = self._metadata.find(each.id)
        sources: Sequence[DataSource] = [self._source(url) for url in each.urls]
        if each.remote is not None:
            sources, ddo = self._remote(each.id, each.remote, _userdata(each.remote), ddo)
        paths = [f"{INPUTS}/{each.folder}/{n}" for n in range(len(sources))]
        return Plan(_items(paths, sources, each.checksums), ddo)

    def algorithm(self) -> Plan:
        """Return the files of the algorithm: `transformations/algorithm`, then `1`, `2`, …"""
        algorithm = self._task.definition.stage.algorithm
        ddo = self._metadata.find(algorithm.id)
        if algorithm.rawcode:
            sources: Sequence[DataSource] = [TextSource(algorithm.rawcode)]
        elif algorithm.urls:
            sources = [self._source(url) for url in algorithm.urls]
        else:
            assert algorithm.remote is not None  # the document was checked
            userdata = _userdata(algorithm.remote, algorithm)
            sources, ddo = self._remote(algorithm.id, algorithm.remote, userdata, ddo)
        paths = [ALGORITHM, *(f"{TRANSFORMATIONS}/{n}" for n in range(1, len(sources)))]
        return Plan(_items(paths, sources, algorithm.checksums), ddo)

    def _source(self, url: str) -> DataSource:
        return source(url, self._task.fetch, self._http, self._credentials, self._retries)

    def _remote(
        self, did: str, remote: Remote, userdata: Any, ddo: bytes | None
    ) -> tuple[Sequence[DataSource], bytes | None]:
        endpoint, ddo = self._providers.endpoint(did, remote, ddo)
        asset = Asset(endpoint, did, remote.serviceId, remote.txId, userdata)
        return files(asset, self._http, self._signer, self._retries, self._wait), ddo


def _items(paths: Sequence[str], sources: Sequence[DataSource], checksums: Sequence[str]) -> list[Item]:
    if checksums and len(checksums) != len(sources):
        raise StageFailure("ChecksumMismatch", f"{len(checksums)} checksums for {len(sources)} files")
    expected: Sequence[str | None] = checksums or [None] * len(sources)
    return [Item(*each) for each in zip(paths, sources, expected, strict=True)]


def _userdata(remote: Remote, algorithm: Algorithm | None = None) -> Any:
    """Return the user data, in any of its spellings: the Provider writes `userData` for algorithms."""
    spellings = (remote.userdata, remote.userData, remote.algouserdata, algorithm and algorithm.algouserdata)
    return next((value for value in spellings if value), None)
