"""A TCP proxy whose connections can be cut, as a network would."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self


class Proxy:
    """Passes bytes on between clients and a server. A context manager."""

    def __init__(self, to: tuple[str, int], at: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._to = to
        self._listener = socket.create_server(at)
        self.host, self.port = self._listener.getsockname()
        self.cuts = 0
        self._lock = threading.Lock()
        self._open: set[tuple[socket.socket, socket.socket]] = set()
        self._cut_at_answer = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """End all connections at once, both ways."""
        with self._lock:
            pairs, self._open = self._open, set()
            self._cut_at_answer = False
            self.cuts += bool(pairs)
        for pair in pairs:
            for one in pair:
                # With a reset, so that what is on its way is lost too.
                with contextlib.suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def cut_at_next_answer(self) -> None:
        """End all connections when the server next says something, which nobody hears."""
        self._cut_at_answer = True

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._to)
            except OSError:
                return
            pair = (client, server)
            with self._lock:
                self._open.add(pair)
            threading.Thread(target=self._pump, args=(pair, client, server), daemon=True).start()
            threading.Thread(target=self._pump, args=(pair, server, client), daemon=True).start()

    def _stops(self, data: bytes, *, from_server: bool) -> bool:
        """Whether the connections are to be cut instead of passing this on."""
        return self._cut_at_answer and from_server

    def _pump(self, pair: tuple[socket.socket, socket.socket], one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                if self._stops(data, from_server=one is pair[1]):
                    self.cut()
                    break
                other.sendall(data)
        for end in pair:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._open.discard(pair)
        one.close()


class HttpProxy(Proxy):
    """A proxy before an HTTP server, that counts requests and can lose one, or its answer, and all that follow."""

    def __init__(self, to: tuple[str, int]) -> None:
        super().__init__(to)
        self.requests = 0
        """How many were begun since :meth:`heal`."""
        self._lost: tuple[int, bool] | None = None
        self._broken = False

    def lose(self, number: int, *, answer: bool) -> None:
        """Break down at the request of that number, counted from now: before the server has seen it, or once the server
        has carried it out."""
        self.heal()
        self._lost = (number, answer)

    def heal(self) -> None:
        """Pass everything on again, and count anew."""
        self._lost, self._broken, self.requests = None, False, 0

    def _stops(self, data: bytes, *, from_server: bool) -> bool:
        begins = not from_server and data.startswith((b"GET ", b"PUT ", b"HEAD ", b"POST ", b"DELETE "))
        self.requests += begins
        if self._lost is not None and self.requests == self._lost[0]:
            answer = self._lost[1]
            # That the body may come now is no answer yet.
            reached = from_server and not data.startswith(b"HTTP/1.1 100")
            self._broken = self._broken or (reached if answer else begins)
        return self._broken
