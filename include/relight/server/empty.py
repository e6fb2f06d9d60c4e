"""New data directories with nothing in them but what a server needs to run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from relight.credentials import Login
from relight.fleet import Server
from relight.server import command, mysqld
from relight.server.passing import passing_folder
from relight.server.scratch import scratch_boot
from relight.server.session import Session
from relight.server.zone import zone_environment

_ROOT = Login("root", "")
"""The account of a directory that was initialised without a password; nobody but this machine can reach it."""


def initialise(server: Server, datadir: Path, statements: Iterable[str] = ()) -> None:
    """Make a data directory for the server, with what the ``statements`` make in it, which may hold passwords.

    :raises CommandFailed: mysqld could not.
    """
    with _in_memory("".join(f"{statement};\n" for statement in statements)) as first:
        command.run([
            server.mysqld, f"--defaults-file={server.options_file}", f"--datadir={datadir}",
            *mysqld.run_as_options(server), "--initialize-insecure", f"--init-file=/dev/fd/{first}",
            f"--log-error={datadir}.log",
        ], pass_fds=[first], timeout=300)  # fmt: skip


@contextlib.contextmanager
def _in_memory(text: str) -> Iterator[int]:
    """A file without a name that holds the text, to be read from its beginning by whoever is given it: not even a
    process that is killed leaves it behind."""
    handle = os.memfd_create("relight-first-statements")
    try:
        with os.fdopen(handle, "wb", closefd=False) as stream:
            stream.write(text.encode())
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def empty_server(server: Server) -> Iterator[Session]:
    """A throw-away server of the same version, options and time zone with no data, reachable by a socket of its own
    only."""
    with passing_folder(server.workdir / "empty", "") as folder:
        mysqld.give_to_server_account(server, folder)
        initialise(server, folder / "data")
        with scratch_boot(
            server, _ROOT, folder / "data", environment=zone_environment(server.datadir)
        ) as session:  # fmt: skip
            yield session
