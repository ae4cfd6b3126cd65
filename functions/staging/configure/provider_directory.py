"""Decides which Provider serves an asset, and so gets the operator's signature."""

from __future__ import annotations

from collections.abc import Iterable

from functions.log import scrub
from functions.staging.configure.metadata import MetadataService, endpoint_of
from functions.staging.report import StageFailure
from functions.untrusted import HttpUrl, Malformed, parse_url
from functions.workflow.document import Remote


class ProviderDirectory:
    """The Providers that the operator chose: those in `allowed`, and those in the DDOs of a trusted metadata service.

    A workflow document may only select one of them. Otherwise it could send the operator's signature to any server,
    which could use it to download data sets that others have paid for.
    """

    def __init__(self, allowed: Iterable[str], metadata: MetadataService) -> None:
        self._allowed = {_key(url): url for url in allowed}
        self._metadata = metadata

    def endpoint(self, did: str, remote: Remote, ddo: bytes | None) -> tuple[str, bytes | None]:
        """Return the Provider's URL, and the DDO if it is known. Raises StageFailure."""
        named = remote.serviceEndpoint or ""
        if named and (allowed := self._find(named)):
            return allowed, ddo
        if self._metadata.trusted or not named:
            ddo = ddo or self._metadata.get(did)
            named = endpoint_of(ddo, did, remote.serviceId)
            if allowed := named if self._metadata.trusted else self._find(named):
                return allowed, ddo
        raise StageFailure(
            "DataForbidden",
            f"the Provider {scrub(named)} is unknown to the operator, so no request to it is signed; "
            "ask the operator to add it to fetch.providers of the environment, or to set fetch.metadataUri",
        )

    def _find(self, url: str) -> str | None:
        """Return the operator's spelling of `url`, or None if it is not allowed."""
        try:
            return self._allowed.get(_key(url))
        except Malformed:
            return None


def _key(url: str) -> HttpUrl:
    """Return the URL without the differences in spelling that do not matter."""
    parsed = parse_url(url)
    return HttpUrl(parsed.scheme, parsed.host, parsed.port, parsed.path.rstrip("/"))
