"""Who uses a directory: files open below it, files mapped, work done in it, whatever it is called there.

Files are compared by device and inode, so that other mount namespaces (containers) and bind mounts count. A file
that was deleted while it was open has no inode to be found any more: its old name is compared.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from relight.binlog import format as f
from relight.guard import mounts
from relight.guard.directory import Contents
from relight.guard.file_systems import is_on_overlay
from relight.guard.finding import Finding, counted
from relight.guard.proc import (
    DELETED,
    PROC,
    account_of,
    ancestors,
    arguments_of,
    command_of,
    described,
    is_over,
    namespace_of,
    process_ids,
)
from relight.guard.sockets import Ends, ends_of

_SOCKET = re.compile(r"^socket:\[(\d+)\]$")
_LOG = re.compile(r"\.\d{6,}$")
_SERVERS = ("mysqld", "mariadbd")


@dataclass
class Holder:
    """A process that uses the directory, and how."""

    pid: int
    namespace: str | None
    """Its mount namespace; None where that cannot be seen."""
    files: int = 0
    works_in: bool = False
    logs_read: int = 0
    """Binary logs that it has open for reading only, as a server has one for each replica."""
    sockets: set[int] = field(default_factory=set)

    @property
    def uses(self) -> bool:
        """Whether it uses the directory at all."""
        return bool(self.files or self.works_in)


class Target:
    """The directory as every process knows it."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._real = contents.real
        self._inodes = contents.identities
        self._namespace = namespace_of("self", "mnt")
        self._location = mounts.locate(mounts.mounts_of(), contents.real)
        self._tables: dict[str | None, mounts.Table] = {}

    def holds(self, holder: Holder, name: str, identity: tuple[int, int] | None) -> bool:
        """Whether a file of a process is below the directory: by what it is, or by what it is called."""
        if identity in self._inodes:
            return True
        path = Path(name.removesuffix(DELETED))
        if holder.namespace == self._namespace:
            return path.is_relative_to(self._real)
        return name.endswith(DELETED) and self._is_the_place(holder, path)

    def shows_through(self, link: Path, name: str, identity: tuple[int, int] | None) -> bool:
        """Whether it is a file of the directory, opened by way of an overlay of which that is a layer; or the other way
        round. It has the name and the inode then, and another device: that of the overlay."""
        if identity is None or Path(name).name not in self._contents.names_of(identity[1]):
            return False
        return is_on_overlay(link) != is_on_overlay(self._real)

    def _is_the_place(self, holder: Holder, path: Path) -> bool:
        """For names of other mount namespaces."""
        if holder.namespace not in self._tables:
            try:
                self._tables[holder.namespace] = mounts.mounts_of(holder.pid)
            except OSError:
                return False  # ended meanwhile
        location = mounts.locate(self._tables[holder.namespace], path)
        return location is not None and self._location is not None and self._location.holds(location)


def used(contents: Contents) -> Iterator[Finding]:
    """Every process that uses the directory, and those that may: unknown counts as alive."""
    found = list(holders(contents))
    for holder in found:
        yield from _told(holder, contents.top)
    for pid in hidden_servers(contents):
        yield Finding("hidden", f"{described(pid)} may be using it: its open files cannot be seen, run as root")
    if os.geteuid() and mounts.hides_processes(mounts.mounts_of()):
        yield Finding("hidden", "processes of other accounts cannot be seen here (hidepid), run as root")


def holders(contents: Contents) -> Iterator[Holder]:
    """Every process that uses the directory, as far as /proc shows."""
    target = Target(contents)
    for pid in sorted(process_ids()):
        holder = Holder(pid, namespace_of(pid, "mnt"))
        for use in (_open_files, _places, _mapped_files):
            try:
                use(holder, target)
            except OSError:
                continue  # ended meanwhile, or another account's: see hidden_servers
        if holder.uses:
            yield holder


def _open_files(holder: Holder, target: Target) -> None:
    for link in (PROC / str(holder.pid) / "fd").iterdir():
        try:
            name = str(link.readlink())
        except OSError:
            continue  # closed meanwhile
        if match := _SOCKET.match(name):
            holder.sockets.add(int(match[1]))
        elif name.startswith("/") and _is_held(holder, target, name, link):
            holder.files += 1
            holder.logs_read += _LOG.search(name) is not None and _reads_log(holder.pid, link.name)


def _is_held(holder: Holder, target: Target, name: str, link: Path) -> bool:
    identity = _identity(link)
    return target.holds(holder, name, identity) or target.shows_through(link, name, identity)


def _places(holder: Holder, target: Target) -> None:
    for link in ("cwd", "root"):
        place = PROC / str(holder.pid) / link
        holder.works_in = holder.works_in or target.holds(holder, str(place.readlink()), _identity(place))


def _mapped_files(holder: Holder, target: Target) -> None:
    """A mapped file may be closed and still be in use."""
    seen: set[str] = set()
    for line in (PROC / str(holder.pid) / "maps").read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5].startswith("/") and fields[5] not in seen:
            seen.add(fields[5])
            major, minor = (int(part, 16) for part in fields[3].split(":"))
            if target.holds(holder, fields[5], (os.makedev(major, minor), int(fields[4]))):
                holder.files = max(holder.files, 1)  # it was counted already if it is open too


def _identity(link: Path) -> tuple[int, int] | None:
    try:
        info = link.stat()
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _reads_log(pid: int, number: str) -> bool:
    """Whether it only reads the open file, and that is a binary log; a replica reads its relay logs."""
    folder = PROC / str(pid)
    try:
        flags = (folder / "fdinfo" / number).read_text(encoding="ascii").partition("flags:")[2].split()[0]
        with (folder / "fd" / number).open("rb") as stream:
            head = stream.read(len(f.MAGIC) + f.HEADER_SIZE)
    except (OSError, IndexError):
        return False  # closed meanwhile
    if int(flags, 8) & os.O_ACCMODE != os.O_RDONLY or not head.startswith((f.MAGIC, f.ENCRYPTED_MAGIC)):
        return False
    return head.startswith(f.ENCRYPTED_MAGIC) or not f.HEADER.unpack_from(head, len(f.MAGIC))[-1] & f.RELAY_LOG


def _told(holder: Holder, directory: Path) -> Iterator[Finding]:
    who = described(holder.pid)
    if holder.namespace != namespace_of("self", "mnt"):
        who += " in another mount namespace"
    if holder.files:
        yield Finding("process", f"{who} has {counted(holder.files, 'file')} open below {directory}")
    else:
        yield Finding("process", f"{who} works in {directory}")
    ends = ends_of(holder.pid, holder.sockets)
    if ends.listens:
        yield from _connections(holder, ends)


def _connections(holder: Holder, ends: Ends) -> Iterator[Finding]:
    who = f"process {holder.pid} ({command_of(holder.pid)})"
    yield from (Finding("port", f"{who} listens on {port}") for port in ends.ports)
    yield from (Finding("socket", f"{who} listens on {path}") for path in ends.paths)
    if ends.clients:
        yield Finding(
            "client", f"{who} has {counted(ends.clients.total(), 'client')} connected: {_addresses(ends.clients)}"
        )
    if holder.logs_read:
        yield Finding(
            "replica", f"{who} reads {counted(holder.logs_read, 'binary log')} out, as for replicas that are attached"
        )
    if ends.servers:
        yield Finding("replica", f"{who} is connected to {_addresses(ends.servers)}, as a replica to its source")


def _addresses(addresses: Counter[str]) -> str:
    return ", ".join(f"{count} from {one}" if count > 1 else one for one, count in addresses.most_common(5))


def hidden_servers(contents: Contents) -> Iterator[int]:
    """Processes that could be a server on this directory and whose open files this account may not see."""
    for pid in sorted(process_ids()):
        try:
            next((PROC / str(pid) / "fd").iterdir(), None)
        except PermissionError:
            if not is_over(pid) and _could_be_server(pid, contents):
                yield pid
        except OSError:
            continue  # ended meanwhile


def _could_be_server(pid: int, contents: Contents) -> bool:
    """By its name or arguments; or because it acts as the account that owns the directory.

    Not the latter for one's own account: the kernel protects some of anybody's processes (ssh-agent).
    """
    words = [command_of(pid), *arguments_of(pid)]
    names = [Path(word).name for word in words]
    # What is called something like it, or is started by way of something else (a loader, a wrapper).
    if any(one in name for one in _SERVERS for name in names[:2]) or set(_SERVERS) & set(names):
        return True
    named = any(str(place) in word for place in (contents.top, contents.real) for word in words)
    if named and pid not in ancestors():  # not the sudo that this was started by
        return True
    return contents.owner not in (None, 0, os.geteuid()) and account_of(pid) == contents.owner
