"""Ethereum signatures as Ocean's programs make them: personal sign over the keccak-256 hash of a text.

A signature is `0x` and 65 bytes r‖s‖v in hex. Native libraries are imported on first use.
"""

from __future__ import annotations

import re
from typing import Any

# Half the order of secp256k1. Each signature has a second valid form with another s; only the lower s is accepted.
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_PREFIX = b"\x19Ethereum Signed Message:\n"
_ID = re.compile(r"(?:0[xX])?([0-9a-fA-F]{64}|[0-9a-fA-F]{40})")
_RECOVERY = {0: 0, 1: 1, 27: 0, 28: 1}


def keccak(data: bytes) -> bytes:
    """Keccak-256. It differs from SHA3-256 in hashlib."""
    from Crypto.Hash import keccak as hashing

    return hashing.new(digest_bits=256, data=data).digest()


def personal_hash(message: bytes) -> bytes:
    """The digest that is signed for `message`: the hash of Ethereum's prefix and the hash of `message`."""
    return keccak(_PREFIX + b"32" + keccak(message))


def sign(private_key: str, message: str) -> str:
    """Sign a text with a private key in hex. v is 0 or 1. Raises ValueError if the key is malformed."""
    return _sign(private_key, personal_hash(message.encode()))


def sign_text(private_key: str, text: str) -> str:
    """Sign as `sign` does, but as wallets do it (EIP-191): over the text itself instead of its hash."""
    return _sign(private_key, text_hash(text))


def text_hash(text: str) -> bytes:
    """The hash that a wallet signs for a text (EIP-191)."""
    raw = text.encode()
    return keccak(_PREFIX + str(len(raw)).encode() + raw)


def recover(message: str, signature: str) -> str:
    """The address that signed `message`, in lower case with `0x`.

    Raises ValueError if the signature is malformed or its s is the higher of the two.
    """
    return _recover(personal_hash(message.encode()), signature)


def recover_text(text: str, signature: str) -> str:
    """The address whose wallet signed `text` (EIP-191). Otherwise as `recover`."""
    return _recover(text_hash(text), signature)


def _recover(digest: bytes, signature: str) -> str:
    from coincurve import PublicKey

    raw = _unhex(signature, 65, "a signature")
    if raw[64] not in _RECOVERY:
        raise ValueError("the last byte of a signature, v, must be 0, 1, 27 or 28")
    if int.from_bytes(raw[32:64]) > _HALF_ORDER:
        raise ValueError("the signature must use the lower of its two possible values of s")
    compact = raw[:64] + bytes([_RECOVERY[raw[64]]])
    try:
        key = PublicKey.from_signature_and_message(compact, digest, hasher=None)
    except Exception:  # coincurve raises a bare Exception if there is no such point
        raise ValueError("the signature is not valid: no key can have made it") from None
    return "0x" + _address_bytes(key.format(compressed=False)).hex()


def address(private_key: str) -> str:
    """The address of a private key, in checksum case (EIP-55). Raises ValueError if the key is malformed."""
    plain = _address_bytes(_key(private_key).public_key.format(compressed=False)).hex()
    digits = keccak(plain.encode()).hex()
    return "0x" + "".join(c.upper() if int(digit, 16) >= 8 else c for c, digit in zip(plain, digits, strict=False))


def comparable(text: str) -> str:
    """The form in which transaction ids and addresses are compared: hex digits in lower case, without `0x`.

    Text that is neither 32 nor 20 bytes in hex is returned as it is. The database computes the same form for the
    columns `agreement_key` and `owner_key` (functions/store/migrations/).
    """
    found = _ID.fullmatch(text)
    return found[1].lower() if found else text


def _sign(private_key: str, digest: bytes) -> str:
    return f"0x{_key(private_key).sign_recoverable(digest, hasher=None).hex()}"


def _key(private_key: str) -> Any:  # coincurve has no types
    from coincurve import PrivateKey

    try:
        return PrivateKey(_unhex(private_key, 32, "a private key"))
    except ValueError:
        # The library's message may repeat the key.
        raise ValueError("a private key must be 64 hexadecimal digits, and below the order of secp256k1") from None


def _address_bytes(uncompressed: bytes) -> bytes:
    return keccak(uncompressed[1:])[-20:]


def _unhex(text: str, length: int, what: str) -> bytes:
    digits = text.removeprefix("0x").removeprefix("0X")
    try:
        if len(digits) != 2 * length or not digits.isalnum():
            raise ValueError
        return bytes.fromhex(digits)
    except ValueError:
        raise ValueError(f"{what} must be {2 * length} hexadecimal digits") from None
