"""Opens the storage that a URL names. docs/results.md lists the URLs and the variables of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from functions.results.files import FileStorage
from functions.results.http_files import HttpFiles
from functions.results.ports import Storage
from functions.results.split_storage import SplitStorage
from functions.variables import NAMED_OBJECTS, SettingsError, storage_scheme, with_credentials

if TYPE_CHECKING:
    from functions.settings import Settings

_QUARANTINE, _CHECKPOINT = "QUARANTINE_", "CHECKPOINT_"


def open_storage(settings: Settings) -> Storage:
    """Open the storage of the functions. Raises SettingsError."""
    return open_url(storage_url(settings), _variables(settings))


def open_quarantine(settings: Settings) -> Storage:
    """Open the place where held results wait. Raises SettingsError."""
    return open_url(quarantine_url(settings), quarantine_variables(_variables(settings)), "QUARANTINE_URL")


def open_checkpoints(settings: Settings) -> Storage:
    """Open the place where checkpoints are kept. Raises SettingsError."""
    storage_scheme("CHECKPOINT_URL", settings.checkpoint_url, NAMED_OBJECTS)
    # A bucket with S3 Object Lock takes no object without a checksum.
    own = {"AWS_CHECKSUM_ALGORITHM": "SHA256", **_own_variables(_variables(settings), _CHECKPOINT)}
    return open_url(settings.checkpoint_url, own, "CHECKPOINT_URL")


def quarantine_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the quarantine: `QUARANTINE_AWS_ACCESS_KEY_ID` counts instead of the results' one."""
    return _own_variables(variables, _QUARANTINE)


def _own_variables(variables: Mapping[str, str], prefix: str) -> dict[str, str]:
    own = {name.removeprefix(prefix): value for name, value in variables.items() if name.startswith(prefix)}
    return {**variables, **own}


def quarantine_url(settings: Settings) -> str:
    """Return the URL of the quarantine. Raises SettingsError: it must be set, and apart from the results."""
    url, results = settings.quarantine_url.rstrip("/"), storage_url(settings).rstrip("/")
    if not url:
        raise SettingsError("QUARANTINE_URL is not set; a policy holds results, and they need a place to wait")
    if f"{url}/".startswith(f"{results}/") or f"{results}/".startswith(f"{url}/"):
        raise SettingsError("QUARANTINE_URL must be apart from RESULTS_URL, neither below the other")
    return url


def storage_url(settings: Settings) -> str:
    """Return the URL of the storage, which the publish stage gets too. Raises SettingsError."""
    return settings.results_url or results_url("", _variables(settings))


def _variables(settings: Settings) -> dict[str, str]:
    """Return the variables of the environment and of the mounted Secret; a storage may need either."""
    keys = {"X-API-KEY": settings.x_api_key, "CLIENT-ID": settings.client_id}  # may come from X-API-KEY_FILE
    return {**with_credentials(settings.credentials_dir, settings.legacy), **{k: v for k, v in keys.items() if v}}


def results_url(url: str, variables: Mapping[str, str]) -> str:
    """Return `url`, or derive it from operator-engine's variables: IPFS_OUTPUT first, then AWS_BUCKET_OUTPUT."""
    if url:
        return url
    if variables.get("IPFS_OUTPUT"):
        return "ipfs://"
    if variables.get("AWS_BUCKET_OUTPUT"):
        return f"s3://{variables['AWS_BUCKET_OUTPUT']}"
    raise SettingsError("RESULTS_URL is not set; for example s3://bucket/prefix or file:///var/lib/sluice/results")


def open_url(url: str, variables: Mapping[str, str], variable: str = "RESULTS_URL") -> Storage:
    """Open the storage at `url` with the credentials in `variables`. Raises SettingsError.

    `variable`: the one that the URL comes from.
    """
    results = _open(url, variables, variable, api="IPFS_OUTPUT")
    admin_logs = results
    if url.startswith("s3:") and variables.get("AWS_BUCKET_ADMINLOGS"):
        admin_logs = _open(f"s3://{variables['AWS_BUCKET_ADMINLOGS']}", variables, "AWS_BUCKET_ADMINLOGS")
    elif url.startswith("ipfs:") and variables.get("IPFS_ADMINLOGS"):
        admin_logs = _open("ipfs://", variables, variable, api="IPFS_ADMINLOGS")
    return SplitStorage(results, admin_logs, HttpFiles(_api_keys(variables), _hosts(variables)))


def _open(url: str, variables: Mapping[str, str], variable: str, api: str = "") -> Storage:
    match storage_scheme(variable, url, (*NAMED_OBJECTS, "ipfs")):
        case "file":
            return FileStorage(Path(unquote(urlsplit(url).path)))
        case "ipfs":
            return _open_ipfs(urlsplit(url).netloc, variables, api)
        case _:
            from functions.results.bucket import open_bucket
            from functions.results.object_store import ObjectStorage

            return ObjectStorage(open_bucket(url, variables), url)


def _open_ipfs(host: str, variables: Mapping[str, str], api: str) -> Storage:
    from functions.results.ipfs import IpfsStorage

    address = variables.get(api) or (f"http://{host}" if host else "")
    if not address.startswith(("http://", "https://")):
        raise SettingsError(f"{api} must be the address of an IPFS API, such as http://127.0.0.1:5001")
    seconds = variables.get("IPFS_EXPIRY_TIME") or "0"
    if not seconds.isdecimal():
        raise SettingsError("IPFS_EXPIRY_TIME must be a whole number of seconds")
    # Minutes, rounded up, as operator-engine. With a unit, which operator-engine forgets and ipfs-cluster needs.
    expire_in = f"{-(-int(seconds) // 60)}m" if int(seconds) else ""
    return IpfsStorage(address, variables.get(f"{api}_PREFIX") or "ipfs://", _api_keys(variables), expire_in)


def _api_keys(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the API key headers. operator-service and operator-engine have different variables for them."""
    names = {"X-API-KEY": ("X-API-KEY", "IPFS_API_KEY"), "CLIENT-ID": ("CLIENT-ID", "IPFS_API_CLIENT")}
    found = {header: next(filter(None, map(variables.get, given)), "") for header, given in names.items()}
    return {header: value for header, value in found.items() if value}


def _hosts(variables: Mapping[str, str]) -> frozenset[str]:
    """Return the hosts that may receive the API keys."""
    names = ("IPFS_OUTPUT", "IPFS_OUTPUT_PREFIX", "IPFS_ADMINLOGS", "IPFS_ADMINLOGS_PREFIX", "AWS_ENDPOINT_URL")
    return frozenset(filter(None, (urlsplit(variables.get(name, "")).netloc for name in names)))
