"""Addresses for servers: each has one to itself and listens on MySQL's own port there, as a server on a machine of its
own does. So what leaves a port out, or gives 0 for one, ends up on a server here as it would elsewhere.

All are loopback addresses, which Linux has without being told. None is 127.0.0.1: what leaves the host out goes there,
and finds no server of ours.
"""

from __future__ import annotations

import random

from relight.errors import LabError
from relight.lab.ports import is_free

PORT = 3306

_FIRST, _LAST = 16, 250
"""Of the second byte: the lowest addresses are what other programs take, as resolvers do with 127.0.0.53."""
_ATTEMPTS = 50

_given: set[str] = set()


def free_addresses(count: int, *, port: int = PORT) -> list[str]:
    """``count`` addresses where nobody listens on the port.

    Fifteen million are looked at in random order, so that several processes never find the same. An address is given
    out once per process.

    :raises LabError: somebody listens on the port on every address.
    """
    found: list[str] = []
    for _ in range(count + _ATTEMPTS):
        address = ".".join(
            str(random.randint(first, last)) for first, last in ((127, 127), (_FIRST, _LAST), (0, 255), (1, 254))
        )
        if address not in _given and is_free(port, address):
            _given.add(address)
            found.append(address)
            if len(found) == count:
                return found
    raise LabError(
        "no address for a server", on=f"port {port}", why="another program listens on that port on all addresses",
        hint="end it while the lab is up, or let it listen on one address only, as with bind-address=127.0.0.1",
    )  # fmt: skip
