"""A connection that learns the GTID of each of its commits from the server's own answer.

With ``session_track_gtids=OWN_GTID`` the server puts the GTID into the OK packet of a commit
(manual, "Server Tracking of Client Session State"; PyMySQL reads the packet but not that part).
So what the server acknowledged and which transaction it was arrive together.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.constants import CLIENT
from pymysql.err import MySQLError

from relight.credentials import Login
from relight.fleet import Server

_SESSION_TRACK = 1 << 23
_STATE_CHANGED = 1 << 14
_GTIDS = 3

_LOST = {1053, 1079, 2003, 2006, 2013, 2055, 3168, 4031}
_NOT_WRITABLE = {1290, 1836, 3032}


if TYPE_CHECKING:
    _Connection = pymysql.connections.Connection[Any]
else:
    _Connection = pymysql.connections.Connection


class TrackedConnection(_Connection):
    """Over TCP and TLS, as an application connects. ``gtid`` is that of the last commit, or empty."""

    gtid = ""
    _result: Any

    def run(self, text: str) -> None:
        """Send statements, separated by semicolons, at once, and read all answers.

        :raises MySQLError: the server refused one; those behind it were not run.
        """
        self.gtid = ""
        self.query(text)
        while self._result is not None and self._result.has_next:
            self.next_result()

    def _read_query_result(self, unbuffered: bool = False) -> int:
        rows: int = super()._read_query_result(unbuffered)  # type: ignore[misc]
        result = self._result
        if result is not None and (result.server_status or 0) & _STATE_CHANGED and result.message:
            self.gtid = gtid_in(result.message) or self.gtid
        return rows


def open_tracked(server: Server, login: Login) -> TrackedConnection:
    """Connect as an application. :raises MySQLError: the server is not there, or refuses."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the servers made their certificates themselves
    return TrackedConnection(
        host=server.host, port=server.port, user=login.user, password=login.password, ssl=context, charset="utf8mb4",
        autocommit=True, connect_timeout=10, client_flag=CLIENT.MULTI_STATEMENTS | _SESSION_TRACK,
        init_command="SET SESSION session_track_gtids = OWN_GTID",
    )  # fmt: skip


def is_lost(error: MySQLError) -> bool:
    """Whether the connection broke, so that nobody knows what became of the last commit."""
    code = error.args[0] if error.args else 0
    return code in _LOST or isinstance(error, pymysql.err.InterfaceError)


def is_closed_to_writes(error: MySQLError) -> bool:
    """Whether the server takes no writes: read-only or offline."""
    return bool(error.args) and error.args[0] in _NOT_WRITABLE


def gtid_in(message: bytes) -> str:
    """The GTID in the last part of an OK packet (its info text and session state), or empty.

    :raises IndexError: the packet is not of that form.
    """
    info, at = _number(message, 0)
    length, at = _number(message, at + info)
    end = at + length
    while at < end:
        kind = message[at]
        size, at = _number(message, at + 1)
        if kind == _GTIDS:
            text, begin = _number(message, at + 1)  # behind one byte that tells the encoding
            return message[begin : begin + text].decode("ascii")
        at += size
    return ""


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A length-encoded integer, and where the next thing begins."""
    first = data[at]
    if first < 0xFB:
        return first, at + 1
    width = {0xFC: 2, 0xFD: 3, 0xFE: 8}[first]
    return int.from_bytes(data[at + 1 : at + 1 + width], "little"), at + 1 + width
