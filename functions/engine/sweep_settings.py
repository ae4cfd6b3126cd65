"""Settings of proofs and notifications that only a sweep uses. They are checked when a process starts.

Nothing is imported for a setting that is not set: these checks are part of each cold start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions.variables import NAMED_OBJECTS, SettingsError, is_http, storage_scheme

if TYPE_CHECKING:
    from functions.settings import Settings
    from functions.trust.checkpoint import Witness
    from functions.trust.signing import SigningKey

_PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64  # bytes of a secret


def check(settings: Settings) -> None:
    """Raise SettingsError if CHECKPOINT_URL, WITNESSES or NOTIFY_HOLD_SECRET is wrong."""
    if settings.checkpoint_url:
        storage_scheme("CHECKPOINT_URL", settings.checkpoint_url, NAMED_OBJECTS)
    for witness in settings.witnesses:
        parse_witness(witness)
    webhook_keys(settings.notify_hold_secret)


def check_signer(settings: Settings) -> None:
    """Raise SettingsError if a setting has no effect because SIGNING_KEY is not set.

    Not part of `check`: a function that signs nothing has the other settings, but not the key.
    """
    for variable, value in (
        ("CHECKPOINT_URL", settings.checkpoint_url),
        ("WITNESSES", settings.witnesses),
        ("EARLIER_SIGNING_KEY", settings.earlier_signing_key),
    ):
        if value and not settings.signing_key:
            raise SettingsError(
                f"{variable} has no effect without SIGNING_KEY, which signs the checkpoints; set SIGNING_KEY to the "
                f"output of `openssl genpkey -algorithm ed25519`, or remove {variable}"
            )


def signing_keys(settings: Settings) -> list[SigningKey]:
    """Return SIGNING_KEY and EARLIER_SIGNING_KEY, as far as they are set. Raises SettingsError."""
    found = []
    for variable, pem in (
        ("SIGNING_KEY", settings.signing_key),
        ("EARLIER_SIGNING_KEY", settings.earlier_signing_key),
    ):
        if pem:
            from functions.trust.signing import KeyInvalid, SigningKey

            try:
                _ = (key := SigningKey(pem.encode())).public
            except KeyInvalid:
                raise SettingsError(
                    f"{variable} is not an Ed25519 key in PEM; make one with `openssl genpkey -algorithm ed25519`"
                ) from None
            found.append(key)
    return found


def parse_witness(text: str) -> tuple[str, Witness]:
    """Return the URL and the key of one entry of WITNESSES. Raises SettingsError."""
    from functions.trust.checkpoint import CheckpointInvalid, Witness

    url, _, key = text.strip().partition(" ")
    if not key or not is_http(url):
        raise SettingsError("WITNESSES: expected the URL of a witness, a space, and its key")
    try:
        return url.rstrip("/"), Witness.parse(key)
    except CheckpointInvalid as e:
        raise SettingsError(f"WITNESSES: {e}") from None


def webhook_keys(secrets: str) -> list[bytes]:
    """Return the keys of NOTIFY_HOLD_SECRET: several secrets are separated by white space. Raises SettingsError."""
    return [_webhook_key(secret) for secret in secrets.split()]


def _webhook_key(secret: str) -> bytes:
    from base64 import b64decode

    try:
        key = b64decode(secret.removeprefix(_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(_PREFIX) or not _SHORTEST <= len(key) <= _LONGEST:
        raise SettingsError(
            f"NOTIFY_HOLD_SECRET must be `{_PREFIX}` and {_SHORTEST} to {_LONGEST} bytes in base64, such as the output "
            f'of: echo "{_PREFIX}$(openssl rand -base64 32)"'
        )
    return key
