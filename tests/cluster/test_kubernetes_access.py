"""The address and the credentials of the Kubernetes API, in a Pod and with a kubeconfig."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.clusters import stage_job
from support.fake_kube import FakeKube

from functions.cluster.kubernetes import access
from functions.cluster.kubernetes.cluster import KubernetesCluster
from functions.cluster.ports import ClusterUnavailable, State
from functions.settings import Settings
from functions.variables import SettingsError

DATA = Path(__file__).parents[1] / "data"
REF = stage_job("w").ref


@pytest.fixture
def secure() -> Iterator[FakeKube]:
    fake = FakeKube(tls=DATA)
    try:
        yield fake
    finally:
        fake.close()


@pytest.fixture
def account(secure: FakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a Pod's service account, for the API `secure`."""
    (tmp_path / "ca.crt").write_bytes((DATA / "kube-api-cert.pem").read_bytes())
    (tmp_path / "token").write_text("not-a-secret\n")
    monkeypatch.setattr(access, "_SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(secure.port))
    return tmp_path


def test_a_pod_uses_its_service_account(account: Path) -> None:
    assert KubernetesCluster(Settings()).read(REF).state is State.GONE


def test_a_server_that_the_clusters_authority_did_not_sign_gets_no_request(account: Path, secure: FakeKube) -> None:
    (account / "ca.crt").write_bytes((DATA / "data.example-cert.pem").read_bytes())
    with pytest.raises(ClusterUnavailable, match="SSLError"):
        KubernetesCluster(Settings()).read(REF)
    assert secure.calls.total() == 0


def test_the_token_is_read_again_for_every_call(account: Path) -> None:
    found = access.find_access("")
    assert found.authorization() == "Bearer not-a-secret"
    (account / "token").write_text("another")
    assert found.authorization() == "Bearer another"


def test_a_missing_token_file_is_unavailable(account: Path) -> None:
    cluster = KubernetesCluster(Settings())
    assert cluster.read(REF).state is State.GONE
    (account / "token").unlink()
    with pytest.raises(ClusterUnavailable, match="token"):
        cluster.read(REF)


def test_an_ipv6_address_gets_brackets(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    assert access.find_access("").server.startswith("https://[fd00::1]:")


def test_without_a_cluster_the_message_names_kubeconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(SettingsError, match="KUBECONFIG"):
        KubernetesCluster(Settings()).read(REF)


def test_an_image_without_the_package_for_a_kubeconfig_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes.client.configuration", None)
    with pytest.raises(SettingsError) as refused:
        access.find_access("/nowhere")
    text = str(refused.value)
    assert "In a Pod, unset KUBECONFIG: its service account is used" in text
    assert "install Sluice with pip (docs/deploy.md, Images)" in text


def kubeconfig(secure: FakeKube, folder: Path, authority: Path) -> str:
    data = base64.b64encode(authority.read_bytes()).decode()
    cluster = {"server": f"https://127.0.0.1:{secure.port}", "certificate-authority-data": data}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "users": [{"name": "c", "user": {"token": "not-a-secret"}}],
    }
    (folder / "config").write_text(yaml.safe_dump(config))
    return str(folder / "config")


def test_a_kubeconfig_brings_its_own_authority(secure: FakeKube, tmp_path: Path) -> None:
    path = kubeconfig(secure, tmp_path, DATA / "kube-api-cert.pem")
    assert KubernetesCluster(Settings(kubeconfig=path)).read(REF).state is State.GONE


def test_a_kubeconfig_with_another_authority_is_unavailable(secure: FakeKube, tmp_path: Path) -> None:
    path = kubeconfig(secure, tmp_path, DATA / "data.example-cert.pem")
    with pytest.raises(ClusterUnavailable, match="SSLError"):
        KubernetesCluster(Settings(kubeconfig=path)).read(REF)


def test_a_missing_kubeconfig_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="KUBECONFIG"):
        KubernetesCluster(Settings(kubeconfig=str(tmp_path / "absent"))).read(REF)


@pytest.mark.parametrize(("exempt", "proxy"), [("127.0.0.1", None), ("other.example", "http://proxy.example:3128")])
def test_the_proxy_of_the_environment_is_used_except_for_exempt_hosts(
    secure: FakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exempt: str, proxy: str | None
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", exempt)
    monkeypatch.delenv("no_proxy", raising=False)
    assert access.find_access(kubeconfig(secure, tmp_path, DATA / "kube-api-cert.pem")).proxy == proxy
