"""Kubernetes quantities: `512Mi` of memory, `500m` of a CPU core."""

from __future__ import annotations

import re

# No program runs with less. A limit of 0 would mean "no limit" to Kubernetes.
LEAST_CORES = 0.001
LEAST_MEMORY = 16 << 20  # bytes

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


def parse_quantity(text: str) -> int:
    """The bytes of a quantity such as `512Mi`, `2G` or `1073741824`. Raises ValueError."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)(Ki|Mi|Gi|Ti|k|M|G)?", text.strip())
    if not found or not float(found[1]):
        raise ValueError(f"{text!r} is not a quantity; expected a number with Ki, Mi, Gi, Ti, k, M or G")
    return int(float(found[1]) * _UNITS[found[2] or ""])


def format_quantity(size: int) -> str:
    """Write a number of bytes as a quantity, in the largest binary unit that divides it."""
    for unit in ("Gi", "Mi", "Ki"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)


def parse_cores(value: str | float) -> float:
    """The CPU cores of a quantity such as `2`, `0.5` or `500m`. Raises ValueError."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,9})?)(m)?", str(value).strip())
    if not found or not float(found[1]):
        raise ValueError(f"{value!r} is not a number of cores; expected one such as 2, 0.5 or 500m")
    return float(found[1]) / 1000 if found[2] else float(found[1])


def format_cores(value: float) -> str:
    """Write a number of CPU cores as a quantity (`2`, `500m`), rounded to thousandths and never to 0."""
    return str(int(value)) if value == int(value) else f"{max(round(value * 1000), 1)}m"
