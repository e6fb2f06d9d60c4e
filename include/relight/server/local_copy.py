"""A physical copy of a running server, made by its clone plugin, below the server's ``workdir``.

The copy is Relight's own scratch. Only directories of the naming pattern used here, directly below
``workdir/snapshots``, are ever removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from relight.errors import GuardRefused, ServerBusy, ServerError, StatementFailed
from relight.fleet import Server
from relight.server import mysqld, schema
from relight.server.session import Session, quoted

_RESERVE = 1.1
"""Free space that is asked for, as a multiple of the data's size: they grow while they are copied."""

_COPY_NAME = re.compile(r"^copy-[0-9a-f]{8}$")
_COPIED_ENGINES = {"InnoDB", "BLACKHOLE", "FEDERATED", "MRG_MYISAM"}
"""Engines that the clone plugin copies, or that hold no data of their own."""


@contextlib.contextmanager
def local_copy(server: Server, session: Session) -> Iterator[Path]:
    """Clone the server that ``session`` is connected to; gives the copy's data directory.

    The copy is removed at the end, however that comes; what a killed attempt left is removed first.

    :raises ServerBusy: (retryable) another copy is being made. GuardRefused: the disk is too small. Nothing was done.
    :raises ServerError: the server cannot make a complete copy of itself.
    """
    folder = server.workdir / "snapshots"
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder, server):
        check_clone_plugin(session, "a full backup is a clone of the server")
        _end_stale_clone(session, folder)
        remove_stale_copies(folder)
        check_engines(session)
        check_disk(server, folder)
        copy = folder / f"copy-{secrets.token_hex(4)}"
        copy.mkdir()
        try:
            mysqld.give_to_server_account(server, copy)
            session.run("CLONE LOCAL DATA DIRECTORY = %s", str(copy / "data"))
            check_engines(session)
            yield copy / "data"
        finally:
            # What cannot be removed now, because a clone that was broken off still writes, the next attempt removes.
            shutil.rmtree(copy, ignore_errors=True)


def check_clone_plugin(session: Session, why: str) -> None:
    """:raises ServerError: the clone plugin is not active. ``why`` it is needed is told."""
    status = session.rows("SELECT PLUGIN_STATUS FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'clone'")
    if status != [("ACTIVE",)]:
        raise ServerError(
            "the clone plugin is not active", on=session.server.name, why=why,
            hint="INSTALL PLUGIN clone SONAME 'mysql_clone.so', and plugin-load-add=mysql_clone.so in its options file",
        )  # fmt: skip


def check_engines(session: Session) -> None:
    """:raises ServerError: a table holds rows that the clone plugin would leave out."""
    left_out = [
        f"{'.'.join(table)} ({engine})"
        for table, engine in schema.engines(session).items()
        if engine not in _COPIED_ENGINES
        and not schema.why_unreadable(session, table)
        and session.rows(f"SELECT 1 FROM {quoted(*table)} LIMIT 1")
    ]
    if left_out:
        raise ServerError(
            "tables that a clone leaves out", on=session.server.name,
            why=f"the clone plugin copies InnoDB only, and these hold rows: {', '.join(left_out)}",
            hint="ALTER TABLE ... ENGINE=InnoDB on the source",
        )  # fmt: skip


def check_disk(server: Server, folder: Path) -> None:
    """:raises GuardRefused: there is no room for the copy."""
    needed = int(_RESERVE * data_bytes(server.datadir))
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise GuardRefused(
            "the disk is too small for a copy", on=str(folder),
            why=f"{free:,} bytes are free, {needed:,} are needed; nothing was touched",
            hint=f"make room, or move workdir of {server.name} to a larger disk",
        )  # fmt: skip


def data_bytes(datadir: Path) -> int:
    """Bytes of InnoDB's files below a data directory: what a clone copies, and a little more."""
    total = 0
    for path in datadir.rglob("*"):
        if path.suffix in (".ibd", ".ibu") or path.name.startswith(("ibdata", "undo_", "#ib_redo")):
            with contextlib.suppress(FileNotFoundError):  # dropped while we look
                total += path.stat().st_size
    return total


def remove_stale_copies(folder: Path) -> None:
    """Remove copies that killed attempts left, ending the scratch server that may still run on one."""
    for copy in folder.iterdir():
        if _COPY_NAME.match(copy.name) and copy.is_dir() and not copy.is_symlink():
            for pid in {pid for pid, _ in mysqld.open_files(copy) if pid != os.getpid()}:
                with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                    os.kill(pid, signal.SIGKILL)
            shutil.rmtree(copy)


@contextlib.contextmanager
def _alone(folder: Path, server: Server) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        try:
            # The kernel gives the lock back when this process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerBusy(
                "a backup of this server is being taken already", on=server.name, hint="wait until it has ended"
            ) from None
        yield


def _end_stale_clone(session: Session, folder: Path, timeout: float = 60) -> None:
    """The server goes on cloning for a client that was killed; under the lock, such a clone is stale."""
    deadline = time.monotonic() + timeout
    while running := _running_clone(session):
        thread, destination = running
        if folder not in Path(destination).parents:
            raise GuardRefused(
                "the server is being cloned by somebody else", on=session.server.name,
                why=f"to {destination or 'another server'}", hint="wait until that has ended",
            )  # fmt: skip
        if time.monotonic() > deadline:
            raise ServerError("an abandoned clone does not end", on=session.server.name, why=f"thread {thread}")
        with contextlib.suppress(StatementFailed):  # it ended by itself
            session.run(f"KILL {thread}")
        time.sleep(0.2)


def _running_clone(session: Session) -> tuple[int, str] | None:
    rows = session.rows(
        "SELECT PID, COALESCE(DESTINATION, '') FROM performance_schema.clone_status WHERE STATE = 'In Progress'"
    )
    return (int(rows[0][0]), str(rows[0][1])) if rows else None
