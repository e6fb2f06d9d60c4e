"""Whether a host of the fleet file is the machine that this process runs on."""

from __future__ import annotations

import functools
import ipaddress
import socket

import psutil


@functools.lru_cache(maxsize=256)
def is_this_machine(host: str) -> bool:
    """True when the name or address belongs to one of this machine's interfaces, or is loopback.

    A name that cannot be resolved belongs to no machine that could be reached, so to none of ours.
    """
    try:
        found = {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    if any(ipaddress.ip_address(address).is_loopback for address in found):
        return True
    own = {entry.address.partition("%")[0] for entries in psutil.net_if_addrs().values() for entry in entries}
    return bool(found & own)
