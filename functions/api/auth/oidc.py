"""Verifies JWTs of one OpenID Connect issuer. Imported when the first JWT comes.

The issuer's keys come from a file, or from the address that its discovery document names. They are kept for ten
minutes, and for an hour more if the issuer does not answer then. An unknown key in a token reloads them, at most once a
minute. One thread reloads them, within a bounded time, while the others use the known keys. After a failure the issuer
is not asked for ten seconds.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import jwt
from msgspec import Struct

from functions.api.watchdog import WATCHDOG
from functions.errors import Unavailable
from functions.settings import Settings
from functions.untrusted import Malformed, parse_json
from functions.variables import SettingsError

logger = logging.getLogger(__name__)

# Signatures with a public key only. With HS256, whoever knows the issuer's public keys could sign.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
OWNER_PREFIX = "oidc:"  # keeps the issuer's owners apart from those of the tokens file
_LEEWAY = 30  # seconds between the issuer's clock and ours
_MAX_AGE = 600.0  # seconds until keys are reloaded
_STALE_IF_ERROR = 3600.0  # seconds after _MAX_AGE during which keys count if they cannot be reloaded
_MIN_INTERVAL = 60.0  # seconds between two reloads because of unknown keys
_AFTER_FAILURE = 10.0  # seconds without a request after a failed one
_CONNECT = 3.0  # seconds to connect to one address of the issuer, and again for the TLS handshake
_ANSWERS = 8.0  # seconds for the answers of the two requests together, however slowly their bytes come
_WAIT = _ANSWERS + 4 * _CONNECT  # seconds to wait for the first keys, which another thread fetches
_MAX_ANSWER = 1 << 20  # bytes
_MAX_SUBJECT = 200  # characters; the owner's column holds 255
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Claims(Struct, frozen=True):
    """What a valid JWT says. `environments`: None means all."""

    owner: str
    environments: frozenset[str] | None
    admin: bool
    until: int  # since 1970


class _KeySet(Struct, frozen=True):
    """Public keys that were read from `source` at a time of the monotonic clock."""

    source: str
    keys: tuple[Any, ...]
    read_at: float

    def match(self, key_id: str | None) -> Any:
        """Return the key with this id, or the only key without one; None if there is no such key."""
        if key_id is None:
            return self.keys[0] if len(self.keys) == 1 else None
        return next((key for key in self.keys if key.key_id == key_id), None)

    def serves(self, key: Any) -> bool:
        """Whether `match` may answer with this key, or with None, without asking the issuer again."""
        return time.monotonic() - self.read_at <= (_MIN_INTERVAL if key is None else _MAX_AGE)


class _Keys:
    """The issuer's public keys. The thread that loads them has the lock; others wait only if they have no keys."""

    def __init__(self) -> None:
        self._loading = Lock()
        self._known: _KeySet | None = None
        self._failed_source = ""
        self._failed_at = 0.0

    def find(self, key_id: str | None, settings: Settings) -> Any:
        """Return the key with this id, or the only key if the token names none; None if there is no such key.

        Raises SettingsError, and Unavailable if the key is unknown and no newer keys can be had now.
        """
        known = self._usable(settings.oidc_jwks_file or settings.oidc_issuer)
        key = known.match(key_id) if known else None
        if known and known.serves(key):
            return key
        try:
            return self._reload(settings, known).match(key_id)
        except Unavailable:
            if key is None:
                raise
            return key  # an old key, which still counts

    def _usable(self, source: str) -> _KeySet | None:
        known = self._known
        if known is None or known.source != source or time.monotonic() - known.read_at > _MAX_AGE + _STALE_IF_ERROR:
            return None
        return known

    def _reload(self, settings: Settings, known: _KeySet | None) -> _KeySet:
        """Return newer keys than `known`. Waits for another thread that loads them only if none are known."""
        if not self._loading.acquire(timeout=0 if known else _WAIT):
            raise Unavailable("the keys of the issuer of tokens are being fetched", 1)
        try:
            source = settings.oidc_jwks_file or settings.oidc_issuer
            found = self._usable(source)
            if found is None or found is known:
                found = self._known = _KeySet(source, self._load(settings, source), time.monotonic())
            return found
        finally:
            self._loading.release()

    def _load(self, settings: Settings, source: str) -> tuple[Any, ...]:
        if self._failed_source == source and time.monotonic() - self._failed_at < _AFTER_FAILURE:
            raise Unavailable("the issuer of tokens did not give its keys a moment ago", _AFTER_FAILURE)
        try:
            found = _from_file(settings.oidc_jwks_file) if settings.oidc_jwks_file else _discovered(source)
        except Unavailable:
            self._failed_source, self._failed_at = source, time.monotonic()
            raise
        return tuple(found.keys)


_KEYS = _Keys()


def check(settings: Settings) -> None:
    """Raise SettingsError if an OIDC_ setting is wrong. The issuer itself is not asked."""
    _audience(settings)
    _pairs(settings)
    if settings.oidc_jwks_file:
        _from_file(settings.oidc_jwks_file)
    elif not _may_fetch(settings.oidc_issuer):
        raise SettingsError("OIDC_ISSUER must be a URL that begins with https://")


def _audience(settings: Settings) -> str:
    if not settings.oidc_audience:
        raise SettingsError("OIDC_AUDIENCE is not set; it is needed with OIDC_ISSUER")
    return settings.oidc_audience


def verify(token: str, settings: Settings) -> Claims | None:
    """Return what a JWT says; None if it is not valid. Raises SettingsError, and Unavailable if no key can be had."""
    expected = _audience(settings)
    try:
        key = _KEYS.find(jwt.get_unverified_header(token).get("kid"), settings)
        if key is None:
            return None
        claims = jwt.decode(
            token,
            key,
            algorithms=ALGORITHMS,
            audience=expected,
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
    return frozenset(environment for group, environment in _pairs(settings) if group in groups)


def _pairs(settings: Settings) -> list[tuple[str, str]]:
    """Return the groups and environments of OIDC_GROUPS. Raises SettingsError."""
    pairs = [(group, environment) for group, _, environment in (e.rpartition("=") for e in settings.oidc_groups)]
    if not all(group and environment for group, environment in pairs):
        raise SettingsError('OIDC_GROUPS must be a JSON array of `group=environment`, such as ["lab=ocean-compute"]')
    return pairs


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
    ends = time.monotonic() + _ANSWERS
    address = issuer.rstrip("/") + "/.well-known/openid-configuration"
    try:
        document = parse_json(_fetch(address, ends))
        if not isinstance(document, dict) or document.get("issuer") != issuer:
            raise Malformed("the discovery document is another issuer's")
        return _key_set(_fetch(str(document.get("jwks_uri")), ends))
    except Malformed as e:
        logger.warning("the keys of OIDC_ISSUER cannot be read: %s", e)
        raise Unavailable("the issuer of tokens does not give its keys") from None


def _key_set(text: bytes | str) -> Any:
    try:
        return jwt.PyJWKSet.from_dict(parse_json(text, dict[str, Any]))
    except (jwt.PyJWTError, AttributeError, TypeError):
        raise Malformed("it is not a JSON Web Key Set with a usable key") from None


def _may_fetch(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    )


def _fetch(address: str, ends: float) -> bytes:
    """Return the body. Raises Malformed, and Unavailable if it has not come at `ends`, by the monotonic clock."""
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    if not _may_fetch(address):
        raise Malformed("the issuer's addresses must begin with https://")
    try:
        parts = urlsplit(address)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        # With no port, http.client takes the end of an IPv6 address for one.
        port = parts.port or kind.default_port
        with closing(kind(str(parts.hostname), port, timeout=_CONNECT)) as connection:
            connection.connect()
            with WATCHDOG.receiving(connection.sock, ends - time.monotonic()) as deadline:
                connection.sock.settimeout(_ANSWERS)
                target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
                connection.request("GET", target, headers={"User-Agent": "sluice"})  # some firewalls ask for one
                answer = connection.getresponse()
                body = answer.read(_MAX_ANSWER + 1)
        if deadline.expired:
            raise TimeoutError
    except (OSError, HTTPException) as e:
        logger.warning("the issuer of tokens does not answer: %s", type(e).__name__)
        raise Unavailable("the issuer of tokens does not answer") from None
    except ValueError:
        raise Malformed("an address of the issuer is not a URL") from None
    if answer.status != 200 or len(body) > _MAX_ANSWER:
        raise Malformed(f"it answered {answer.status}")
    return body
