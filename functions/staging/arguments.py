"""Parses the command line of a stage program. argparse would double the time that these programs take to start."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def parse_arguments(program: str, names: Sequence[str], given: Sequence[str] | None = None) -> dict[str, str]:
    """Return the values of `--name value` pairs, all of which are required. Exits with 2 and the usage otherwise."""
    words = list(sys.argv[1:] if given is None else given)
    values = dict(zip(words[::2], words[1::2], strict=False))
    if len(words) != 2 * len(names) or set(values) != {f"--{name}" for name in names}:
        usage = " ".join(f"--{name} {name.upper()}" for name in names)
        sys.stderr.write(f"usage: python -m functions.staging.{program} {usage}\n")
        raise SystemExit(2)
    return {name: values[f"--{name}"] for name in names}
