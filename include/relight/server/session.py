"""One connection to one server, which proves whom it talks to.

An address is no proof: ports have defaults, addresses move, several servers share a machine. So :func:`connect` gives a
session only of the server that runs on the data directory of the fleet's entry, on this machine, and
:func:`connect_elsewhere` one of the server with a known UUID. :func:`ask` gives a session of whoever answers: for
questions alone.

On the server's own machine the Unix socket is used, elsewhere TCP with TLS. Sessions of
a process are kept in a registry, so that a killed task can end what it left running there.
"""

from __future__ import annotations

import os
import re
import secrets
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pymysql
from pymysql.constants import CLIENT

from relight.credentials import Login
from relight.errors import ServerError, ServerUnreachable, StatementFailed, WrongServer
from relight.fleet import Server
from relight.server.identity import recorded_uuid
from relight.server.locality import is_this_machine

Row = tuple[Any, ...]

SETTINGS: Mapping[str, str] = {
    # How long things may take, and how much may come of them.
    "max_execution_time": "0", "wait_timeout": "604800", "interactive_timeout": "604800", "net_read_timeout": "600",
    "net_write_timeout": "600", "lock_wait_timeout": "31536000", "innodb_lock_wait_timeout": "50",
    "sql_select_limit": "18446744073709551615", "max_join_size": "18446744073709551615", "sql_big_selects": "ON",
    "cte_max_recursion_depth": "100000",
    # What a statement may do, and does.
    "autocommit": "ON", "completion_type": "NO_CHAIN", "transaction_read_only": "OFF",
    "transaction_isolation": "'REPEATABLE-READ'", "sql_safe_updates": "OFF", "foreign_key_checks": "ON",
    "unique_checks": "ON", "sql_auto_is_null": "OFF", "explicit_defaults_for_timestamp": "ON",
    "sql_mode": "'ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION'",
    # How what is read is written.
    "character_set_client": "utf8mb4", "character_set_results": "utf8mb4",
    "collation_connection": "utf8mb4_0900_ai_ci", "lc_messages": "'en_US'", "lc_time_names": "'en_US'",
    "sql_quote_show_create": "ON", "show_create_table_verbosity": "OFF", "information_schema_stats_expiry": "0",
}  # fmt: skip
"""What Relight relies on in a session, whatever the server gives to those of others: nearly all are what every server
begins with. Not among them is what the source's statements were computed with, see :mod:`relight.server.surroundings`,
and what needs a privilege, which those who only ask need not have."""

_AS_USUAL = (
    "SET SESSION " + ", ".join(f"{name} = {value}" for name, value in SETTINGS.items())
    # Else a primary key that the server has made itself is not seen, although it is in the log.
    + " /*!80030 , show_gipk_in_create_table_and_information_schema = ON */"
)  # fmt: skip

_LOST = {2003, 2006, 2013, 2055, 1053, 1079, 3168}
_NOT_NOW = {1040, 1203, 3032}

_BEARS_A_SECRET = re.compile(r"IDENTIFIED|PASSWORD|CONNECTION", re.IGNORECASE)
_LITERAL = re.compile(r"""'(?:[^'\\]|\\.|'')*'?|"(?:[^"\\]|\\.|"")*"?""", re.DOTALL)
_NEAR = re.compile(r" near '.*", re.DOTALL)
"""How a syntax error quotes the rest of the statement."""

_TOKEN = secrets.token_hex(8)
"""What the sessions of this process are known by on their servers: thread numbers begin anew with every start."""

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

    def as_usual(self) -> None:
        """Set once more what is relied on, whatever statements of others have set meanwhile."""
        self.run(_AS_USUAL)

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


class SocketServer(Server):
    """A server that no network leads to, such as a throw-away copy: host and port of the entry that it was made from
    belong to the real one, and are never used."""


def connect(
    server: Server, login: Login, *, database: str | None = None, timeout: float = 10, local_files: bool = False
) -> Session:
    """Open a session of the server that runs on ``server.datadir`` of this machine.

    With ``local_files`` the server may ask for files of this machine (``LOAD DATA LOCAL``).

    :raises ServerUnreachable: nobody answers, or not yet. StatementFailed: the login is refused. WrongServer: somebody
        else answers. ServerError: the entry belongs to another machine.
    """
    if not isinstance(server, SocketServer) and not is_this_machine(server.host):
        raise ServerError(
            "the server is on another machine", on=f"{server.name} at {server.host}",
            hint="run this on the server's own machine: by the worker of its queue, or there on the command line",
        )  # fmt: skip
    session = _connect(server, login, database, timeout, local_files=local_files)
    return _proved(session, _why_not_on_datadir)


def connect_elsewhere(server: Server, login: Login, uuid: str, *, timeout: float = 10) -> Session:
    """Open a session of the server with this UUID, wherever it is.

    :raises ServerUnreachable, StatementFailed: as for :func:`connect`. WrongServer: another server answers at the
        address of the entry; also where no UUID is given, since then nobody knows which one is meant.
    """

    def why_not(session: Session) -> str:
        there = str(session.value("SELECT @@server_uuid"))
        return "" if uuid and there == uuid else f"its UUID is {there}, and {uuid or 'an unknown one'} is meant"

    return _proved(_connect(server, login, None, timeout), why_not)


def ask(server: Server, login: Login, *, timeout: float = 10) -> Session:
    """Open a session of whoever answers at the address of the entry, to ask who that is. Nothing may be changed in it.

    :raises ServerUnreachable, StatementFailed: as for :func:`connect`.
    """
    return _connect(server, login, None, timeout)


def _proved(session: Session, why_not: Callable[[Session], str]) -> Session:
    try:
        why = why_not(session)
    except BaseException:
        session.close()
        raise
    if not why:
        return session
    session.close()
    raise WrongServer(
        "another server answers", on=session.server.name, why=why,
        hint="nothing was changed on it. Compare host, port, socket and datadir of this server in the fleet file with "
        "what runs there",
    )  # fmt: skip


def _why_not_on_datadir(session: Session) -> str:
    """Why the server of the session is not the one of its entry's data directory; empty when it is.

    The path alone is not enough: a server keeps running on a directory that was renamed. What lies in the directory
    says which server has written it.
    """
    wanted = session.server.datadir
    folder, uuid = (str(value) for value in session.row("SELECT @@datadir, @@server_uuid"))
    if os.path.realpath(folder) != os.path.realpath(wanted):
        return f"it runs on {folder}, not on {wanted}"
    recorded = recorded_uuid(Path(wanted))
    if recorded and recorded != uuid:
        return f"its UUID is {uuid}, and {wanted} is the data directory of {recorded}"
    return ""


def _where(server: Server) -> dict[str, Any]:
    """How to reach it. The client library takes an empty host and port 0 for its defaults: neither is ever handed on.

    Servers on different machines often have the same socket path, so a path alone names no server.
    """
    if isinstance(server, SocketServer) or (server.socket.exists() and is_this_machine(server.host)):
        return {"unix_socket": str(server.socket)}
    if not server.host or not server.port:
        raise ServerUnreachable("the server has no address", on=server.name, why=f"{server.host!r}:{server.port}")
    return {"host": server.host, "port": server.port, "ssl": _tls()}


def _connect(
    server: Server, login: Login, database: str | None, timeout: float, *, local_files: bool = False
) -> Session:
    try:
        connection = pymysql.connect(
            user=login.user, password=login.password, database=database, autocommit=True, charset="utf8mb4",
            connect_timeout=timeout, client_flag=CLIENT.FOUND_ROWS, max_allowed_packet=2**30,
            local_infile=local_files, init_command=_AS_USUAL, program_name=_known_as(), **_where(server),
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
            with ask(session.server, session.login, timeout=2) as other:
                if _is_still_ours(other, session.thread_id):
                    other.run(f"KILL {session.thread_id}")
        except (ServerUnreachable, StatementFailed):
            continue  # it ended by itself, which is what was wanted


def _known_as() -> str:
    """Tasks are forked from one process that has loaded this module, so the token alone would be theirs too."""
    return f"relight-{_TOKEN}-{os.getpid()}"


def _is_still_ours(other: Session, thread_id: int) -> bool:
    """Whether the thread of that number is a session of this process: the server may be another one by now."""
    return bool(other.rows(
        "SELECT 1 FROM performance_schema.session_account_connect_attrs WHERE processlist_id = %s"
        " AND attr_name = 'program_name' AND attr_value = %s",
        thread_id, _known_as(),
    ))  # fmt: skip


def _short(statement: str) -> str:
    text = " ".join(statement.split())
    if _BEARS_A_SECRET.search(text):
        text = _LITERAL.sub("'***'", text)
    return text if len(text) <= 200 else text[:197] + "..."


def quoted(*names: str) -> str:
    """An identifier, quoted: ``quoted("orders", "lines")`` is `` `orders`.`lines` ``."""
    return ".".join("`" + name.replace("`", "``") + "`" for name in names)
