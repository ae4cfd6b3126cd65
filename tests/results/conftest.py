from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bucket import Bucket
from support.ipfs_server import IpfsNode
from support.publishing import Publish
from support.serving import serving

from functions.results.files import FileStorage
from functions.results.object_store import ObjectStorage
from functions.results.ports import Storage
from functions.results.storage import open_url
from functions.staging.publish.deliver import Destinations
from functions.staging.publish.program import publish
from functions.workflow.model import Manifest, Scope
from functions.workflow.stage_task import Task


@pytest.fixture
def run(volume: Path, tmp_path: Path) -> Publish:
    """Publish the outputs of a TES task from the module's volume."""

    def run(task: Task, scope: Scope = Scope.ALL) -> Manifest:
        storage = FileStorage(tmp_path / "results")
        return publish(task, volume, 1, scope, storage, destinations=Destinations(task, {}, task.results))

    return run


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    (tmp_path / "s3" / "results").mkdir(parents=True)
    with serving(Bucket(tmp_path / "s3")) as server:
        yield server


@pytest.fixture
def ipfs() -> Iterator[IpfsNode]:
    with serving(IpfsNode()) as node:
        yield node


@pytest.fixture(params=["file", "s3", "ipfs", "ipfs gateway", "memory as gs"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Every adapter. GCS and Azure have no emulator here: obstore's memory store stands in behind the same code."""
    match request.param:
        case "file":
            return open_url((tmp_path / "results").as_uri(), {})
        case "s3":
            bucket: Bucket = request.getfixturevalue("bucket")
            return open_url("s3://results/some/prefix", bucket.variables)
        case "memory as gs":
            from obstore.store import MemoryStore

            return ObjectStorage(MemoryStore(), "gs://results/prefix")
        case kind:
            node: IpfsNode = request.getfixturevalue("ipfs")
            prefix = {"IPFS_OUTPUT_PREFIX": f"{node.url}/ipfs"} if kind == "ipfs gateway" else {}
            return open_url("ipfs://", {"IPFS_OUTPUT": node.url, **prefix})
