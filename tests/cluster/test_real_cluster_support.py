"""The storage that the tests of a real cluster bring along, as far as it can be tested without one."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from kubernetes_validate.utils import validate
from support.real_cluster import BUCKET, PORT, ProxiedStorage, s3_objects
from support.served import free_port

from functions.cluster.kubernetes.access import Access
from functions.cluster.kubernetes.client import Api
from functions.results import layout
from functions.results.storage import open_storage
from functions.settings import Settings
from functions.workflow.model import Manifest, ResultFile, WorkflowId

OBJECTS = dict(s3_objects("sluice-test-1", "sluice:1"))


@pytest.mark.parametrize("plural", OBJECTS)
def test_kubernetes_accepts_the_objects_of_the_storage(plural: str) -> None:
    validate(OBJECTS[plural], "1.36", strict=True)


def test_what_publish_stores_there_is_read_through_the_proxy(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "localbucket.py").write_text(OBJECTS["configmaps"]["data"]["localbucket.py"])
    _, _, command = OBJECTS["pods"]["spec"]["containers"][0]["command"]
    command = command.replace("/data", str(tmp_path)).replace("/source", str(tmp_path)).replace(str(PORT), str(port))
    command = command.replace("exec python ", f"exec {sys.executable} ").replace("0.0.0.0", "127.0.0.1")
    with subprocess.Popen(["sh", "-c", command], stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(port)
            variables = {**OBJECTS["secrets"]["stringData"], "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
            settings = Settings.load({**variables, "RESULTS_URL": f"s3://{BUCKET}"})
            manifest = Manifest((ResultFile("a.txt", 5, "output", f"s3://{BUCKET}/a.txt"),))
            open_storage(settings).put_manifest(WorkflowId("w"), 1, manifest)
            storage = ProxiedStorage(ApiProxy(port), "sluice-test-1")
            assert storage.manifest(WorkflowId("w"), 1) == manifest
            assert storage.manifest(WorkflowId("w"), 2) is None
        finally:
            server.terminate()


class ApiProxy(Api):
    """An API whose proxy leads to the server on that port."""

    def __init__(self, port: int) -> None:
        super().__init__(Access(f"http://127.0.0.1:{port}"), 1)

    def get(self, path: str, **query: str) -> Any:
        prefix = f"/api/v1/namespaces/sluice-test-1/services/http:s3:{PORT}/proxy"
        assert path.startswith(f"{prefix}/{BUCKET}/{layout.folder(WorkflowId('w'))}/")
        return super().get(path.removeprefix(prefix), **query)


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return
