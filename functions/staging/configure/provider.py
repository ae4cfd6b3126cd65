"""Files behind an Ocean Provider, which gives them to the operator's signature (Ocean's `remote`)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any
from urllib.parse import urlencode

from functions import ethereum
from functions.log import scrub
from functions.staging.configure.fetch import Body
from functions.staging.configure.metadata import as_object
from functions.staging.configure.sources import HttpSource
from functions.staging.guarded_http import Refused, Web
from functions.staging.report import Failure
from functions.staging.retry import RetryPolicy, TransientError


class Signer:
    """The operator's key. A Provider takes only nonces that grow, so requests are signed and begun one by one."""

    def __init__(self, private_key: str | None, clock: Callable[[], float] = time.time) -> None:
        self._key = private_key or ""
        self._clock = clock
        self._last = 0
        self.turn = Lock()

    def sign(self, did: str) -> dict[str, str]:
        """The parameters that prove who asks; call it while holding `turn`. Raises Failure (NotConfigured)."""
        self._last = max(self._last + 1, int(self._clock() * 1000))
        nonce = str(self._last)
        try:
            signature, address = ethereum.sign(self._key, did + nonce), ethereum.address(self._key)
        except ValueError as e:
            raise Failure("NotConfigured", f"OPERATOR_PRIVATE_KEY, which Providers ask for: {e}") from None
        return {"consumerAddress": address, "nonce": nonce, "signature": signature}


@dataclass(frozen=True)
class Asset:
    """What was bought, and where it is to be had."""

    endpoint: str
    did: str
    service: str | int | None
    transaction: str | None
    userdata: Any = None


@dataclass(frozen=True)
class ProviderSource:
    """One file of an asset; every request is signed anew."""

    web: Web
    signer: Signer
    asset: Asset
    url: str
    index: int
    kind: str = "provider"

    @property
    def where(self) -> str:
        return f"{scrub(self.asset.endpoint)}, file {self.index} of {self.asset.did}"

    @contextmanager
    def open(self, start: int, version: str | None) -> Iterator[Body]:
        with ExitStack() as stack:
            try:
                with self.signer.turn:
                    download = HttpSource(self.web, f"{self.url}?{urlencode(self._parameters())}", self.kind)
                    body = stack.enter_context(download.open(start, version))
            except Refused as e:
                if "nonce" in e.body.lower():
                    raise TransientError("the Provider has seen a later nonce, of another job") from None
                raise
            yield body

    def _parameters(self) -> dict[str, str]:
        asset = self.asset
        wanted = {
            "fileIndex": str(self.index),
            "documentId": asset.did,
            "transferTxId": asset.transaction or "",
            "serviceId": str(asset.service),
            **self.signer.sign(asset.did),
        }
        return wanted | ({"userdata": json.dumps(asset.userdata)} if asset.userdata else {})


def files(
    asset: Asset, web: Web, signer: Signer, patience: RetryPolicy, wait: Callable[[float], None]
) -> list[ProviderSource]:
    """The files of an asset. Raises Failure, also where the Provider lists none."""

    def read(method: str, url: str, body: bytes | None = None) -> bytes:
        return patience.persist(f"Provider of {asset.did}", lambda: web.read(method, url, body), wait)

    routes = as_object(read("GET", asset.endpoint)).get("serviceEndpoints")
    question = json.dumps({"did": asset.did, "serviceId": asset.service}).encode()
    listed = _listed(read("POST", _route(asset.endpoint, routes, "fileinfo"), question))
    url = _route(asset.endpoint, routes, "download")
    return [ProviderSource(web, signer, asset, url, n) for n in range(listed)]


def _route(endpoint: str, routes: Any, name: str) -> str:
    route = routes.get(name) if isinstance(routes, dict) else None
    if not (isinstance(route, list) and len(route) == 2 and isinstance(route[1], str)):
        raise Failure("DataUnavailable", f"the Provider names no route for {name}")
    return f"{endpoint.rstrip('/')}/{route[1].lstrip('/')}"


def _listed(answer: bytes) -> int:
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, list):
        # An error object, `{"error": …}`, also with status 200.
        raise Failure("DataUnavailable", "the Provider answers an error instead of a list of files")
    if not found:
        raise Failure("DataUnavailable", "the Provider lists no file")
    return len(found)
