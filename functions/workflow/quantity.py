"""Kubernetes quantities: `512Mi` of memory, `500m` of a core."""

from __future__ import annotations

import re

# Less than this cannot run anything; and a limit of 0 would be none at all to Kubernetes.
LEAST_CORES = 0.001
LEAST_MEMORY = 16 << 20

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


def quantity(text: str) -> int:
    """Bytes of a Kubernetes quantity such as `512Mi`, `2G` or `1073741824`. Raises ValueError."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)(Ki|Mi|Gi|Ti|k|M|G)?", text.strip())
    if not found or not float(found[1]):
        raise ValueError(f"{text!r} is not a quantity; expected a number with Ki, Mi, Gi, Ti, k, M or G")
    return int(float(found[1]) * _UNITS[found[2] or ""])


def cores(value: str | float) -> float:
    """CPU cores of a Kubernetes quantity such as `2`, `0.5` or `500m`. Raises ValueError."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,9})?)(m)?", str(value).strip())
    if not found or not float(found[1]):
        raise ValueError(f"{value!r} is not a number of cores")
    return float(found[1]) / 1000 if found[2] else float(found[1])
