"""What Ocean's metadata service (Aquarius) knows of an asset: its DDO."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from functions.staging.guarded_http import Web
from functions.staging.report import Failure
from functions.staging.retry import RetryPolicy, TransientError


@dataclass
class Metadata:
    """DDOs from `uri`. Thread-safe: at worst a silent service is asked once per thread."""

    web: Web
    uri: str | None
    patience: RetryPolicy
    wait: Callable[[float], None]
    _silent: bool = field(default=False, init=False)

    def offered(self, did: str) -> bytes | None:
        """The DDO if it can be had at once: an algorithm may use it, and runs without it."""
        if not self.uri or self._silent or not did.startswith("did:"):
            return None
        try:
            return self._read(did)
        except Failure as e:
            logging.warning("no DDO of %s: %s", did, e.text)
        except TransientError as e:
            self._silent = True
            logging.warning("no DDO of %s: %s; the metadata service is not asked again", did, e.text)
        return None

    def needed(self, did: str) -> bytes:
        """The DDO, with retries. Raises Failure."""
        if not self.uri:
            raise Failure("DataUnavailable", "neither `serviceEndpoint` nor `metadataUri` says where its Provider is")
        return self.patience.persist(f"DDO of {did}", lambda: self._read(did), self.wait)

    def _read(self, did: str) -> bytes:
        data = self.web.read("GET", f"{(self.uri or '').rstrip('/')}/api/aquarius/assets/ddo/{did}")
        as_object(data)
        return data


def endpoint_of(ddo: bytes, service: str | int | None) -> str:
    """The Provider of a service of a DDO: by its id, or by its place in the list. Raises Failure."""
    services = as_object(ddo).get("services")
    for n, entry in enumerate(services if isinstance(services, list) else []):
        if isinstance(entry, dict) and str(service) in (str(entry.get("id")), str(n)):
            endpoint = entry.get("serviceEndpoint")
            if isinstance(endpoint, str) and endpoint:
                return endpoint
    raise Failure("DataUnavailable", f"its DDO names no Provider for the service {service}")


def as_object(data: bytes) -> dict[str, Any]:
    """Decode a JSON object. Raises Failure."""
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Failure("DataUnavailable", "the server answers something that is not a JSON object")
    return value
