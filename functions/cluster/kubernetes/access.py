"""Finds the Kubernetes API: its address and our credentials.

Inside a Pod the service account's two files are all that is needed, and importing the package `kubernetes` would double
the cold start of a function. Outside a cluster that package reads the kubeconfig.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from functions.variables import SettingsError

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Access(Struct, frozen=True):
    """The address of an API, and how to authenticate to it."""

    server: str
    authorization: Callable[[], str | None] = lambda: None  # the header; called for each request: tokens rotate
    tls: Mapping[str, Any] = {}  # keyword arguments of urllib3's pool
    proxy: str | None = None


class NoCluster(SettingsError):
    """No setting and no service account names a cluster."""


def find_access(kubeconfig: str) -> Access:
    """Return the access to the API: that of the kubeconfig, or of the cluster we run in if `kubeconfig` is empty.

    Raises SettingsError if the kubeconfig cannot be used, NoCluster (one of them) if there is no cluster.
    """
    if kubeconfig:
        return _from_kubeconfig(kubeconfig)
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    token = _SERVICE_ACCOUNT / "token"
    if not host or not token.exists():
        raise NoCluster("no cluster: KUBECONFIG is not set, and this is not a Pod with a service account")
    return Access(
        f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        lambda: f"Bearer {token.read_text().strip()}",
        {"ca_certs": str(_SERVICE_ACCOUNT / "ca.crt")},
    )


def _from_kubeconfig(path: str) -> Access:
    try:
        from kubernetes.client.configuration import Configuration
        from kubernetes.config.config_exception import ConfigException
        from kubernetes.config.kube_config import load_kube_config
        from requests.utils import should_bypass_proxies  # the package itself decides with it
    except ModuleNotFoundError:
        raise SettingsError(
            "KUBECONFIG is set, and this image cannot read it: it leaves the package kubernetes out. In a Pod, unset "
            "KUBECONFIG: its service account is used. Elsewhere, install Sluice with pip (docs/deploy.md, Images)"
        ) from None

    configuration = Configuration()  # type: ignore[no-untyped-call]
    try:
        load_kube_config(config_file=path, client_configuration=configuration)  # type: ignore[no-untyped-call]
    except ConfigException as e:
        raise SettingsError(f"KUBECONFIG cannot be used: {e}") from None
    tls = {
        "cert_reqs": "CERT_REQUIRED" if configuration.verify_ssl else "CERT_NONE",
        "ca_certs": configuration.ssl_ca_cert,
        "cert_file": configuration.cert_file,
        "key_file": configuration.key_file,
        "server_hostname": configuration.tls_server_name,
    }
    direct = should_bypass_proxies(configuration.host, no_proxy=configuration.no_proxy or "")
    return Access(
        configuration.host,
        lambda: configuration.get_api_key_with_prefix("BearerToken", "authorization"),  # type: ignore[no-untyped-call]
        {name: value for name, value in tls.items() if value},
        None if direct else configuration.proxy,
    )
