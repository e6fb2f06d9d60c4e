"""What a server of the fleet file needs on its machine before anything begins: its program, its options, its account.

Asked first by whoever will start it: what is wrong is known within a second, not behind hours of copying.
"""

from __future__ import annotations

import os
import pwd
import shutil
from difflib import get_close_matches

from relight.errors import FleetError
from relight.fleet import Server

_USUAL = os.pathsep.join(("/usr/sbin", "/usr/libexec", "/usr/bin", "/usr/local/sbin", "/usr/local/mysql/bin"))


def refuse_unusable(server: Server) -> None:
    """:raises FleetError: mysqld cannot be started as the fleet file says."""
    account_of(server)
    if not (server.mysqld.is_file() and os.access(server.mysqld, os.X_OK)):
        there = shutil.which("mysqld", path=_USUAL)
        raise FleetError(
            "there is no such program", on=f"{server.name}, mysqld: {server.mysqld}",
            why="it is not an executable file on this machine",
            hint=f"on this machine it is {there}" if there else "name it in the fleet file, where this machine has it",
        )  # fmt: skip
    try:
        server.options_file.read_bytes()
    except OSError as error:
        raise FleetError(
            "the server's options cannot be read", on=f"{server.name}, options_file: {server.options_file}",
            why=error.strerror or str(error), hint="name the my.cnf that the server is started with",
        ) from None  # fmt: skip


def account_of(server: Server) -> pwd.struct_passwd | None:
    """The account of the operating system that the server runs as; None: that of this process.

    :raises FleetError: there is no such account here.
    """
    if not server.run_as:
        return None
    try:
        return pwd.getpwnam(server.run_as)
    except KeyError:
        near = get_close_matches(server.run_as, [one.pw_name for one in pwd.getpwall()], n=1)
        raise FleetError(
            "there is no such account", on=f"{server.name}, run_as: {server.run_as}",
            why="this machine does not know it", hint=f"did you mean {near[0]}?" if near else "the account of mysqld",
        ) from None  # fmt: skip
