"""Lists the files that a workflow document asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from functions.staging.configure.fetch import DataSource
from functions.staging.configure.local_sources import TextSource
from functions.staging.report import StageFailure
from functions.workflow.document import Algorithm, Definition, Input, Remote
from functions.workflow.volume_layout import ALGORITHM, INPUTS, TRANSFORMATIONS

if TYPE_CHECKING:
    from functions.staging.configure.network import Network


class Item(NamedTuple):
    """One file to fetch. `path` is relative to the volume."""

    path: str
    source: DataSource
    sha256: str | None = None


class Plan(NamedTuple):
    """The files of one asset, and its DDO if there is one."""

    items: Sequence[Item]
    ddo: bytes | None = None


def needs_network(definition: Definition) -> bool:
    """Whether anything must be fetched. A `rawcode` algorithm without inputs needs nothing."""
    stage = definition.stage
    return bool(stage.input) or not stage.algorithm.rawcode or bool(stage.algorithm.id)


class Planner:
    """Makes plans. `network` is None for a document that needs no network. All methods raise StageFailure."""

    def __init__(self, definition: Definition, network: Network | None) -> None:
        self._definition = definition
        self._network = network

    def input(self, each: Input) -> Plan:
        """Return the files of a data set: `inputs/<folder>/0`, `1`, …"""
        assert self._network is not None
        ddo = self._network.ddo(each.id)
        sources: Sequence[DataSource] = [self._network.source(url) for url in each.urls]
        if each.remote is not None:
            sources, ddo = self._network.files(each.id, each.remote, _userdata(each.remote), ddo)
        paths = [f"{INPUTS}/{each.folder}/{n}" for n in range(len(sources))]
        return Plan(_items(paths, sources, each.checksums), ddo)

    def algorithm(self) -> Plan:
        """Return the files of the algorithm: `transformations/algorithm`, then `1`, `2`, …"""
        algorithm = self._definition.stage.algorithm
        ddo = self._network.ddo(algorithm.id) if self._network else None
        if algorithm.rawcode:
            return Plan(_items([ALGORITHM], [TextSource(algorithm.rawcode)], algorithm.checksums), ddo)
        assert self._network is not None
        if algorithm.remote is not None:
            userdata = _userdata(algorithm.remote, algorithm)
            sources, ddo = self._network.files(algorithm.id, algorithm.remote, userdata, ddo)
        else:
            sources = [self._network.source(url) for url in algorithm.urls]
        paths = [ALGORITHM, *(f"{TRANSFORMATIONS}/{n}" for n in range(1, len(sources)))]
        return Plan(_items(paths, sources, algorithm.checksums), ddo)


def _items(paths: Sequence[str], sources: Sequence[DataSource], checksums: Sequence[str]) -> list[Item]:
    if checksums and len(checksums) != len(sources):
        raise StageFailure("ChecksumMismatch", f"{len(checksums)} checksums for {len(sources)} files")
    expected: Sequence[str | None] = checksums or [None] * len(sources)
    return [Item(*each) for each in zip(paths, sources, expected, strict=True)]


def _userdata(remote: Remote, algorithm: Algorithm | None = None) -> Any:
    """Return the user data, in any of its spellings: the Provider writes `userData` for algorithms."""
    spellings = (remote.userdata, remote.userData, remote.algouserdata, algorithm and algorithm.algouserdata)
    return next((value for value in spellings if value), None)
