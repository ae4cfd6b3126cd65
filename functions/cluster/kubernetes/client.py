"""HTTP to the Kubernetes API: where it is, who we are to it, and what its errors mean.

Spoken with urllib3 alone: of the package `kubernetes`, a Pod needs nothing but two files, and importing its models
would double the cold start of a function. Off the cluster the package reads the kubeconfig.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from functions.cluster.ports import Rejected, Unavailable
from functions.log import about
from functions.settings import SettingsError

if TYPE_CHECKING:
    import urllib3

logger = logging.getLogger(__name__)

Body = Mapping[str, Any]
CONNECT_SECONDS, READ_SECONDS = 3.0, 10.0
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LONGEST_MESSAGE = 300
_OFFERS = ("POST", "PATCH")  # what brings an object, which may be refused


class Conflict(Exception):
    """409: the object exists already, or is not the one that was meant."""


@dataclass(frozen=True)
class Access:
    """Where an API is and how to be admitted to it."""

    server: str
    authorization: Callable[[], str | None] = lambda: None  # the header, asked for at every call: tokens rotate
    tls: Mapping[str, Any] = field(default_factory=dict)  # urllib3's arguments
    proxy: str | None = None


class NoCluster(SettingsError):
    """Nothing says where one is."""


def access(kubeconfig: str) -> Access:
    """The API of the kubeconfig, or without one that of the cluster we run in. Raises SettingsError, NoCluster too."""
    if kubeconfig:
        return _from_kubeconfig(kubeconfig)
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    token = _ACCOUNT / "token"
    if not host or not token.exists():
        raise NoCluster("no cluster: this is no Pod with a service account, and KUBECONFIG is not set")
    return Access(
        f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        lambda: f"Bearer {token.read_text().strip()}",
        {"ca_certs": str(_ACCOUNT / "ca.crt")},
    )


def _from_kubeconfig(path: str) -> Access:
    from kubernetes.client.configuration import Configuration
    from kubernetes.config.config_exception import ConfigException
    from kubernetes.config.kube_config import load_kube_config
    from requests.utils import should_bypass_proxies  # as the package itself does

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


class Api:
    """The verbs, on paths such as `/api/v1/namespaces/x/pods/y`. Threads share it; `connections` are kept open.

    Every call has a time-out and may raise Unavailable; `post` and `patch` raise Rejected too.
    """

    def __init__(self, access: Access, connections: int) -> None:
        import urllib3

        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        # No retries here: whoever calls is called again, by a redelivery or by the sweep.
        options = {"maxsize": connections, "timeout": timeout, "retries": False, **access.tls}
        self._access = access
        self._pool = urllib3.ProxyManager(access.proxy, **options) if access.proxy else urllib3.PoolManager(**options)

    def get(self, path: str, **query: str) -> Body | None:
        """The object; None if there is none."""
        return self._call("GET", path, query=query)

    def post(self, path: str, body: Body) -> Body:
        """Create. Raises Conflict where it exists."""
        return self._call("POST", path, body) or {}

    def delete(self, path: str, options: Body) -> bool:
        """Whether there was something to delete. Raises Conflict where the preconditions do not hold."""
        return self._call("DELETE", path, options) is not None

    def patch(self, path: str, body: Body) -> bool:
        """Merge; whether the object is there."""
        return self._call("PATCH", path, body, kind="application/merge-patch+json") is not None

    def stream(self, path: str, max_bytes: int, **query: str) -> Iterator[bytes]:
        """The answer as it comes; nothing where there is none."""
        with self._answer("GET", path, query=query) as answer:
            if answer.status in (400, 404):  # the container has not started, or is gone
                return
            said = answer.read(_LONGEST_MESSAGE) if answer.status >= 300 else b""
            _check("GET", path, answer.status, answer.headers, said)
            left = max_bytes
            while left > 0 and (chunk := answer.read(min(left, 1 << 16))):
                left -= len(chunk)
                yield chunk

    def _call(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        kind: str = "application/json",
        query: Body | None = None,
    ) -> Body | None:
        with self._answer(method, path, body, kind, query) as answer:
            content = answer.read()
            status = answer.status
            headers = answer.headers
        if status == 404 and method != "POST":
            return None
        _check(method, path, status, headers, content)
        try:
            decoded = json.loads(content)
        except ValueError:
            raise Unavailable("the Kubernetes API answers something that is not JSON") from None
        return decoded if isinstance(decoded, dict) else {}

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        kind: str = "application/json",
        query: Body | None = None,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        import urllib3

        headers = {"Accept": "application/json", "Content-Type": kind, "User-Agent": "sluice"}
        try:
            if authorization := self._access.authorization():
                headers["Authorization"] = authorization
            answer = self._pool.request(
                method,
                self._access.server + path,
                body=json.dumps(body).encode() if body is not None else None,
                fields=dict(query) if query else None,
                headers=headers,
                preload_content=False,
                redirect=False,
            )
            try:
                yield answer
            finally:
                answer.drain_conn()
                answer.release_conn()
        except urllib3.exceptions.HTTPError as e:
            raise Unavailable(f"the Kubernetes API does not answer ({type(e).__name__})") from None
        except OSError as e:
            raise Unavailable(f"the service account's token cannot be read ({type(e).__name__})") from None


def _check(method: str, path: str, status: int, headers: Mapping[str, str], content: bytes) -> None:
    """Raise what the status means, unless it is a success."""
    if status < 300:
        return
    message = _message(content)
    if status == 409:
        raise Conflict(message)
    refused = _refusal(status, message)
    if refused is None:
        raise Unavailable(f"the Kubernetes API answers {status}: {message}", _retry_after(headers))
    if method != "POST":
        logger.error("refused by the Kubernetes API: %s", message, extra=about(**_right(method, path)))
    if method not in _OFFERS:  # what is wrong are our rights, not the Job that is asked about
        raise Unavailable(str(refused))
    raise refused


def _refusal(status: int, message: str) -> Rejected | None:
    match status:
        case 400 | 413 | 422:
            return Rejected("Invalid", f"the Kubernetes API refuses the object: {message}", final=True)
        case 403 if "exceeded quota" in message:
            return Rejected("QuotaExceeded", message, final=False)
        case 403:
            return Rejected("Forbidden", f"the Kubernetes API does not let us: {message}", final=False)
        case 404:
            return Rejected("NamespaceMissing", f"the environment's namespace is not there: {message}", final=False)
        case _:
            return None


def _right(method: str, path: str) -> dict[str, str]:
    """What a call needs, as a Role names it."""
    _, _, below = path.partition("/namespaces/")
    namespace, resource, name, sub = (*below.split("/"), "", "", "", "")[:4]
    verb = "list" if method == "GET" and not name else method.lower()
    return {"verb": verb, "resource": f"{resource}/{sub}" if sub else resource, "namespace": namespace}


def _message(content: bytes) -> str:
    """What the API says in a Status object."""
    try:
        status = json.loads(content)
    except ValueError:
        return ""
    return str(status.get("message", ""))[:_LONGEST_MESSAGE] if isinstance(status, dict) else ""


def _retry_after(headers: Mapping[str, str]) -> float:
    value = headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 5.0
