"""What /proc tells of single processes. Every function copes with processes that end meanwhile."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")

DELETED = " (deleted)"
"""What the kernel puts behind the name of an open file that has none any more."""


def process_ids() -> Iterator[int]:
    """Every process that can be seen. :raises OSError: none can, because /proc is not there."""
    (PROC / "self" / "status").stat()
    yield from (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def command_of(pid: int) -> str:
    """Its name, as ``ps`` shows it."""
    return _text(pid, "comm").strip() or "ended"


def arguments_of(pid: int) -> list[str]:
    """What it was started with; empty for kernel threads and zombies."""
    return _text(pid, "cmdline").split("\0")[:-1]


def account_of(pid: int) -> int | None:
    """The user it acts as. The owner of its folder is root where the kernel protects it from being looked into."""
    for line in _text(pid, "status").splitlines():
        if line.startswith("Uid:"):
            return int(line.split()[2])
    return None


def is_over(pid: int) -> bool:
    """Whether it has ended; a zombie has, although its number is still taken."""
    state = _text(pid, "stat").rpartition(")")[2].split()
    return not state or state[0] in "ZX"


def ancestors() -> frozenset[int]:
    """The processes that this one was started by, and theirs."""
    found: set[int] = set()
    pid = os.getppid()
    while pid and pid not in found:
        found.add(pid)
        after_name = _text(pid, "stat").rpartition(")")[2].split()
        pid = int(after_name[1]) if after_name else 0
    return frozenset(found)


def namespace_of(pid: int | str, kind: str) -> str | None:
    """Its namespace of a kind (``mnt``, ``net``); None where that cannot be seen."""
    try:
        return (PROC / str(pid) / "ns" / kind).readlink().name
    except OSError:
        return None


def described(pid: int) -> str:
    """For a person: ``process 12 (mysqld, as mysql)``."""
    facts = [command_of(pid)]
    if (account := account_of(pid)) is not None:
        facts.append(f"as {_account_name(account)}")
    return f"process {pid} ({', '.join(facts)})"


def _account_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _text(pid: int, name: str) -> str:
    try:
        return (PROC / str(pid) / name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
