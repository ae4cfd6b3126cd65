"""Decides which addresses may be fetched from: public unicast ones."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from functions.staging.report import StageFailure
from functions.staging.retry import TransientError

Lookup = Callable[..., list[tuple[Any, ...]]]  # the signature of socket.getaddrinfo

_UNICAST = IPv6Network("2000::/3")  # the only part of IPv6 that is assigned to the public internet
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
# Older Pythons count these as global: protocol assignments, the 6to4 relay, Azure's platform address.
_NOT_PUBLIC_V4 = [IPv4Network(each) for each in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")]
_DOCUMENTATION = IPv6Network("3fff::/20")  # RFC 9637


def resolve(host: str, port: int, *, private: bool, lookup: Lookup | None = None) -> list[str]:
    """Resolve `host` once. The caller must connect to the returned addresses, not to the name.

    Unless `private` is true, one address that is not public refuses the host. Unusual spellings of an address
    (`0x7f.1`, `2130706433`) need no rule: the resolver reads them and this function checks what it returns.
    Raises StageFailure (DataForbidden), and TransientError if the name does not resolve.
    """
    try:
        found = (lookup or socket.getaddrinfo)(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise TransientError(f"the name {host} does not resolve", absent=True) from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not addresses:
        raise TransientError(f"the name {host} has no address", absent=True)
    if not private and not all(map(is_public, addresses)):
        raise StageFailure("DataForbidden", f"{host} is not a public address; this environment fetches from no other")
    return addresses


def is_public(address: str) -> bool:
    """Whether an address literal is public unicast. Checks the IPv4 address inside IPv6 mappings too."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    return _public_v4(ip) if isinstance(ip, IPv4Address) else _public_v6(ip)


def _public_v4(ip: IPv4Address) -> bool:
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or any(ip in each for each in _NOT_PUBLIC_V4))


def _public_v6(ip: IPv6Address) -> bool:
    if ip.scope_id is not None:
        return False
    if ip.ipv4_mapped is not None:
        return _public_v4(ip.ipv4_mapped)
    if ip in _NAT64:
        return _public_v4(IPv4Address(int(ip) & 0xFFFFFFFF))
    # 6to4 and Teredo tunnel to an IPv4 address that the sender chooses. No data is served that way.
    tunnelled = ip.sixtofour is not None or ip.teredo is not None
    return ip in _UNICAST and ip not in _DOCUMENTATION and ip.is_global and not tunnelled
