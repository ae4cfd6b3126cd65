"""A namespace of a real cluster, for the tests of `pytest -m cluster`: it brings its own storage and cleans up.

The storage is `localbucket`, an S3 server in one Python file, in a Pod of the Sluice image. Pods reach it by its
Service. The tests read it through the API server's proxy, so this machine needs nothing but the kubeconfig.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import localbucket
from support.kube_answers import Object

from functions.cluster.kubernetes.access import find_access
from functions.cluster.kubernetes.client import Api
from functions.cluster.kubernetes.objects import get_mapping, get_mappings, get_text
from functions.results import layout
from functions.settings import Settings
from functions.workflow.model import Manifest, WorkflowId

PORT = 9000
BUCKET = "results"
PATIENCE = 120.0  # seconds, with the pull of an image
LABELS = {"app.kubernetes.io/name": "s3"}


@dataclass(frozen=True)
class RealCluster:
    """A namespace of the tests' own. `image`: an image with `sh` and `python3` for algorithms."""

    api: Api
    namespace: str
    settings: Settings
    algorithm_image: str

    def remove(self, *workflows: WorkflowId) -> None:
        """Delete what the workflows own and wait until their Pods are gone: they reserve CPU that others need."""
        path = f"/api/v1/namespaces/{self.namespace}"
        for workflow in workflows:
            self.api.delete(f"{path}/configmaps/{workflow}", {"propagationPolicy": "Background"})
        for workflow in workflows:
            until(partial(self._has_no_pods, workflow), f"the Pods of {workflow} to be gone")

    def _has_no_pods(self, workflow: WorkflowId) -> bool:
        return not self._pods(f"workflow={workflow}")

    def _pods(self, selector: str) -> list[Any]:
        found = self.api.get(f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=selector) or {}
        return get_mappings(found, "items")

    def wait_for_storage(self) -> None:
        def is_ready() -> bool:
            pods = self._pods("app.kubernetes.io/name=s3")
            conditions = [c for pod in pods for c in get_mappings(get_mapping(pod, "status"), "conditions")]
            return any(get_text(c, "type") == "Ready" and get_text(c, "status") == "True" for c in conditions)

        until(is_ready, "the S3 server to be ready")


class ProxiedStorage:
    """The part of the port that the rules use, through the API server's proxy to the Service `s3`."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._root = f"/api/v1/namespaces/{namespace}/services/http:s3:{PORT}/proxy/{BUCKET}"

    def manifest(self, workflow: WorkflowId, attempt: int) -> Manifest | None:
        found = self._api.get(f"{self._root}/{layout.attempt_folder(workflow, attempt)}/{layout.MANIFEST}")
        return layout.decode(json.dumps(found).encode()) if found is not None else None

    def remove(self, workflow: WorkflowId, before: int | None = None) -> None:
        """Do nothing: the namespace is removed."""


@contextmanager
def real_cluster(kubeconfig: str) -> Iterator[RealCluster]:
    """A new namespace, with an S3 server unless SLUICE_TEST_RESULTS_URL names a storage; removed afterwards."""
    name = f"sluice-test-{uuid4().hex[:8]}"
    settings = Settings(
        kubeconfig=kubeconfig,
        image=os.environ.get("SLUICE_TEST_IMAGE", "sluice:latest"),
        results_url=os.environ.get("SLUICE_TEST_RESULTS_URL", ""),
    )
    image = os.environ.get("SLUICE_TEST_ALGORITHM_IMAGE", "python:3.12-slim")
    api = Api(find_access(kubeconfig), 4)
    metadata = {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    try:
        made = RealCluster(api, name, settings, image)
        if not settings.results_url:
            for plural, body in s3_objects(name, settings.image):
                api.post(f"/api/v1/namespaces/{name}/{plural}", body)
            made.wait_for_storage()
            made = dataclasses.replace(made, settings=dataclasses.replace(settings, results_url=f"s3://{BUCKET}"))
        yield made
    finally:
        api.delete(f"/api/v1/namespaces/{name}", {})


def s3_objects(namespace: str, image: str) -> list[tuple[str, Object]]:
    """The S3 server and the credentials with which publish finds it, each with its plural."""
    source = Path(localbucket.__file__).read_text()
    settings = {
        "AWS_ACCESS_KEY_ID": "test-only",
        "AWS_SECRET_ACCESS_KEY": "test-only",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://s3.{namespace}.svc:{PORT}",
    }
    start = f"mkdir -p /data/{BUCKET} && exec python /source/localbucket.py --host 0.0.0.0 --port {PORT} /data"
    container = {
        "name": "s3",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", start],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "source", "mountPath": "/source"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "source", "configMap": {"name": "s3"}}],
    }

    def named(version: str, kind: str, name: str, **rest: Any) -> Object:
        metadata = {"name": name, "namespace": namespace, "labels": LABELS}
        return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}

    return [
        ("secrets", named("v1", "Secret", "sluice-storage", stringData=settings)),
        ("configmaps", named("v1", "ConfigMap", "s3", data={"localbucket.py": source})),
        ("services", named("v1", "Service", "s3", spec={"selector": LABELS, "ports": [{"port": PORT}]})),
        ("pods", named("v1", "Pod", "s3", spec=pod)),
    ]


def until(is_true: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.5)
