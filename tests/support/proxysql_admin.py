"""A stand-in for ProxySQL's admin interface, since the real one is in none of Debian's suites that are used here.

What is real: the wire (MySQL's protocol, with its login), and that statements are run by SQLite, as in ProxySQL.
What is made up after ProxySQL's documentation: the table, and what LOAD, SAVE and SET do.
"""

from __future__ import annotations

import hashlib
import os
import socketserver
import sqlite3
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from relight.credentials import Login

_COLUMNS = """
    hostgroup_id INT CHECK (hostgroup_id >= 0) NOT NULL DEFAULT 0,
    hostname VARCHAR NOT NULL,
    port INT CHECK (port BETWEEN 0 AND 65535) NOT NULL DEFAULT 3306,
    gtid_port INT CHECK ((gtid_port <> port OR gtid_port = 0) AND gtid_port BETWEEN 0 AND 65535) NOT NULL DEFAULT 0,
    status VARCHAR CHECK (UPPER(status) IN ('ONLINE', 'SHUNNED', 'OFFLINE_SOFT', 'OFFLINE_HARD')) NOT NULL DEFAULT 'ONLINE',
    weight INT CHECK (weight BETWEEN 0 AND 10000000) NOT NULL DEFAULT 1,
    compression INT CHECK (compression IN (0, 1)) NOT NULL DEFAULT 0,
    max_connections INT CHECK (max_connections >= 0) NOT NULL DEFAULT 1000,
    max_replication_lag INT CHECK (max_replication_lag BETWEEN 0 AND 126144000) NOT NULL DEFAULT 0,
    use_ssl INT CHECK (use_ssl IN (0, 1)) NOT NULL DEFAULT 0,
    max_latency_ms INT UNSIGNED CHECK (max_latency_ms >= 0) NOT NULL DEFAULT 0,
    comment VARCHAR NOT NULL DEFAULT '',
    PRIMARY KEY (hostgroup_id, hostname, port)
"""
_IGNORED = ("BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "SET NAMES", "SET AUTOCOMMIT")

_PROTOCOL_41, _WITH_PASSWORD, _PLUGIN_AUTH = 0x200, 0x8000, 0x80000
_STATUS = 2
"""Autocommit, whatever was said."""


@dataclass
class ProxySQL:
    """The tables, what was asked, and what shall go wrong."""

    login: Login
    port: int = 0
    asked: list[str] = field(default_factory=list)
    breaks_at: str = ""
    """The connection is cut instead of answering a statement that begins so."""
    loads: bool = True
    """Whether LOAD does anything. It says OK in any case."""
    tables: sqlite3.Connection = field(
        default_factory=lambda: sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    )

    def __post_init__(self) -> None:
        for table in ("mysql_servers", "runtime_mysql_servers", "disk_mysql_servers"):
            self.tables.execute(f"CREATE TABLE {table} ({_COLUMNS})")

    def rows(self, table: str, columns: str = "hostgroup_id, hostname, port, status") -> list[tuple[object, ...]]:
        return sorted(self.tables.execute(f"SELECT {columns} FROM {table}").fetchall())

    def run(self, statement: str) -> tuple[list[str], list[tuple[object, ...]]] | None:
        """Columns and rows; None where the answer is OK. sqlite3.Error is what ProxySQL would complain of."""
        self.asked.append(statement)
        upper = statement.upper()
        if upper.startswith(_IGNORED):
            return None
        if upper.startswith("SET "):
            raise sqlite3.OperationalError("Unknown global variable")
        if upper == "LOAD MYSQL SERVERS TO RUNTIME":
            if self.loads:
                self._copy("runtime_mysql_servers", "WHERE status <> 'OFFLINE_HARD'")
            return None
        if upper == "SAVE MYSQL SERVERS TO DISK":
            self._copy("disk_mysql_servers")
            return None
        cursor = self.tables.execute(statement)
        return ([column[0] for column in cursor.description], cursor.fetchall()) if cursor.description else None

    def _copy(self, table: str, where: str = "") -> None:
        self.tables.execute(f"DELETE FROM {table}")
        self.tables.execute(f"INSERT INTO {table} SELECT * FROM mysql_servers {where}")


@contextmanager
def proxysql(login: Login) -> Iterator[ProxySQL]:
    """One that answers on a free port."""
    made = ProxySQL(login)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                _Conversation(self, made).hold()
            except (EOFError, ConnectionError):
                pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        made.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()


class _Conversation:
    """One client, from login to goodbye."""

    def __init__(self, handler: socketserver.StreamRequestHandler, proxysql: ProxySQL) -> None:
        self._in, self._out, self._proxysql, self._number = handler.rfile, handler.wfile, proxysql, 0

    def hold(self) -> None:
        salt = bytes(b % 127 + 1 for b in os.urandom(20))
        capabilities = _PROTOCOL_41 | _WITH_PASSWORD | _PLUGIN_AUTH
        self._send(
            b"\x0a8.0.27 (ProxySQL Admin Module)\0" + struct.pack("<I", 7) + salt[:8] + b"\0"
            + struct.pack("<HBHHB", capabilities & 0xFFFF, 33, _STATUS, capabilities >> 16, 21) + bytes(10)
            + salt[8:] + b"\0mysql_native_password\0"
        )  # fmt: skip
        if not self._is_right(self._receive(), salt):
            self._send(_error("ProxySQL Error: Access denied for user"))
            return
        self._send(_OK)
        while (packet := self._receive(first=True))[0] == 3:
            statement = packet[1:].decode()
            if self._proxysql.breaks_at and statement.startswith(self._proxysql.breaks_at):
                return
            self._answer(statement)

    def _answer(self, statement: str) -> None:
        try:
            found = self._proxysql.run(statement)
        except sqlite3.Error as error:
            self._send(_error(f"ProxySQL Admin Error: {error}"))
            return
        if found is None:
            self._send(_OK)
            return
        columns, rows = found
        end = b"\xfe\0\0" + struct.pack("<H", _STATUS)
        for packet in (bytes([len(columns)]), *map(_column, columns), end):
            self._send(packet)
        for packet in (*(b"".join(_text(str(value)) for value in row) for row in rows), end):
            self._send(packet)

    def _is_right(self, response: bytes, salt: bytes) -> bool:
        user, _, rest = response[32:].partition(b"\0")
        once = hashlib.sha1(self._proxysql.login.password.encode()).digest()
        mask = hashlib.sha1(salt + hashlib.sha1(once).digest()).digest()
        proof = bytes(a ^ b for a, b in zip(once, mask, strict=True))
        return user.decode() == self._proxysql.login.user and rest[1 : 1 + rest[0]] == proof

    def _receive(self, *, first: bool = False) -> bytes:
        head = self._in.read(4)
        if len(head) < 4:
            raise EOFError
        self._number = head[3] + 1
        assert not first or head[3] == 0
        return self._in.read(int.from_bytes(head[:3], "little"))

    def _send(self, body: bytes) -> None:
        self._out.write(len(body).to_bytes(3, "little") + bytes([self._number % 256]) + body)
        self._out.flush()
        self._number += 1


_OK = b"\0\0\0" + struct.pack("<HH", _STATUS, 0)


def _error(text: str) -> bytes:
    # ProxySQL has one code for everything.
    return b"\xff" + struct.pack("<H", 1045) + b"#28000" + text.encode()


def _text(text: str) -> bytes:
    data = text.encode()
    return (bytes([len(data)]) if len(data) < 251 else b"\xfc" + struct.pack("<H", len(data))) + data


def _column(name: str) -> bytes:
    names = b"".join(_text(one) for one in ("def", "", "", "", name, name))
    return names + b"\x0c" + struct.pack("<HIBHBH", 33, 255, 253, 0, 0, 0)
