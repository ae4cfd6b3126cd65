"""Downloads files from an Ocean Provider, which wants the operator's signature (Ocean's `remote`)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from functions import ethereum
from functions.log import scrub
from functions.staging.configure.fetch import Body
from functions.staging.configure.metadata import as_object
from functions.staging.configure.sources import HttpSource
from functions.staging.guarded_http import GuardedHttp, HttpStatusError
from functions.staging.report import StageFailure
from functions.staging.retry import RetryPolicy, TransientError
from functions.untrusted import Malformed, parse_json


def require_did(id: str) -> None:
    """Refuse to sign for anything but a DID. Raises StageFailure.

    A request to Sluice's own API is signed over an owner, which is never a DID. No document may produce such a
    signature.
    """
    if not id.startswith("did:"):
        raise StageFailure("DataForbidden", "the id of the asset is not a DID (`did:op:…`), so no request is signed")


class DownloadSigner:
    """Signs requests with the operator's key.

    A Provider accepts only increasing nonces, so requests are signed and sent one after the other.
    """

    def __init__(self, private_key: str | None, clock: Callable[[], float] = time.time) -> None:
        self._key = private_key or ""
        self._clock = clock
        self._last = 0
        self.turn = Lock()

    def sign(self, did: str) -> dict[str, str]:
        """Return the signed parameters of a request. The caller holds `turn`. Raises StageFailure."""
        require_did(did)
        self._last = max(self._last + 1, int(self._clock() * 1000))
        nonce = str(self._last)
        try:
            signature, address = ethereum.sign(self._key, did + nonce), ethereum.address(self._key)
        except ValueError as e:
            raise StageFailure("NotConfigured", f"downloads from a Provider need OPERATOR_PRIVATE_KEY: {e}") from None
        return {"consumerAddress": address, "nonce": nonce, "signature": signature}


class Asset(Struct, frozen=True):
    """A service of an asset, the transaction that paid for it, and the Provider that serves it."""

    endpoint: str
    did: str
    service: str | int | None
    transaction: str | None
    userdata: Any = None


class ProviderSource(Struct, frozen=True):
    """One file of an asset. Every request is signed anew."""

    http: GuardedHttp
    signer: DownloadSigner
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
                    download = HttpSource(self.http, f"{self.url}?{urlencode(self._parameters())}", self.kind)
                    body = stack.enter_context(download.open(start, version))
            except HttpStatusError as e:
                if "nonce" in e.body.lower():
                    raise TransientError("the Provider has already seen a later nonce, from another job") from None
                raise
            yield body

    def _parameters(self) -> dict[str, str]:
        asset = self.asset
        parameters = {
            "fileIndex": str(self.index),
            "documentId": asset.did,
            "transferTxId": asset.transaction or "",
            "serviceId": str(asset.service),
            **self.signer.sign(asset.did),
        }
        return parameters | ({"userdata": json.dumps(asset.userdata)} if asset.userdata else {})


def files(
    asset: Asset, http: GuardedHttp, signer: DownloadSigner, retries: RetryPolicy, wait: Callable[[float], None]
) -> list[ProviderSource]:
    """Ask the Provider for the files of an asset. Raises StageFailure, also if it lists none."""
    require_did(asset.did)

    def read(method: str, url: str, body: bytes | None = None) -> bytes:
        return retries.call(f"Provider of {asset.did}", lambda: http.read(method, url, body), wait)

    routes = as_object(read("GET", asset.endpoint)).get("serviceEndpoints")
    question = json.dumps({"did": asset.did, "serviceId": asset.service}).encode()
    count = _count(read("POST", _route(asset.endpoint, routes, "fileinfo"), question))
    url = _route(asset.endpoint, routes, "download")
    return [ProviderSource(http, signer, asset, url, n) for n in range(count)]


def _route(endpoint: str, routes: Any, name: str) -> str:
    route = routes.get(name) if isinstance(routes, dict) else None
    if not (isinstance(route, list) and len(route) == 2 and isinstance(route[1], str)):
        raise StageFailure("DataUnavailable", f"the Provider names no route for {name}")
    return f"{endpoint.rstrip('/')}/{route[1].lstrip('/')}"


def _count(answer: bytes) -> int:
    """Return how many files a Provider lists. Its error object may come with status 200."""
    try:
        found = parse_json(answer, list[Any])
    except Malformed:
        raise StageFailure("DataUnavailable", "the Provider's answer is an error instead of a list of files") from None
    if not found:
        raise StageFailure("DataUnavailable", "the Provider lists no file")
    return len(found)
