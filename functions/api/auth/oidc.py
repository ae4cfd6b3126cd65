"""Verifies JWTs of one OpenID Connect issuer. Imported when the first JWT comes.

The issuer's keys come from a file, or from the address that its discovery document names. They are kept for ten
minutes. A token with an unknown key makes them be read again, at most once in a minute. After a failure the issuer is
left alone for ten seconds: each try takes up to 16, and all other tokens wait for it.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import jwt
from msgspec import Struct

from functions.errors import Unavailable
from functions.settings import Settings
from functions.untrusted import Malformed, parse_json
from functions.variables import SettingsError

logger = logging.getLogger(__name__)

# Signatures with a public key only. With HS256, whoever knows the issuer's public keys could sign.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
OWNER_PREFIX = "oidc:"  # keeps the issuer's owners apart from those of the tokens file
_LEEWAY = 30  # seconds between the issuer's clock and ours
_KEPT, _AGAIN = 600.0, 60.0  # seconds
_AFTER_FAILURE = 10.0  # seconds
_MAX_ANSWER = 1 << 20  # bytes
_MAX_SUBJECT = 200  # characters; the owner's column holds 255
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Claims(Struct, frozen=True):
    """What a valid JWT says. `environments`: None means all."""

    owner: str
    environments: frozenset[str] | None
    admin: bool
    until: int  # since 1970


class _Keys:
    """The issuer's public keys."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._source = ""
        self._read_at = 0.0
        self._set: Any = None
        self._failed_source = ""
        self._failed_at = 0.0

    def find(self, key_id: str | None, settings: Settings) -> Any:
        """Return the key with this id, or the only key if the token names none; None if there is no such key."""
        source = settings.oidc_jwks_file or settings.oidc_issuer
        with self._lock:
            age = time.monotonic() - self._read_at
            if (
                self._set is None
                or self._source != source
                or age > _KEPT
                or (age > _AGAIN and self._match(key_id) is None)
            ):
                self._load(settings, source)
            return self._match(key_id)

    def _load(self, settings: Settings, source: str) -> None:
        if self._failed_source == source and time.monotonic() - self._failed_at < _AFTER_FAILURE:
            raise Unavailable("the issuer of tokens did not give its keys a moment ago", _AFTER_FAILURE)
        try:
            self._set = _from_file(settings.oidc_jwks_file) if settings.oidc_jwks_file else _discovered(source)
        except Unavailable:
            self._failed_source, self._failed_at = source, time.monotonic()
            raise
        self._source, self._read_at = source, time.monotonic()

    def _match(self, key_id: str | None) -> Any:
        keys = self._set.keys
        if key_id is None:
            return keys[0] if len(keys) == 1 else None
        return next((key for key in keys if key.key_id == key_id), None)


_KEYS = _Keys()


def verify(token: str, settings: Settings) -> Claims | None:
    """Return what a JWT says; None if it is not valid. Raises SettingsError, and Unavailable if no key can be had."""
    if not settings.oidc_audience:
        raise SettingsError("OIDC_AUDIENCE is not set; it is needed with OIDC_ISSUER")
    try:
        header = jwt.get_unverified_header(token)
        key = _KEYS.find(header.get("kid"), settings) if header.get("alg") in ALGORITHMS else None
        if key is None:
            return None
        claims = jwt.decode(
            token,
            key,
            algorithms=ALGORITHMS,
            audience=settings.oidc_audience,
            issuer=settings.oidc_issuer,
            leeway=_LEEWAY,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
    except jwt.PyJWTError as e:
        logger.info("a JWT is refused: %s", type(e).__name__)
        return None
    return _claims(claims, settings)


def _claims(claims: dict[str, Any], settings: Settings) -> Claims | None:
    subject = claims["sub"]
    if not isinstance(subject, str) or not (0 < len(subject) <= _MAX_SUBJECT and subject.isprintable()):
        return None
    groups = _groups(claims.get(settings.oidc_groups_claim))
    admin = bool(settings.oidc_admin_group) and settings.oidc_admin_group in groups
    return Claims(OWNER_PREFIX + subject, _environments(groups, settings), admin, int(claims["exp"]))


def _groups(value: Any) -> frozenset[str]:
    """Read the groups: a list of texts, or one text with spaces between them."""
    items = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return frozenset(item for item in items if isinstance(item, str))


def _environments(groups: frozenset[str], settings: Settings) -> frozenset[str] | None:
    if not settings.oidc_groups:
        return None
    pairs = [entry.rpartition("=") for entry in settings.oidc_groups]
    if not all(group and environment for group, _, environment in pairs):
        raise SettingsError('OIDC_GROUPS must be a JSON array of `group=environment`, such as ["lab=ocean-compute"]')
    return frozenset(environment for group, _, environment in pairs if group in groups)


# --- keys -----------------------------------------------------------------------------------


def _from_file(file: str) -> Any:
    try:
        text = Path(file).read_text()
    except (OSError, UnicodeDecodeError):
        raise SettingsError("OIDC_JWKS_FILE names a file that cannot be read as text") from None
    try:
        return _key_set(text)
    except Malformed:
        raise SettingsError('OIDC_JWKS_FILE must be a JSON Web Key Set: {"keys": […]}') from None


def _discovered(issuer: str) -> Any:
    """Fetch the keys from the address that the issuer's discovery document names."""
    address = issuer.rstrip("/") + "/.well-known/openid-configuration"
    try:
        document = parse_json(_fetch(address))
        if not isinstance(document, dict) or document.get("issuer") != issuer:
            raise Malformed("the discovery document is another issuer's")
        return _key_set(_fetch(str(document.get("jwks_uri"))))
    except Malformed as e:
        logger.warning("the keys of OIDC_ISSUER cannot be read: %s", e)
        raise Unavailable("the issuer of tokens does not give its keys") from None


def _key_set(text: bytes | str) -> Any:
    try:
        return jwt.PyJWKSet.from_dict(parse_json(text, dict[str, Any]))
    except (jwt.PyJWTError, AttributeError, TypeError):
        raise Malformed("it is not a JSON Web Key Set with a usable key") from None


def _fetch(address: str) -> bytes:
    """Return the body. Raises Malformed, or Unavailable if the issuer does not answer."""
    import urllib3

    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise Malformed("the issuer's addresses must begin with https://")
    timeout = urllib3.Timeout(connect=3, read=5)
    try:
        with urllib3.PoolManager(timeout=timeout, retries=False) as http:
            answer = http.request("GET", address, redirect=False, preload_content=False)
            body = answer.read(_MAX_ANSWER + 1)
    except urllib3.exceptions.HTTPError as e:
        logger.warning("the issuer of tokens does not answer: %s", type(e).__name__)
        raise Unavailable("the issuer of tokens does not answer") from None
    if answer.status != 200 or len(body) > _MAX_ANSWER:
        raise Malformed(f"it answered {answer.status}")
    return bytes(body)
