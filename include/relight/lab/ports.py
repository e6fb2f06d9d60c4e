"""Finding ports that nobody listens on."""

from __future__ import annotations

import random
import socket

from relight.errors import LabError

_FIRST, _LAST = 20000, 32000
"""Below the range that Linux gives to outgoing connections, which could take a port found free."""

_given: set[int] = set()


def free_ports(count: int, *, companion: int = 0) -> list[int]:
    """``count`` ports free on the loopback address; with ``companion`` also free that far above.

    Looked for in random order, so that several processes which look at the same time hardly
    ever find the same. A port is given out once per process.

    :raises LabError: there are not that many.
    """
    candidates = list(range(_FIRST, _LAST - companion))
    random.shuffle(candidates)
    found: list[int] = []
    for port in candidates:
        wanted = {port, port + companion}
        if not wanted & _given and all(is_free(p) for p in wanted):
            _given.update(wanted)
            found.append(port)
            if len(found) == count:
                return found
    raise LabError("no free ports", why=f"only {len(found)} of {count} between {_FIRST} and {_LAST}")


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a server could listen on the port of that address."""
    with socket.socket() as probe:
        # Without this, connections of an earlier server that linger in TIME_WAIT look like a listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True
