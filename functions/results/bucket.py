"""Opens a bucket of S3, Google Cloud Storage or Azure through obstore, for results and for data sets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from functions.variables import SettingsError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az")
# The provider's own names of the variables; obstore knows them in lower case.
_CREDENTIALS = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_APPLICATION_CREDENTIALS"),
    "az": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_KEY"),
}
# An anonymous request needs these as well.
_LOCATION = {
    "s3": ("AWS_REGION", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST"),
    "gs": (),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_USE_EMULATOR"),
}
_WRITING = {
    "s3": (
        "AWS_SERVER_SIDE_ENCRYPTION",
        "AWS_SSE_KMS_KEY_ID",
        "AWS_DISABLE_BULK_DELETE",  # for stores without DeleteObjects
        "AWS_CHECKSUM_ALGORITHM",
    ),
    "gs": (),
    "az": (),
}
_ENDPOINT = {"s3": "AWS_ENDPOINT_URL", "gs": "GOOGLE_BASE_URL", "az": "AZURE_STORAGE_ENDPOINT"}


class Connection(Struct, frozen=True):
    """Timeouts in seconds, and obstore's own retries of one request."""

    connect: float = 10
    stall: float = 60  # without a byte
    request: float = 86_400  # one request as a whole: a slow client may read a large file for hours
    retries: int = 3
    retry_seconds: float = 30


USUAL = Connection()


def open_bucket(
    url: str,
    variables: Mapping[str, str],
    *,
    anonymous: bool = False,
    endpoint: str | None = None,
    connection: Connection = USUAL,
) -> ObjectStore:
    """Open `s3://bucket/prefix`, `gs://…` or `az://container/…`.

    `variables` holds the credentials, which an `anonymous` store does not use. `endpoint` is the URL of a storage
    other than the provider's own; None takes it from `variables`. Raises SettingsError, which names variables
    but never their values.
    """
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    scheme = url.partition("://")[0]
    config = _config(scheme, variables, anonymous, endpoint)
    client: Any = {
        "connect_timeout": timedelta(seconds=connection.connect),
        "read_timeout": timedelta(seconds=connection.stall),
        "timeout": timedelta(seconds=connection.request),
        "allow_http": config.get(_ENDPOINT[scheme].lower(), "").startswith("http://"),
    }
    retry: Any = {
        "max_retries": connection.retries,
        "retry_timeout": timedelta(seconds=connection.retry_seconds),
    }
    try:
        return from_url(url, config=config, client_options=client, retry_config=retry)
    except (BaseError, ValueError):
        # obstore's own text may quote a credential.
        wanted = " or ".join(_LOCATION[scheme][:1] + _CREDENTIALS[scheme])
        raise SettingsError(f"the {scheme}: storage cannot be opened; missing or wrong: {wanted}") from None


def _config(scheme: str, variables: Mapping[str, str], anonymous: bool, endpoint: str | None) -> Any:
    """Return obstore's configuration of a bucket: credentials, location and endpoint."""
    names = _LOCATION[scheme] + (() if anonymous else _CREDENTIALS[scheme] + _WRITING[scheme])
    config: Any = {name.lower(): variables[name] for name in names if variables.get(name)}
    if endpoint is None:
        endpoint = variables.get(_ENDPOINT[scheme], "")
    if endpoint:
        config[_ENDPOINT[scheme].lower()] = endpoint
    if anonymous:
        config["skip_signature"] = True
    return config
