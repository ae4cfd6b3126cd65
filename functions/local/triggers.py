"""Knative's Triggers: which events pass, to whom they go, and how a failed delivery is retried. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from functions.local.knative_manifests import ManifestError

Attributes = Mapping[str, str]
Filter = Callable[[Attributes], bool]
# From a function's name to its base URL.
Addresses = Mapping[str, str]

_DURATION = re.compile(r"PT(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?")


@dataclass(frozen=True)
class Delivery:
    """How often a delivery is tried again, after which pauses, and where the event goes then."""

    retries: int = 0
    delay: float = 0.2  # seconds
    exponential: bool = True
    dead_letters: str | None = None

    def pause(self, tries: int) -> float:
        """Seconds before the next try, after `tries` failed ones."""
        return self.delay * (2 ** (tries - 1) if self.exponential else tries)


@dataclass(frozen=True)
class Trigger:
    name: str
    passes: Filter
    subscriber: str  # URL
    delivery: Delivery


def trigger(manifest: Mapping[str, Any], addresses: Addresses) -> Trigger:
    """Read a Trigger. Raises ManifestError."""
    name, spec = manifest["metadata"]["name"], manifest["spec"]
    try:
        return Trigger(
            name,
            _filter(spec),
            _destination(spec["subscriber"], addresses),
            _delivery(spec.get("delivery") or {}, addresses),
        )
    except (KeyError, ValueError, TypeError) as e:
        raise ManifestError(f"Trigger {name}: {e} is not supported on a laptop") from None


def duration(text: str) -> float:
    """Seconds of an ISO 8601 duration such as `PT0.5S`. Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if not found or text == "PT":
        raise ValueError(text)
    hours, minutes, seconds = (float(found[unit] or 0) for unit in ("hours", "minutes", "seconds"))
    return 3600 * hours + 60 * minutes + seconds


def retryable(status: int) -> bool:
    """Whether Knative tries again after this answer; other answers of 4xx are final."""
    return status >= 500 or status in (404, 408, 409, 429)


def _filter(spec: Mapping[str, Any]) -> Filter:
    if spec.get("filters"):  # takes precedence, as in Knative
        return _all([_dialect(item) for item in spec["filters"]])
    wanted = (spec.get("filter") or {}).get("attributes") or {}
    # The older kind of filter: an empty value asks only that the attribute be there.
    return lambda event: all(name in event and value in ("", event[name]) for name, value in wanted.items())


def _dialect(item: Mapping[str, Any]) -> Filter:
    (dialect, value), *others = item.items()
    if others:
        raise ValueError(f"a filter with {len(item)} dialects")
    match dialect:
        case "exact":
            return lambda event: all(event.get(name) == text for name, text in value.items())
        case "prefix":
            return lambda event: all(event.get(name, "").startswith(text) for name, text in value.items())
        case "suffix":
            return lambda event: all(event.get(name, "").endswith(text) for name, text in value.items())
        case "all":
            return _all([_dialect(each) for each in value])
        case "any":
            several = [_dialect(each) for each in value]
            return lambda event: any(passes(event) for passes in several)
        case "not":
            one = _dialect(value)
            return lambda event: not one(event)
        case _:
            raise ValueError(f"the filter dialect {dialect}")


def _all(filters: list[Filter]) -> Filter:
    return lambda event: all(passes(event) for passes in filters)


def _destination(destination: Mapping[str, Any], addresses: Addresses) -> str:
    reference = destination.get("ref")
    if not reference:
        return str(destination["uri"])
    return addresses[reference["name"]] + str(destination.get("uri", "/"))


def _delivery(spec: Mapping[str, Any], addresses: Addresses) -> Delivery:
    sink = spec.get("deadLetterSink")
    return Delivery(
        retries=int(spec.get("retry", 0)),
        delay=duration(spec.get("backoffDelay", "PT0.2S")),
        exponential=spec.get("backoffPolicy", "exponential") == "exponential",
        dead_letters=_destination(sink, addresses) if sink else None,
    )
