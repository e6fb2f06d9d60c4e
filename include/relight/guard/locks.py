"""InnoDB's locks: a server locks its system tablespace, undo and redo files for as long as it runs."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from relight.guard.directory import Contents
from relight.guard.finding import Finding
from relight.guard.proc import described

_FLOCK = "hhqqi4x"
_LOCKED = re.compile(r"^(ibdata\d+|ibtmp\d+|ib_logfile\d+|#ib_redo\d+|undo_\d+|mysql\.ibd)$")


def locked(contents: Contents) -> Iterator[Finding]:
    """Who holds InnoDB's locks. The kernel knows of locks whose owners cannot be seen from here, and says so."""
    owners: dict[int, str] = {}
    for entry in contents.of_kind(stat.S_IFREG):
        if _LOCKED.match(entry.path.name):
            try:
                owner = lock_holder(entry.path)
            except OSError as error:
                yield Finding("hidden", f"whether {entry.path} is locked cannot be seen: {error.strerror}; run as root")
                return
            if owner is not None:
                owners.setdefault(owner, entry.path.name)
    for owner, name in owners.items():
        who = described(owner) if owner > 0 else "a process that cannot be seen from here (another container, or host)"
        yield Finding("lock", f"{who} holds the InnoDB lock of {contents.top}, on {name}")


def lock_holder(path: Path) -> int | None:
    """Who holds a POSIX lock on the file, asked without taking one; 0 or -1 if it cannot be seen who."""
    try:
        with path.open("rb") as stream:
            request = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(stream, fcntl.F_GETLK, request))
    except FileNotFoundError:
        return None
    return None if kind == fcntl.F_UNLCK else int(pid)
