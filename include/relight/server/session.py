"""One connection to one server.

On the server's own machine the Unix socket is used, elsewhere TCP with TLS. Sessions of
a process are kept in a registry, so that a killed task can end what it left running there.
"""

from __future__ import annotations

import re
import ssl
import threading
from types import TracebackType
from typing import Any, Self

import pymysql
from pymysql.constants import CLIENT

from relight.credentials import Login
from relight.errors import ServerUnreachable, StatementFailed
from relight.fleet import Server
from relight.server.locality import is_this_machine

Row = tuple[Any, ...]

_AS_USUAL = "SET SESSION autocommit = ON, completion_type = NO_CHAIN"
"""Also on servers that are set up otherwise; the client library takes their default for what it is elsewhere."""

_LOST = {2003, 2006, 2013, 2055, 1053, 1079, 3168}
_NOT_NOW = {1040, 1203, 3032}

_BEARS_A_SECRET = re.compile(r"IDENTIFIED|PASSWORD|CONNECTION", re.IGNORECASE)
_LITERAL = re.compile(r"""'(?:[^'\\]|\\.|'')*'?|"(?:[^"\\]|\\.|"")*"?""", re.DOTALL)
_NEAR = re.compile(r" near '.*", re.DOTALL)
"""How a syntax error quotes the rest of the statement."""

_open: dict[int, Session] = {}
# Reentrant, since a signal handler asks for the open sessions while the main thread may be in here.
_lock = threading.RLock()


class Session:
    """A connection that speaks in Relight's errors. Autocommit is on; use ``BEGIN`` and ``COMMIT``."""

    def __init__(self, server: Server, login: Login, connection: pymysql.connections.Connection[Any]) -> None:
        self.server = server
        self.login = login
        self._connection = connection
        self.thread_id = int(connection.thread_id())  # type: ignore[no-untyped-call]
        with _lock:
            _open[id(self)] = self

    def rows(self, statement: str, *values: object) -> list[Row]:
        """All rows of a query; ``%s`` in it stand for the values."""
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(statement, values or None)
                return list(cursor.fetchall())
            except pymysql.err.MySQLError as error:
                raise self._explained(error, statement) from None

    def row(self, statement: str, *values: object) -> Row:
        """The only row of a query; StatementFailed when there is not exactly one."""
        rows = self.rows(statement, *values)
        if len(rows) != 1:
            raise StatementFailed(f"{len(rows)} rows instead of one", on=self.server.name, why=_short(statement))
        return rows[0]

    def value(self, statement: str, *values: object) -> Any:
        """The first column of the only row of a query."""
        return self.row(statement, *values)[0]

    def run(self, statement: str | bytes, *values: object) -> int:
        """Run a statement and give the number of rows it touched. Bytes are sent as they are."""
        try:
            if isinstance(statement, bytes):
                return int(self._connection.query(statement))
            with self._connection.cursor() as cursor:
                return int(cursor.execute(statement, values or None))
        except pymysql.err.MySQLError as error:
            raise self._explained(error, statement) from None

    def close(self) -> None:
        """End the connection; what was not committed is rolled back by the server."""
        with _lock:
            _open.pop(id(self), None)
        try:
            self._connection.close()
        except pymysql.err.Error:
            pass  # it was already gone: closed is closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _explained(self, error: pymysql.err.MySQLError, statement: str | bytes) -> Exception:
        code = error.args[0] if error.args else 0
        text = str(error.args[1]) if len(error.args) > 1 else type(error).__name__
        if code in _LOST or isinstance(error, pymysql.err.InterfaceError):
            return ServerUnreachable(
                "the connection was lost", on=self.server.name, why=text or "closed by the server",
                hint="see the server's error log",
            )  # fmt: skip
        sent = statement.decode("utf-8", "replace") if isinstance(statement, bytes) else statement
        if _BEARS_A_SECRET.search(sent):
            text = _NEAR.sub("", text)
        return StatementFailed(
            "the server refused a statement", on=self.server.name, why=f"{code} {text} in: {_short(sent)}"
        )


def connect(
    server: Server, login: Login, *, database: str | None = None, timeout: float = 10, local_files: bool = False
) -> Session:  # fmt: skip
    """Open a session: on the server's own machine by its Unix socket where that exists, else by TCP with TLS.

    With ``local_files`` the server may ask for files of this machine (``LOAD DATA LOCAL``).

    Servers on different machines often have the same socket path, so a path alone names no server.

    :raises ServerUnreachable: nobody answers, or not yet; StatementFailed: the login is refused.
    """
    where: dict[str, Any] = (
        {"unix_socket": str(server.socket)}
        if server.socket.exists() and is_this_machine(server.host)
        else {"host": server.host, "port": server.port, "ssl": _tls()}
    )
    try:
        connection = pymysql.connect(
            user=login.user, password=login.password, database=database, autocommit=True, charset="utf8mb4",
            connect_timeout=timeout, client_flag=CLIENT.FOUND_ROWS, max_allowed_packet=2**30,
            local_infile=local_files, init_command=_AS_USUAL, **where,
        )  # fmt: skip
    except pymysql.err.MySQLError as error:
        code = error.args[0] if error.args else 0
        text = " ".join(str(a) for a in error.args[1:]) or str(error)
        if code in _LOST or code in _NOT_NOW or isinstance(error, pymysql.err.InterfaceError):
            raise ServerUnreachable(
                "no connection to the server", on=server.name, why=text,
                hint="is mysqld running? see its error log",
            ) from None  # fmt: skip
        raise StatementFailed(
            "the server refused the login", on=server.name, why=f"{code} {text}",
            hint="check the admin credentials and the account's grants",
        ) from None  # fmt: skip
    return Session(server, login, connection)


def _tls() -> ssl.SSLContext:
    # MySQL makes its own certificates at first start; nobody signed them, so the channel is
    # encrypted but the peer is not authenticated, like the standard client's ssl-mode=REQUIRED.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def kill_open_sessions() -> None:
    """End every statement that this process still has running on a server. For a task being killed."""
    with _lock:
        sessions = list(_open.values())
    for session in sessions:
        try:
            with connect(session.server, session.login, timeout=2) as other:
                other.run(f"KILL {session.thread_id}")
        except (ServerUnreachable, StatementFailed):
            continue  # it ended by itself, which is what was wanted


def _short(statement: str) -> str:
    text = " ".join(statement.split())
    if _BEARS_A_SECRET.search(text):
        text = _LITERAL.sub("'***'", text)
    return text if len(text) <= 200 else text[:197] + "..."


def quoted(*names: str) -> str:
    """An identifier, quoted: ``quoted("orders", "lines")`` is `` `orders`.`lines` ``."""
    return ".".join("`" + name.replace("`", "``") + "`" for name in names)
