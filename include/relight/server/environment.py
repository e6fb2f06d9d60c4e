"""What a program that Relight starts sees of Relight's own environment, which holds passwords.

A child sees what is named here, and what it is given by name: never all that its parent has. An account of a MySQL
server with the privilege FILE can read ``/proc/self/environ``, so a store's secret that a worker got as
``RELIGHT_STORE_PASSWORD`` or ``AIRFLOW_CONN_RELIGHT_STORE`` would be its. What is not listed is left out, since nobody
can list all names of secrets. It also keeps out what would change a server in silence: ``MYSQL_TCP_PORT``, ``UMASK``,
``NOTIFY_SOCKET`` of the worker's own systemd unit.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase

PASSED_ON = (
    # Who, where, in which language and zone.
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TZDIR", "TMPDIR",
    # Libraries, what is loaded before them (an allocator, a shifted clock), and what those are told.
    "LD_LIBRARY_PATH", "LD_PRELOAD", "MALLOC_*", "GLIBC_TUNABLES", "FAKETIME*",
    # Where TLS finds its rules and authorities.
    "OPENSSL_CONF", "OPENSSL_MODULES", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
"""Names, and patterns of names, that every child gets where they are set. None of them is a secret."""

PYTHON = ("PYTHON*", "NUMBA_*", "VIRTUAL_ENV")
"""What a child that is Python of our own gets too, to run as its parent does."""

USER_SESSION = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
"""What ``systemctl --user`` finds its manager by: for commands of the operator's that start and stop a server."""

PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
"""How a program that downloads gets out. The address may hold a password."""


def child_environment(added: Mapping[str, str] | None = None, *, also: Collection[str] = ()) -> dict[str, str]:
    """The whole environment of a child: what is passed on, and what is ``added``, which wins.

    :param also: more names and patterns that are passed on to this child.
    """
    patterns = (*PASSED_ON, *also)
    kept = {name: value for name, value in os.environ.items() if any(fnmatchcase(name, one) for one in patterns)}
    return {**kept, **(added or {})}
