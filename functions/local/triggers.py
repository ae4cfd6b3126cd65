"""Knative's Triggers: which events they select, where these go, and how a failed delivery is retried. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from functions.local.knative_manifests import ManifestError

Attributes = Mapping[str, str]
Filter = Callable[[Attributes], bool]
# From a function's name to its base URL.
Addresses = Mapping[str, str]

_DURATION = re.compile(r"PT(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?")


class DeliverySpec(Struct, frozen=True):
    """A Trigger's `delivery`: the number of retries, the pauses between them, and the dead letter sink."""

    retries: int = 0
    delay: float = 0.2  # seconds
    exponential: bool = True
    dead_letter_sink: str | None = None  # URL

    def pause(self, failures: int) -> float:
        """Seconds before the next attempt, after `failures` failed ones."""
        return self.delay * (2 ** (failures - 1) if self.exponential else failures)


class Trigger(Struct, frozen=True):
    name: str
    selects: Filter
    subscriber: str  # URL
    delivery: DeliverySpec


def parse_trigger(manifest: Mapping[str, Any], addresses: Addresses) -> Trigger:
    """Read a Trigger. Raises ManifestError if it uses what the laptop's broker does not support."""
    name, spec = manifest["metadata"]["name"], manifest["spec"]
    try:
        return Trigger(
            name,
            _filter(spec),
            _url(spec["subscriber"], addresses),
            _delivery_spec(spec.get("delivery") or {}, addresses),
        )
    except (KeyError, ValueError, TypeError) as e:
        raise ManifestError(f"Trigger {name}: {e} is not supported on a laptop") from None


def parse_duration(text: str) -> float:
    """Convert an ISO 8601 duration such as `PT0.5S` to seconds. Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if not found or text == "PT":
        raise ValueError(text)
    hours, minutes, seconds = (float(found[unit] or 0) for unit in ("hours", "minutes", "seconds"))
    return 3600 * hours + 60 * minutes + seconds


def retryable(status: int) -> bool:
    """Whether Knative retries after this HTTP status. Any other 4xx is final."""
    return status >= 500 or status in (404, 408, 409, 429)


def _filter(spec: Mapping[str, Any]) -> Filter:
    if spec.get("filters"):
        raise ValueError("`filters`, instead of `filter: attributes`,")
    wanted = (spec.get("filter") or {}).get("attributes") or {}
    # An empty value only asks that the attribute exists, as in Knative.
    return lambda event: all(name in event and value in ("", event[name]) for name, value in wanted.items())


def _url(destination: Mapping[str, Any], addresses: Addresses) -> str:
    reference = destination.get("ref")
    if not reference:
        return str(destination["uri"])
    return addresses[reference["name"]] + str(destination.get("uri", "/"))


def _delivery_spec(spec: Mapping[str, Any], addresses: Addresses) -> DeliverySpec:
    sink = spec.get("deadLetterSink")
    return DeliverySpec(
        retries=int(spec.get("retry", 0)),
        delay=parse_duration(spec.get("backoffDelay", "PT0.2S")),
        exponential=spec.get("backoffPolicy", "exponential") == "exponential",
        dead_letter_sink=_url(sink, addresses) if sink else None,
    )
