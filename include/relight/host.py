"""Where something is asked for, as a fleet file and the store's records name it: a machine, an address of HTTP."""

from __future__ import annotations

import ipaddress
import socket
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

_NOT_IN_A_NAME = frozenset("/@[],;'\"\\")


def reachable_by_name(value: str) -> str:
    """The value, where it names a machine.

    What a library or the system reads as "the default" names none: PyMySQL connects to ``localhost`` where the host is
    empty, and the kernel to this machine where the address is 0.0.0.0 or ``::`` in any of their spellings.

    :raises ValueError: it does not.
    """
    if not value or any(char in _NOT_IN_A_NAME or char.isspace() or not char.isprintable() for char in value):
        raise ValueError("must be the name or the address of a machine")
    if _unspecified(value):
        raise ValueError("must be an address of one machine, not the one that stands for all or none")
    if ":" in value and not _is_ipv6(value):
        raise ValueError("must be a name or an address alone: the port is a field of its own")
    try:
        value.encode("idna")  # as the resolver does
    except UnicodeError:
        raise ValueError("must be the name or the address of a machine") from None
    return value


def http_address(value: str) -> str:
    """The value, where it is an HTTP address that names a machine, and no port or one that there is.

    :raises ValueError: it is not.
    """
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("must begin with https:// or http:// and a host")
    reachable_by_name(parts.hostname)
    return value


Host = Annotated[str, AfterValidator(reachable_by_name)]
Port = Annotated[int, Field(ge=1, le=65535)]
"""Port 0 is none: PyMySQL and mysqld take MySQL's own instead."""
HttpAddress = Annotated[str, AfterValidator(http_address)]


def _unspecified(value: str) -> bool:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        try:
            return socket.inet_aton(value) == bytes(4)  # 0, 0x0, 0.0, as resolvers take them
        except OSError:
            return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_unspecified


def _is_ipv6(value: str) -> bool:
    try:
        return ipaddress.ip_address(value).version == 6
    except ValueError:
        return False
