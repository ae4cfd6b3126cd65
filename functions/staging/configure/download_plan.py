"""From the workflow document to the files that must be fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions.staging.configure.fetch import Source
from functions.staging.configure.metadata import Metadata, endpoint_of
from functions.staging.configure.provider import Asset, Signer, files
from functions.staging.configure.sources import TextSource, source
from functions.staging.guarded_http import Web
from functions.staging.report import Failure
from functions.staging.retry import RetryPolicy
from functions.workflow.document import Algorithm, Input, Remote
from functions.workflow.stage_task import Task

_ALGORITHM = "transformations/algorithm"


@dataclass(frozen=True)
class Item:
    """One file to fetch; `path` is relative to the volume."""

    path: str
    source: Source
    sha256: str | None = None


@dataclass(frozen=True)
class Plan:
    items: Sequence[Item]
    ddo: bytes | None = None


class Planner:
    """Asks Providers and the metadata service where it must. All methods raise Failure."""

    def __init__(
        self, task: Task, web: Web, patience: RetryPolicy, credentials: Mapping[str, str], wait: Callable[[float], None]
    ) -> None:
        self._task = task
        self._web = web
        self._patience = patience
        self._credentials = credentials
        self._signer = Signer(credentials.get("OPERATOR_PRIVATE_KEY"))
        self._wait = wait
        self._metadata = Metadata(web, task.definition.stage.output.metadataUri, patience, wait)

    def input(self, each: Input) -> Plan:
        """The files of a data set: `inputs/<folder>/0`, `1`, …"""
        ddo = self._metadata.offered(each.id)
        sources: Sequence[Source] = [self._source(url) for url in each.urls]
        if each.remote is not None:
            sources, ddo = self._remote(each.id, each.remote, _userdata(each.remote), ddo)
        paths = [f"inputs/{each.folder}/{n}" for n in range(len(sources))]
        return Plan(_items(paths, sources, each.checksums), ddo)

    def algorithm(self) -> Plan:
        """The files of the algorithm: `transformations/algorithm`, then `1`, `2`, …"""
        algorithm = self._task.definition.stage.algorithm
        ddo = self._metadata.offered(algorithm.id)
        if algorithm.rawcode:
            sources: Sequence[Source] = [TextSource(algorithm.rawcode)]
        elif algorithm.url:
            sources = [self._source(algorithm.url)]
        else:
            assert algorithm.remote is not None  # the document was checked
            userdata = _userdata(algorithm.remote, algorithm)
            sources, ddo = self._remote(algorithm.id, algorithm.remote, userdata, ddo)
        paths = [_ALGORITHM, *(f"transformations/{n}" for n in range(1, len(sources)))]
        return Plan(_items(paths, sources, (algorithm.checksum,) if algorithm.checksum else ()), ddo)

    def _source(self, url: str) -> Source:
        return source(url, self._task.fetch, self._web, self._credentials, self._patience)

    def _remote(
        self, did: str, remote: Remote, userdata: Any, ddo: bytes | None
    ) -> tuple[Sequence[Source], bytes | None]:
        endpoint = remote.serviceEndpoint
        if not endpoint:
            ddo = ddo or self._metadata.needed(did)
            endpoint = endpoint_of(ddo, remote.serviceId)
        asset = Asset(endpoint, did, remote.serviceId, remote.txId, userdata)
        return files(asset, self._web, self._signer, self._patience, self._wait), ddo


def _items(paths: Sequence[str], sources: Sequence[Source], checksums: Sequence[str]) -> list[Item]:
    if checksums and len(checksums) != len(sources):
        raise Failure("ChecksumMismatch", f"{len(checksums)} checksums for {len(sources)} files")
    expected: Sequence[str | None] = checksums or [None] * len(sources)
    return [Item(*each) for each in zip(paths, sources, expected, strict=True)]


def _userdata(remote: Remote, algorithm: Algorithm | None = None) -> Any:
    """In whichever spelling it came: the Provider says `userData` for algorithms and `userdata` for data."""
    spellings = (remote.userdata, remote.userData, remote.algouserdata, algorithm and algorithm.algouserdata)
    return next((value for value in spellings if value), None)
