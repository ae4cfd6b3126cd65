"""Opens the storage that a URL names. docs/results.md has the URLs and the variables of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from functions.results.ports import Storage
from functions.settings import SettingsError

if TYPE_CHECKING:
    from functions.settings import Settings


def open_storage(settings: Settings) -> Storage:
    """The storage of the functions. Raises SettingsError."""
    known = variables(settings.credentials_dir, settings.legacy)
    return open_url(results_url(settings.results_url, known), known)


def results_url(url: str, variables: Mapping[str, str]) -> str:
    """RESULTS_URL, or what operator-engine's variables mean: IPFS_OUTPUT first, then AWS_BUCKET_OUTPUT."""
    if url:
        return url
    if variables.get("IPFS_OUTPUT"):
        return "ipfs://"
    if variables.get("AWS_BUCKET_OUTPUT"):
        return f"s3://{variables['AWS_BUCKET_OUTPUT']}"
    raise SettingsError("RESULTS_URL is not set; for example s3://bucket/prefix or file:///var/lib/sluice/results")


def variables(credentials_dir: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment, with the files of the credentials folder laid over it."""
    files = sorted(Path(credentials_dir).iterdir()) if credentials_dir and Path(credentials_dir).is_dir() else []
    # A mounted Secret also holds `..data` and the like.
    found = {f.name: f.read_text().strip() for f in files if f.is_file() and not f.name.startswith(".")}
    return {**environ, **found}


def open_url(url: str, variables: Mapping[str, str]) -> Storage:
    """The storage at `url`; credentials come from `variables`. Raises SettingsError."""
    parts = urlsplit(url)
    match parts.scheme:
        case "file":
            from functions.results.files import FileStorage

            if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
                raise SettingsError("RESULTS_URL: a file: URL names an absolute path, as file:///var/lib/sluice")
            return FileStorage(Path(unquote(parts.path)))
        case _:
            raise SettingsError("RESULTS_URL must begin with file:, s3:, gs:, az: or ipfs:")
