"""A machine verifies its own state before anything destructive happens to it.

Runs on the machine it protects and trusts nothing remote. Any sign of life refuses, with what
was seen; what cannot be seen counts as alive. Code that moves a data directory takes a
:class:`Clearance` and cannot be called without one.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket as sockets
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from relight.errors import GuardRefused
from relight.fleet import Server
from relight.server.locality import is_this_machine
from relight.server.mysqld import open_files, port_answers
from relight.server.rebuilt import read_mark

CLEARANCE_SECONDS = 30
_FLOCK = "hhqqi4x"


@dataclass
class Clearance:
    """Permission to move one data directory aside: for seconds, and once.

    Bound to the directory's device and inode, so that it is worthless when another directory
    has taken its place.
    """

    datadir: Path
    device: int
    inode: int
    purpose: str
    expires: float
    used: bool = False

    def use(self) -> None:
        """Consume it. :raises GuardRefused: it was used, has expired, or the directory was swapped."""
        if self.used or time.monotonic() > self.expires or not self._is_still_there():
            raise GuardRefused(
                "the clearance is no longer valid", on=str(self.datadir), why="used, expired, or another directory",
                hint="run the step again: it asks the guard anew",
            )  # fmt: skip
        self.used = True

    def _is_still_there(self) -> bool:
        try:
            now = self.datadir.stat()
        except FileNotFoundError:
            return False
        return (now.st_dev, now.st_ino) == (self.device, self.inode)


def signs_of_life(server: Server) -> tuple[str, ...]:
    """Everything that speaks against touching the server's data directory; empty when nothing does."""
    return tuple(_signs(server))


def _signs(server: Server) -> Iterator[str]:
    if not is_this_machine(server.host):
        yield f"{server.host} is not this machine, so what is seen here says nothing about it"
    if port_answers(server):
        yield f"something answers on {server.host}:{server.port}"
    if _socket_answers(server.socket):
        yield f"something answers on {server.socket}"
    if _is_mount_point(server.datadir):
        yield f"{server.datadir} is a mount point, which cannot be set aside; use a directory below it"
    if server.datadir.is_symlink():
        yield f"{server.datadir} is a symbolic link; name the real directory in the fleet file"
    holders: dict[int, int] = {}
    for pid, _ in open_files(server.datadir):
        holders[pid] = holders.get(pid, 0) + 1
    for pid, count in sorted(holders.items()):
        yield f"process {pid} ({_command_of(pid)}) has {count} files open below {server.datadir}"
    for pid in _hidden_servers():
        yield f"process {pid} ({_command_of(pid)}) may be using it: its open files cannot be seen, run as root"
    holder = _lock_holder(server.datadir / "ibdata1")
    if holder is not None and holder not in holders:
        yield f"process {holder} holds the InnoDB lock of {server.datadir}"


def clear(server: Server, purpose: str, *, need_bytes: int = 0) -> Clearance | None:
    """A clearance for the server's data directory; None when there is no such directory.

    :raises GuardRefused: there are signs of life, or less than ``need_bytes`` of free space.
    """
    refuse_if_alive(server, purpose)
    refuse_if_too_small(server, need_bytes)
    if not server.datadir.exists():
        return None
    info = server.datadir.stat()
    return Clearance(server.datadir, info.st_dev, info.st_ino, purpose, time.monotonic() + CLEARANCE_SECONDS)


def refuse_if_alive(server: Server, purpose: str) -> None:
    """:raises GuardRefused: with everything that was seen."""
    signs = signs_of_life(server)
    mark = read_mark(server.datadir) if signs else None
    if mark is not None:
        signs += (f"the data directory was built by run {mark.run_id}, which left it {mark.state}",)
    if signs:
        raise GuardRefused(
            f"the machine refuses to {purpose}", on=server.name, why="; ".join(signs),
            hint="nothing was touched. If this server is really lost, stop what is still running and try again",
        )  # fmt: skip


def refuse_if_too_small(server: Server, need_bytes: int) -> int:
    """Free bytes on the disk of the data directory. :raises GuardRefused: fewer than needed."""
    free = shutil.disk_usage(_existing(server.workdir)).free
    if free < need_bytes:
        raise GuardRefused(
            "the disk is too small", on=f"{server.name}: {server.workdir}",
            why=f"{need_bytes / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free",
            hint="free space there (see directories set aside earlier), or name a larger disk in the fleet file",
        )  # fmt: skip
    return free


def set_aside(clearance: Clearance) -> Path:
    """Rename the cleared directory; nothing is ever deleted. Gives its new name."""
    clearance.use()
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    aside = clearance.datadir.with_name(f"{clearance.datadir.name}.set-aside.{stamp}")
    clearance.datadir.rename(aside)
    return aside


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _is_mount_point(path: Path) -> bool:
    """Also of a bind mount from the same file system, which looks like a plain directory to stat."""
    if os.path.ismount(path):
        return True
    # proc(5): the fifth field, in which blanks and backslashes are written as octal numbers.
    points = (line.split(b" ")[4] for line in Path("/proc/self/mountinfo").read_bytes().splitlines())
    return os.fsencode(path.resolve()) in {re.sub(rb"\\([0-7]{3})", _octal, point) for point in points}


def _octal(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 8)])


def _socket_answers(path: Path) -> bool:
    if not path.exists():
        return False
    with sockets.socket(sockets.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # not refused, so somebody may be there
    return True


def _hidden_servers() -> Iterator[int]:
    """Processes called mysqld whose open files this account may not see."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and "mysqld" in _command_of(int(entry.name)):
            try:
                next((entry / "fd").iterdir(), None)
            except PermissionError:
                yield int(entry.name)
            except OSError:
                continue  # ended meanwhile


def _lock_holder(path: Path) -> int | None:
    """Who holds a POSIX lock on the file, asked without taking one."""
    try:
        with path.open("rb") as stream:
            request = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(stream, fcntl.F_GETLK, request))
    except FileNotFoundError:
        return None
    return None if kind == fcntl.F_UNLCK else int(pid)


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "ended"
