"""Credentials of a stage program: files of a mounted Secret, named like the variables they replace."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_NAMES = (
    "OPERATOR_PRIVATE_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_KEY",
)


def credentials_of(environ: Mapping[str, str]) -> dict[str, str]:
    """What SLUICE_CREDENTIALS (a folder) and, after it, the environment hold of the names known here."""
    found = {name: environ[name] for name in _NAMES if environ.get(name)}
    folder = environ.get("SLUICE_CREDENTIALS")
    for name in _NAMES if folder else ():
        try:
            found[name] = (Path(folder or "") / name).read_text().strip()
        except OSError:
            continue  # not every Secret has every name
    return found
