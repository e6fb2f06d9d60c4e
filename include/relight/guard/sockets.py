"""Which ports and sockets a process listens on, and who is connected to it, from its own network namespace."""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from relight.guard.proc import PROC

_LISTENING = "0A"
_ESTABLISHED = "01"
_ACCEPTS = 0x10000
_CONNECTED = "03"


@dataclass
class Ends:
    """The ends of connections that one process holds."""

    ports: list[str] = field(default_factory=list)
    """Addresses it listens on, as ``127.0.0.1:3306``."""
    paths: list[str] = field(default_factory=list)
    """Unix sockets it listens on."""
    clients: Counter[str] = field(default_factory=Counter)
    """How many are connected to it, by the address they come from; those on Unix sockets by its path."""
    servers: Counter[str] = field(default_factory=Counter)
    """What it is itself connected to."""

    @property
    def listens(self) -> bool:
        """Whether it is a server at all."""
        return bool(self.ports or self.paths)


@dataclass(frozen=True)
class _Tcp:
    local: str
    port: str
    remote: str
    remote_port: str
    state: str


def ends_of(pid: int, inodes: AbstractSet[int]) -> Ends:
    """The ends of a process, of whose sockets the inodes are known."""
    ends = Ends()
    held = [entry for name in ("tcp", "tcp6") for inode, entry in _tcp(pid, name) if inode in inodes]
    listening = [entry for entry in held if entry.state == _LISTENING]
    ends.ports = sorted(entry.local for entry in listening)
    ports = {entry.port for entry in listening}
    for entry in held:
        if entry.state == _ESTABLISHED:
            if entry.port in ports:
                ends.clients[entry.remote] += 1  # it comes from a new port each time
            else:
                ends.servers[f"{entry.remote}:{entry.remote_port}"] += 1
    unix = [(path, flags, state) for inode, path, flags, state in _unix(pid) if inode in inodes and path]
    ends.paths = sorted(path for path, flags, _ in unix if flags & _ACCEPTS)
    # A connection that was accepted has the path that its listener has; the other end has none.
    ends.clients.update(path for path, flags, state in unix if state == _CONNECTED and not flags & _ACCEPTS)
    return ends


def _tcp(pid: int, name: str) -> Iterator[tuple[int, _Tcp]]:
    for line in _lines(pid, name):
        fields = line.split()
        local, port = _address(fields[1])
        remote, remote_port = _address(fields[2])
        yield int(fields[9]), _Tcp(f"{local}:{port}", port, remote, remote_port, fields[3])


def _address(text: str) -> tuple[str, str]:
    """The kernel writes each word of an address as a number of this machine's byte order."""
    address, _, port = text.partition(":")
    raw = b"".join(struct.pack("=I", int(address[i : i + 8], 16)) for i in range(0, len(address), 8))
    if len(raw) == 4:
        return socket.inet_ntop(socket.AF_INET, raw), str(int(port, 16))
    if raw.startswith(b"\0" * 10 + b"\xff\xff"):  # IPv4 on a socket of both
        return socket.inet_ntop(socket.AF_INET, raw[12:]), str(int(port, 16))
    return f"[{socket.inet_ntop(socket.AF_INET6, raw)}]", str(int(port, 16))


def _unix(pid: int) -> Iterator[tuple[int, str, int, str]]:
    for line in _lines(pid, "unix"):
        fields = line.split(maxsplit=7)
        yield int(fields[6]), fields[7] if len(fields) > 7 else "", int(fields[3], 16), fields[5]


def _lines(pid: int, name: str) -> list[str]:
    try:
        return (PROC / str(pid) / "net" / name).read_text(encoding="utf-8", errors="replace").splitlines()[1:]
    except OSError:
        return []  # ended meanwhile, or a kernel without that protocol


def answers(path: Path) -> bool:
    """Whether somebody listens on a Unix socket. Nothing is sent."""
    try:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            probe.connect(f"/proc/self/fd/{folder}/{path.name}")  # the whole path may be longer than it can take
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:
        return True  # not refused, so somebody may be there
    finally:
        os.close(folder)
    return True
