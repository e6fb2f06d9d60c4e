"""A reverse proxy before an S3 server that answers as it is told: late, twice, wrong, half, or not at all."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """What a client asks for."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def is_put(self) -> bool:
        """Whether it writes an object whole."""
        return self.method == "PUT" and "uploadId" not in self.query

    @property
    def is_part(self) -> bool:
        """Whether it writes a part of an object."""
        return self.method == "PUT" and "uploadId" in self.query

    @property
    def is_complete(self) -> bool:
        """Whether it makes an object of its parts."""
        return self.method == "POST" and "uploadId" in self.query

    @property
    def is_get(self) -> bool:
        """Whether it reads an object."""
        return self.method == "GET" and "list-type" not in self.query

    @property
    def is_list(self) -> bool:
        """Whether it lists objects."""
        return "list-type" in self.query


@dataclass(frozen=True)
class Answer:
    """What it is told. ``hang_up_after``: so many bytes of the body are sent, then the line is cut."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    hang_up_after: int | None = None
    reset: bool = False
    """Hang up as a broken line does, and not as somebody who has said all."""

    def without(self, *names: str) -> Answer:
        """The same, without some headers."""
        kept = {name: value for name, value in self.headers.items() if name.lower() not in names}
        return replace(self, headers=kept)

    def flipped(self, at: int) -> Answer:
        """The same, with one bit of the body turned."""
        body = bytearray(self.body)
        body[at] ^= 1
        return replace(self, body=bytes(body))


Meddle = Callable[[Request, Callable[[], Answer]], Answer]
"""Gives the answer; the second argument asks the real server."""


def error(status: int, code: str) -> Answer:
    """An S3 error."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>as told</Message></Error>".encode()
    return Answer(status, {"Content-Type": "application/xml", "Content-Length": str(len(body))}, body)


def _hang_up(connection: socket.socket, *, reset: bool) -> None:
    with contextlib.suppress(OSError):
        if reset:
            threading.Event().wait(0.1)  # until what was sent has been read: a reset drops the rest
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        else:
            connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def meddling(endpoint: str, meddle: Meddle) -> Iterator[str]:
    """The endpoint of such a proxy before ``endpoint``."""
    upstream = urlsplit(endpoint)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(
                self.command, urlsplit(self.path).path, parse_qs(urlsplit(self.path).query, keep_blank_values=True),
                dict(self.headers.items()), body,
            )  # fmt: skip
            self._send(meddle(request, lambda: self._forward(request)))

        def _forward(self, request: Request) -> Answer:
            with contextlib.closing(http.client.HTTPConnection(str(upstream.hostname), upstream.port)) as line:
                headers = {name: value for name, value in request.headers.items() if name.lower() != "expect"}
                line.request(request.method, self.path, request.body, headers)
                found = line.getresponse()
                told = {name: value for name, value in found.getheaders() if name.lower() != "transfer-encoding"}
                body = found.read()
            if request.method != "HEAD":
                told = {name: value for name, value in told.items() if name.lower() != "content-length"}
                told["Content-Length"] = str(len(body))
            return Answer(found.status, told, body)

        def _send(self, answer: Answer) -> None:
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body[: answer.hang_up_after])
            self.wfile.flush()
            if answer.hang_up_after is not None and answer.hang_up_after < len(answer.body):
                self.close_connection = True
                _hang_up(self.connection, reset=answer.reset)
            if "content-length" not in {name.lower() for name in answer.headers}:
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _handle  # noqa: N815 -- the names that the class calls

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- so it is called
            """Nothing."""

        def handle(self) -> None:
            with contextlib.suppress(OSError):
                super().handle()  # a client that has heard enough

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
