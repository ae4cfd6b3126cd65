"""The overlays for trying out, rehearsed: functions, Jobs and stages run with the variables and files they give.

The programs are those of the rehearsed image. The test supplies what a cluster adds: a Postgres, the overlay's S3
server, a fake API server, and a kubelet that knows variables, mounted files and commands, and nothing else.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support.deployment import FILLED_IN, INSTALL, TRY_OUT, function_pods, of_kind, pods
from support.dockerfile import Image, written_bytecode
from support.fake_kube import FakeKube
from support.kubelet import Kubelet
from support.kustomize import Manifest, read
from support.recorded import lines
from support.schemas import DATA
from support.served import free_port

pytestmark = pytest.mark.xdist_group("image")
PLACE = "ocean-compute"
NOWHERE = {"HOST:5432": "127.0.0.1:1"}  # instead of the database of the sample Secrets
SIGNATURE = (  # somebody's; of which message does not matter
    "0xf968bb86bbd1af509b668c5760554d76c4a898d7399ecfd292630842d20ffccf"
    "08f24b7b40090ffaa6b866951bea257ce78a2aa70cc625412ff638513302996601"
)


@pytest.fixture(params=TRY_OUT)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def kube() -> Iterator[FakeKube]:
    with closing(FakeKube(tls=DATA, namespace=PLACE)) as fake:
        yield fake


@pytest.fixture
def kubelet(
    overlay: str, kube: FakeKube, tmp_path: Path, empty_postgres_url: str, stages: Mapping[str, Image]
) -> Iterator[Kubelet]:
    (tag,) = {pod["containers"][0]["image"] for pod in function_pods(overlay).values()}
    images = {tag: stages["functions"], f"{tag}-migrate": stages["migrate"]}
    found = of_kind(overlay, "Secret")["sluice-database"]["stringData"]["DATABASE_URL"]
    moved = {found: empty_postgres_url}
    with s3(overlay, tmp_path) as address:
        moved["s3.sluice.svc.cluster.local:9000"] = address
        with written_bytecode(stages["functions"]) as written:
            yield Kubelet(
                overlay, tmp_path, stages["functions"], images, moved, lambda name: kube.find("secrets", name)
            )
        assert written == set(), "modules without bytecode"


@contextmanager
def s3(overlay: str, folder: Path) -> Iterator[str]:
    """The S3 server as its Pod starts it, but for the installation."""
    (script,) = dict(pods(overlay))["Deployment s3"]["containers"][0]["args"]
    port = free_port()
    (buckets,) = re.findall(r"mkdir -p (\S+)", script)
    Path(str(folder) + buckets).mkdir(parents=True)
    (line,) = re.findall(r"exec python (-m localbucket .+)", script)
    words = line.replace("0.0.0.0", "127.0.0.1").replace("9000", str(port)).replace("/data/", f"{folder}/data/").split()
    server = subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: status_of(f"http://127.0.0.1:{port}/") == 200)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


@contextmanager
def functions(kubelet: Kubelet, kube: FakeKube) -> Iterator[dict[str, str]]:
    """The three functions, each with its own Pod's variables and files; their addresses."""
    with ExitStack() as stack:
        found, account = {}, service_account(kubelet, kube)
        for name, pod in function_pods(kubelet.overlay).items():
            found[name] = stack.enter_context(kubelet.serve(pod, "sluice", **account))
        yield found


def service_account(kubelet: Kubelet, kube: FakeKube) -> dict[str, str]:
    """What a cluster gives every Pod with an account. Its folder cannot be made here, so `access` looks elsewhere."""
    folder = kubelet.folder / "account"
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text("not-a-secret")
    shutil.copy(DATA / "kube-api-cert.pem", folder / "ca.crt")
    (folder / "sitecustomize.py").write_text(
        "from pathlib import Path\n"
        "from functions.cluster.kubernetes import access\n"
        f"access._SERVICE_ACCOUNT = Path({str(folder)!r})\n"
    )
    path = f"{kubelet.image.variables['PYTHONPATH']}:{folder}"
    return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(kube.port), "PYTHONPATH": path}


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def status_of(url: str, body: Any = None, headers: Mapping[str, str] | None = None) -> int:
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None, dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as e:
        return e.code
    except OSError:
        return 0


def announce(url: str, body: Mapping[str, Any]) -> None:
    """What ApiServerSource sends of the object."""
    headers = {
        "ce-specversion": "1.0",
        "ce-id": uuid4().hex,
        "ce-source": "https://10.96.0.1:443",
        "ce-type": "dev.knative.apiserver.resource.update",
        "ce-kind": body["kind"],
        "ce-apiversion": body["apiVersion"],
        "content-type": "application/json",
    }
    assert status_of(f"{url}/", body, headers) == 204


def workflow(volume: str) -> Manifest:
    """The sample, without its data from the Internet, and for a volume that is not at /data."""
    (found,) = read(INSTALL / "workflow-1.yaml")
    (stage,) = found["spec"]["metadata"]["stages"]
    stage["input"] = []
    stage["algorithm"]["rawcode"] = stage["algorithm"]["rawcode"].replace("/data", volume)
    return found


@pytest.mark.parametrize("overlay", ["kind"])
def test_recorded_events_of_other_peoples_objects_change_nothing(kube: FakeKube, kubelet: Kubelet) -> None:
    assert kubelet.run(dict(pods("install"))["Job migrate"], "sluice") == 0
    with functions(kubelet, kube) as at:
        for file, name in (
            ("resource", "advance"),
            ("reference", "advance"),
            ("pods", "advance"),
            ("workflow", "submit"),
        ):
            for line in lines(f"apiserversource-{file}.jsonl"):
                assert status_of(f"{at[name]}/", line["data"], line["headers"]) == 204
    assert kube.created.total() == 0


def test_the_sample_workflow_finishes_with_the_configuration_of_the_overlay(
    kube: FakeKube, kubelet: Kubelet, tmp_path: Path
) -> None:
    assert kubelet.run(dict(pods("install"))["Job migrate"], "sluice") == 0
    volume = tmp_path / "volume"
    with functions(kubelet, kube) as at:
        applied = kube.put("workflows", workflow(str(volume)))
        announce(at["submit"], applied)
        id = applied["metadata"]["uid"].replace("-", "")
        for stage in ("configure", "algorithm", "publish"):
            job = kube.find("jobs", f"{id}-{stage}-1")
            assert job is not None, f"no Job for {stage}: {kube.names('jobs')}"
            pod = job["spec"]["template"]["spec"]
            if not volume.exists():
                claim = pod["volumes"][1]["persistentVolumeClaim"]["claimName"]
                volume.symlink_to(tmp_path / claim / "data")
            assert kubelet.run(pod, PLACE) == 0
            announce(at["advance"], {**(kube.find("pods", kube.terminate(job["metadata"]["name"], 0)) or {})})
        ended = kube.find("workflows", "workflow-1")
        assert ended is not None
        assert ended["status"]["phase"] == "Finished"
        assert (tmp_path / f"data/buckets/sluice-results/{id}/1/outputs/summary.json").is_file()
        assert kube.names("configmaps") == kube.names("jobs") == []

        api = f"{at['status']}/api/v1/operator"
        assert status_of(f"{api}/environments") == 200
        assert status_of(f"{api}/info?jobId={id}", headers={"Admin": "try-out-only"}) == 200
        assert status_of(f"{api}/logs?jobId={id}&component=algorithm", headers={"Admin": "try-out-only"}) == 200


def test_the_functions_of_production_are_ready_with_the_sample_secrets(
    kube: FakeKube, tmp_path: Path, stages: Mapping[str, Image]
) -> None:
    (tag,) = {pod["containers"][0]["image"] for pod in function_pods("production").values()}
    kubelet = Kubelet(
        "production", tmp_path, stages["functions"], {tag: stages["functions"]}, NOWHERE | FILLED_IN, sample_secret
    )
    with functions(kubelet, kube) as at:
        assert at.keys() == {"submit", "advance", "status"}  # `serve` has waited until each was ready
        assert status_of(f"{at['status']}/") == 200


def sample_secret(name: str) -> Manifest:
    """A Secret of the functions' namespace as the sample has it, not filled in."""
    (found,) = [
        each
        for each in read(INSTALL / "secrets.yml.sample")
        if (each["metadata"]["name"], each["metadata"]["namespace"]) == (name, "sluice")
    ]
    return {"data": {key: b64encode(value.encode()).decode() for key, value in found["stringData"].items()}}


def test_anybody_may_submit_over_http_to_an_overlay_for_trying_out(kube: FakeKube, kubelet: Kubelet) -> None:
    assert kubelet.run(dict(pods("install"))["Job migrate"], "sluice") == 0
    body = {
        "workflow": workflow("/data")["spec"]["metadata"],
        "agreementId": "0x1",
        "owner": "0xme",
        "environment": PLACE,
        "nonce": time.time_ns(),
        "providerSignature": SIGNATURE,
    }
    with functions(kubelet, kube) as at:
        headers = {"Content-Type": "application/json"}
        assert status_of(f"{at['submit']}/api/v1/operator/compute", body, headers) == 200
    assert len(kube.names("jobs")) == 1
