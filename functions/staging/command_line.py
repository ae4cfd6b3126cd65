"""Reads the command line and the credentials of a stage program, without slow imports such as argparse."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from functions.variables import with_credentials


def import_msgspec() -> None:
    """Import msgspec without typing_extensions, which it would import if it is installed.

    That takes 10 to 15 ms of CPU, a tenth of a stage program's start, and `typing` has all that msgspec needs.
    """
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # None: an import raises ImportError
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules["typing_extensions"]


def parse_arguments(program: str, names: Sequence[str], given: Sequence[str] | None = None) -> dict[str, str]:
    """Return the values of `--name value` pairs, all of which are required. Exits with 2 and the usage otherwise."""
    words = list(sys.argv[1:] if given is None else given)
    values = dict(zip(words[::2], words[1::2], strict=False))
    if len(words) != 2 * len(names) or set(values) != {f"--{name}" for name in names}:
        usage = " ".join(f"--{name} {name.upper()}" for name in names)
        sys.stderr.write(f"usage: python -m functions.staging.{program} {usage}\n")
        raise SystemExit(2)
    return {name: values[f"--{name}"] for name in names}


def delivery_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what opens the storages that clients' outputs go to: never what opens the storage of results.

    These are the files of the folder that SLUICE_OUTPUT_CREDENTIALS names. Without it, as on a laptop, they are the
    variables with the prefix `TES_OUTPUT_`, without that prefix. Raises UnicodeError, OSError.
    """
    if folder := environ.get("SLUICE_OUTPUT_CREDENTIALS", ""):
        return credentials_of({"SLUICE_CREDENTIALS": folder})
    own = "TES_OUTPUT_"
    return {name.removeprefix(own): value for name, value in environ.items() if name.startswith(own)}


def credentials_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables, and the files of the folder that SLUICE_CREDENTIALS names. Raises UnicodeError, OSError."""
    folder = environ.get("SLUICE_CREDENTIALS", "")
    return with_credentials(folder, environ) if folder else dict(environ)
