"""Announcing in ProxySQL: the shard's writer hostgroup gets the new server, and no other.

The admin interface speaks MySQL's protocol, but what it runs is SQLite and commands of its own. It answers OK to
``BEGIN``, ``COMMIT``, ``SET NAMES`` and ``SET AUTOCOMMIT`` and ignores them, so there are no transactions. None is
needed here: what is written to ``mysql_servers`` takes effect with ``LOAD ... TO RUNTIME`` only, all at once. Text is
quoted as in SQLite, where a backslash is nothing special.

A real ProxySQL was never tried, only one that the tests make up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.cursors import DictCursor

from relight.announcing.base import Endpoint, Published, refuse_to_overwrite
from relight.announcing.settings import ProxySQLAnnounce
from relight.credentials import Credentials, Login
from relight.errors import AnnounceFailed, AnnounceUnavailable

TIMEOUT = 10.0
_LOST = {2003, 2006, 2013, 2055}
_OURS = re.compile(r"relight shard=(\S+) epoch=(\d+)")
_REPLACED = ("hostgroup_id", "hostname", "port", "status", "comment")
_SERVING = ("ONLINE", "SHUNNED")

Row = dict[str, Any]


@dataclass(frozen=True)
class ProxySQLAnnouncer:
    """Keeps one hostgroup up to date. Withdrawn, its only server is ``OFFLINE_HARD``: that breaks connections too.

    The comment of the server's row says which shard and epoch it is.
    """

    settings: ProxySQLAnnounce
    credentials: Credentials

    @property
    def name(self) -> str:
        """The hostgroup."""
        return f"ProxySQL {self.settings.host}:{self.settings.port}, hostgroup {self.settings.hostgroup}"

    def announce(self, endpoint: Endpoint) -> None:
        """Make the endpoint the hostgroup's only server."""
        self._publish(endpoint, "ONLINE")

    def withdraw(self, endpoint: Endpoint) -> None:
        """Take every server of the hostgroup out of service."""
        self._publish(endpoint, "OFFLINE_HARD")

    def _publish(self, endpoint: Endpoint, status: str) -> None:
        group = f"hostgroup_id = {self.settings.hostgroup}"
        with self._admin() as admin:
            there = admin.rows(f"SELECT * FROM mysql_servers WHERE {group}")
            for row in there:
                refuse_to_overwrite(self.name, _published_in(row), endpoint)
            # The new one first, so that whoever loads the table between these two finds somebody in it.
            admin.run(_replacement(self.settings.hostgroup, endpoint, status, there))
            admin.run(f"DELETE FROM mysql_servers WHERE {group} AND NOT ({_is(endpoint)})")
            admin.run("LOAD MYSQL SERVERS TO RUNTIME")
            # A LOAD that failed is told to ProxySQL's log only.
            runtime = admin.rows(f"SELECT hostname, port, status FROM runtime_mysql_servers WHERE {group}")
            self._check_in_force(runtime, endpoint, status)
            admin.run("SAVE MYSQL SERVERS TO DISK")

    def _check_in_force(self, runtime: list[Row], endpoint: Endpoint, status: str) -> None:
        serving = [f"{row['hostname']}:{row['port']}" for row in runtime if row["status"] in _SERVING]
        wanted = [f"{endpoint.host}:{endpoint.port}"] if status == "ONLINE" else []
        if serving != wanted:
            raise AnnounceFailed(
                "ProxySQL sends writes elsewhere", on=self.name,
                why=f"in force: {', '.join(serving) or 'nobody'}; meant: {', '.join(wanted) or 'nobody'}",
                hint="see ProxySQL's log; with mysql_replication_hostgroups its monitor moves servers as well",
            )  # fmt: skip

    @contextmanager
    def _admin(self) -> Iterator[_Admin]:
        settings, login = self.settings, self.credentials.login("proxysql")
        try:
            connection = _connect(settings, login)
            try:
                yield _Admin(connection)
            finally:
                connection.close()
        except pymysql.err.MySQLError as error:
            code = error.args[0] if error.args else 0
            text = " ".join(str(part) for part in error.args) or type(error).__name__
            if code in _LOST or isinstance(error, pymysql.err.InterfaceError):
                raise AnnounceUnavailable(
                    "ProxySQL does not answer", on=self.name, why=text,
                    hint="is it running? The port is the one of its admin interface, 6032 by default",
                ) from None  # fmt: skip
            raise AnnounceFailed(
                "ProxySQL has refused", on=self.name, why=text,
                hint="check the credential 'proxysql'; the account 'admin' may log in on ProxySQL's own machine only",
            ) from None  # fmt: skip


class _Admin:
    """The admin interface, as far as it is used here."""

    def __init__(self, connection: pymysql.connections.Connection[Any]) -> None:
        self._connection = connection

    def rows(self, statement: str) -> list[Row]:
        """What a query gives; every value is text."""
        with self._connection.cursor(DictCursor) as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def run(self, statement: str) -> None:
        """Run a statement or a command."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement)


def _connect(settings: ProxySQLAnnounce, login: Login) -> pymysql.connections.Connection[Any]:
    return pymysql.connect(
        host=settings.host, port=settings.port, user=login.user, password=login.password, charset="utf8mb4",
        autocommit=None, connect_timeout=TIMEOUT, read_timeout=TIMEOUT, write_timeout=TIMEOUT,
    )  # fmt: skip


def _published_in(row: Row) -> Published | None:
    found = _OURS.search(str(row.get("comment") or ""))
    return Published(found[1], int(found[2])) if found else None


def _replacement(hostgroup: int, endpoint: Endpoint, status: str, there: list[Row]) -> str:
    """The endpoint's row. Weight, limits and TLS are those that the hostgroup had: its own, else the first server's."""
    own = [row for row in there if (row["hostname"], str(row["port"])) == (endpoint.host, str(endpoint.port))]
    kept = {name: value for name, value in next(iter([*own, *there]), {}).items() if name not in _REPLACED}
    values = {
        "hostgroup_id": hostgroup, "hostname": endpoint.host, "port": endpoint.port, "status": status,
        "comment": f"relight shard={endpoint.shard} epoch={endpoint.epoch}", **kept,
    }  # fmt: skip
    return f"REPLACE INTO mysql_servers ({', '.join(values)}) VALUES ({', '.join(map(_quoted, values.values()))})"


def _is(endpoint: Endpoint) -> str:
    return f"hostname = {_quoted(endpoint.host)} AND port = {endpoint.port}"


def _quoted(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"
