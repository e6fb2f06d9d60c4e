"""A server where MySQL's own port is on every ordinary host: 127.0.0.1 and [::1], port 3306. Nobody has a reason to go there.

Whoever leaves host or port out, or gives what a library reads as its default, ends up here instead of on a server that
could be harmed. The decoy greets as MySQL does, hears who wants to log in, lets nobody in and keeps it all in mind; a
run of the tests that it heard of anything in has failed. It lives in the process that starts the tests' workers, and
ends with it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psutil

PORT = 3306
PLACES = ("127.0.0.1", "::1")

_PATIENCE = 5.0
"""Seconds that a client gets to say who it is."""
_CAPABILITIES = 0x00_0F_F7_FF & ~0x0800
"""What servers can do, without TLS: so the user's name comes in plain text."""


@dataclass
class Visit:
    """Somebody who came. Written down when the connection is there, whatever follows."""

    at: datetime
    place: str
    peer: str = "somebody"
    """The process, as far as /proc tells."""
    user: str | None = None
    """Who it wanted to log in as; None where it did not say."""

    def __str__(self) -> str:
        wanted = f"logged in as {self.user!r}" if self.user is not None else "connected"
        return f"{self.at:%H:%M:%S} {self.peer} {wanted} at {self.place}"


@dataclass
class Decoy:
    """Listens until the process ends, or :meth:`close`."""

    addresses: list[str] = field(default_factory=list)
    """Where it listens."""
    visits: list[Visit] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    """Where it could not listen, and why."""
    _listeners: list[socket.socket] = field(default_factory=list)
    _greeted: list[threading.Thread] = field(default_factory=list)

    @classmethod
    def at(cls, places: Sequence[str] = PLACES, port: int = PORT) -> Decoy:
        """A decoy on that port of those addresses, or of as many of them as nobody else listens on."""
        made = cls()
        for place in places:
            try:
                listener = socket.create_server(
                    (place, port), family=socket.AF_INET6 if ":" in place else socket.AF_INET, backlog=100
                )
            except OSError as error:
                why = "taken by another program" if error.errno == errno.EADDRINUSE else str(error)
                made.absent.append(f"{place}, port {port}: {why}")
                continue
            made.addresses.append(place)
            made._listeners.append(listener)
            threading.Thread(target=made._listen, args=(listener,), daemon=True).start()
        return made

    def close(self) -> list[Visit]:
        """Listen no more, let those who are here say what they want, and tell who came."""
        for listener in self._listeners:
            # Who has knocked is let in first: shutting down would send them away unheard.
            while listener.fileno() >= 0 and select.select([listener], [], [], 0)[0]:
                time.sleep(0.01)
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for thread in self._greeted:
            thread.join(2 * _PATIENCE)
        return list(self.visits)

    def _listen(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # closed
            place = f"{listener.getsockname()[0]}:{listener.getsockname()[1]}"
            visit = Visit(datetime.now(UTC), place)
            self.visits.append(visit)
            thread = threading.Thread(target=_answer, args=(client, visit), daemon=True)
            self._greeted.append(thread)
            thread.start()


def process_at(address: str, port: int) -> str:
    """The process whose end of a connection that is, with its arguments, and the test it is at where it says so."""
    for connection in psutil.net_connections("tcp"):
        if connection.laddr == (address, port) and connection.pid:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(connection.pid)
                return f"process {process.pid} ({' '.join(process.cmdline())[:300]}){_test_of(process)}"
    return f"a process that is gone or not to be seen, from port {port},"


def _test_of(process: psutil.Process) -> str:
    # xdist writes the test that a worker is at into the worker's title; what a test starts inherits the variable.
    with contextlib.suppress(psutil.Error):
        if test := process.environ().get("PYTEST_CURRENT_TEST"):
            return f" of {test}"
    return ""


def _answer(client: socket.socket, visit: Visit) -> None:
    """Greet, hear the name, refuse. Who is gone by then has been written down already."""
    with client, contextlib.suppress(OSError):
        visit.peer = process_at(*client.getpeername()[:2])
        client.settimeout(_PATIENCE)
        client.sendall(_packet(0, _greeting()))
        with client.makefile("rb") as stream:
            header = stream.read(4)
            login = stream.read(int.from_bytes(header[:3], "little")) if len(header) == 4 else b""
        if len(login) > 32:
            # Capabilities, largest packet, character set and 23 reserved bytes; then the name.
            visit.user = login[32:].split(b"\0")[0].decode("utf-8", "replace")
        refusal = b"#28000Access denied: this is the decoy of Relight's tests"
        client.sendall(_packet(header[3] + 1 if header[3:] else 1, b"\xff" + (1045).to_bytes(2, "little") + refusal))


def _greeting() -> bytes:
    """Version 10 of the handshake, as in the manual of MySQL's protocol."""
    scramble = os.urandom(20).replace(b"\0", b"x")
    low, high = (_CAPABILITIES & 0xFFFF).to_bytes(2, "little"), (_CAPABILITIES >> 16).to_bytes(2, "little")
    return b"".join((
        b"\x0a8.4.0-decoy\0", (1).to_bytes(4, "little"), scramble[:8], b"\0", low, b"\xff", (2).to_bytes(2, "little"), high,
        bytes([21]), bytes(10), scramble[8:], b"\0", b"mysql_native_password\0",
    ))  # fmt: skip


def _packet(number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([number % 256]) + payload
