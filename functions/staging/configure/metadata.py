"""Reads DDOs, the descriptions of assets, from Ocean's metadata service (Aquarius)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from functions.staging.guarded_http import GuardedHttp
from functions.staging.report import StageFailure
from functions.staging.retry import RetryPolicy, TransientError
from functions.untrusted import Malformed, parse_json


class MetadataService:
    """The metadata service at `uri`. Thread-safe. `trusted`: the operator chose it, not the document."""

    def __init__(
        self,
        http: GuardedHttp,
        uri: str | None,
        trusted: bool,
        retries: RetryPolicy,
        wait: Callable[[float], None],
    ) -> None:
        self.trusted = trusted
        self._http = http
        self._uri = uri
        self._retries = retries
        self._wait = wait
        self._silent = False

    def find(self, did: str) -> bytes | None:
        """Return the DDO, or None if the service does not give it at once: algorithms run without it.

        A service that does not answer is not asked again.
        """
        if not self._uri or self._silent or not did.startswith("did:"):
            return None
        try:
            return self._read(did)
        except StageFailure as e:
            logging.warning("no DDO of %s: %s", did, e.text)
        except TransientError as e:
            self._silent = True
            logging.warning("no DDO of %s: %s; the metadata service is not asked again", did, e.text)
        return None

    def get(self, did: str) -> bytes:
        """Return the DDO, with retries. Raises StageFailure."""
        if not self._uri:
            raise StageFailure(
                "DataUnavailable",
                "its Provider is unknown: the workflow has neither `serviceEndpoint` nor `metadataUri`",
            )
        return self._retries.call(f"DDO of {did}", lambda: self._read(did), self._wait)

    def _read(self, did: str) -> bytes:
        url = f"{(self._uri or '').rstrip('/')}/api/aquarius/assets/ddo/{did}"
        data = self._http.read("GET", url, trusted=self.trusted)
        as_object(data)
        return data


def endpoint_of(ddo: bytes, did: str, service: str | int | None) -> str:
    """Return the Provider's URL for a service of an asset, named by its id or its position. Raises StageFailure."""
    content = as_object(ddo)
    if content.get("id") != did:
        raise StageFailure("DataUnavailable", "the metadata service returns the DDO of another asset")
    services = content.get("services")
    for n, entry in enumerate(services if isinstance(services, list) else []):
        if isinstance(entry, dict) and str(service) in (str(entry.get("id")), str(n)):
            endpoint = entry.get("serviceEndpoint")
            if isinstance(endpoint, str) and endpoint:
                return endpoint
    raise StageFailure("DataUnavailable", f"its DDO names no Provider for the service {service}")


def as_object(data: bytes) -> dict[str, Any]:
    """Decode a JSON object. Raises StageFailure."""
    try:
        return parse_json(data, dict[str, Any])
    except Malformed:
        raise StageFailure("DataUnavailable", "the server's answer is not a JSON object") from None
