"""Runs transactions that stand alone: statements in the context they were logged with, and rows between them."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from relight.backups.manifest import Surroundings
from relight.binlog import format as f
from relight.binlog.compose import alone
from relight.binlog.query import read_query
from relight.binlog.reader import Event
from relight.binlog.transactions import query_text
from relight.credentials import Login
from relight.errors import RelightError, StatementFailed
from relight.fleet import Server
from relight.lane.computing import Computing
from relight.lane.fingerprint import LENT
from relight.lane.lane_progress import TableName
from relight.lane.rendering import Rendered, collations_of, grantors, rendered
from relight.lane.stage import clear_stage, set_stage
from relight.lane.stream import Piece
from relight.lane.writers import MOST_CONNECTIONS, rows_session
from relight.server.session import Session
from relight.server.surroundings import put_on

_CREATES_TEMPORARY = re.compile(
    rb"\s*(?:/\*(?!!).*?\*/\s*|(?:--\s|#)[^\n]*\n\s*)*(?:/\*!\d*\s*)?CREATE\s+TEMPORARY\b", re.IGNORECASE | re.DOTALL
)
_XA_START = re.compile(rb"XA\s+(START|BEGIN)\b", re.IGNORECASE)


NOT_IN_THE_LOG = (
    "innodb_strict_mode", "restrict_fk_on_non_standard_key", "sql_generate_invisible_primary_key", "sql_safe_updates",
)  # fmt: skip
"""Settings (where a server knows them) that refuse or change a statement; the log holds what the source took."""


_NO_DEFAULT_DATABASE, _UNKNOWN_TABLE = "1046 ", "1051 "
_DROPS_TEMPORARY = re.compile(rb"\s*(/\*!\d*\s*)?DROP\s+TEMPORARY\b", re.IGNORECASE)
"""The server's own applier does not mind when such a table is gone already."""
_ABOUT_PROXIES = re.compile(rb"\s*(GRANT|REVOKE)\s+PROXY\b", re.IGNORECASE)
_BROKEN_OFF = frozenset({1053, 1158, 1160, 1184, 1317})
"""Errors that end a statement anywhere: shutdown, a lost connection, KILL. The server's own applier stops there too."""


class Statements:
    """The session in which a lane runs statements. It lives on only while it has temporary tables."""

    def __init__(self, server: Server, login: Login, lane: str, control: Session, computing: Computing) -> None:
        self._server = server
        self._login = login
        self._lane = lane
        self._control = control
        self._session: Session | None = None
        self._computing = computing
        self._surroundings: Surroundings | None = None
        self.format_description = b""
        self._in_innodb = 0
        self._in_other_engines = False
        self._only_statements = True
        self._zone = ""
        self._collations = collations_of(control)
        self._folds_names = control.value("SELECT @@lower_case_table_names") != 0

    @property
    def has_temporary_tables(self) -> bool:
        """Whether there are temporary tables in the session."""
        return bool(self._in_innodb) or self._in_other_engines

    def session(self) -> Session:
        """The session, opened if need be."""
        if self._session is None:
            self._session = self._opened()
        return self._session

    def session_for(self, pieces: Sequence[Piece]) -> Session:
        """The session for a transaction: one of its own if it holds rows or is an XA transaction."""
        if not all(piece.statement and not piece.xa for piece in pieces):
            self.settle()
        return self.session()

    def owed(self, pieces: Sequence[Piece]) -> tuple[str, ...]:
        """What has to follow the statements of a transaction, and may be run again."""
        events = [event for piece in pieces if piece.statement for event in piece.events]
        return grantors(events)

    def only_about(self, pieces: Sequence[Piece]) -> tuple[TableName, ...]:
        """The tables that the statements of a transaction are about; empty where they may be about more than tables."""
        from relight.lane.statement import tables_of  # noqa: PLC0415 -- as in standalone.py

        events = [event for piece in pieces if piece.statement for event in piece.events]
        found: set[TableName] = set()
        for event in events:
            if event[4] in (f.QUERY, f.EXECUTE_LOAD_QUERY):
                query = read_query(_as_event(event))
                mine = tables_of(query.sql, query.database)
                if not mine:
                    return ()
                found |= mine
        fold = str.lower if self._folds_names else str
        return tuple(sorted((fold(database), fold(table)) for database, table in found))

    def _opened(self) -> Session:
        session = rows_session(
            self._server, self._login, self._lane, MOST_CONNECTIONS, self.format_description,
            holder=self._control.thread_id, local_files=True,
        )  # fmt: skip
        try:
            for name, _ in session.rows(f"SHOW SESSION VARIABLES WHERE Variable_name IN {NOT_IN_THE_LOG}"):
                session.run(f"SET SESSION {name} = OFF")
            self._put_on(session)
        except RelightError:
            session.close()  # and with it the lock
            raise
        return session

    def compute_as(self, surroundings: Surroundings | None) -> None:
        """What follows was logged by a server with these surroundings."""
        changed = surroundings != self._surroundings
        self._surroundings = surroundings
        if self._session is not None and changed:
            self._put_on(self._session)

    def _put_on(self, session: Session) -> None:
        put_on(session, self._surroundings, self._computing.zone(self._surroundings))
        self._zone = str(session.value("SELECT @@SESSION.time_zone"))

    def forget(self) -> None:
        """End the session; what was not committed is rolled back, and its temporary tables are gone."""
        if self._session is not None:
            self._session.close()
        self._session = None
        self._in_innodb = 0
        self._in_other_engines = False

    def run(self, pieces: Sequence[Piece]) -> None:
        """Send the pieces of one transaction, in order. :raises StatementFailed: one was refused, or went otherwise
        than on its source."""
        session = self.session()
        for piece in pieces:
            if piece.xa:
                self._run_xa(session, piece)
            elif piece.statement:
                self._run_statement(session, piece)
            else:
                _send_rows(session, piece.events)
        if not any(piece.fence for piece in pieces):
            clear_stage(session, self._zone)  # the lane's position is written next, in the same transaction
        self._only_statements = all(piece.statement and not piece.xa for piece in pieces)

    def rest(self) -> None:
        """Behind a transaction: what it left in the session goes with it. Statements leave nothing, since each is sent
        with all that it needs; and a session with temporary tables must stay."""
        if not self._only_statements:
            self.settle()

    def settle(self) -> None:
        """End the session, unless temporary tables would go with it."""
        if not self.has_temporary_tables:
            self.forget()

    def _run_statement(self, session: Session, piece: Piece) -> None:
        self._send_rendered(session, piece.events)
        self._look_for_temporary_tables(query_text(_as_event(piece.events[-1])))

    def _look_for_temporary_tables(self, text: bytes) -> None:
        """Behind every statement, since functions can make and drop them too."""
        # Nobody else is on this server, so those that are there are this session's.
        found = int(self._control.value("SELECT COUNT(*) FROM information_schema.innodb_temp_table_info"))
        if found <= self._in_innodb and _CREATES_TEMPORARY.match(text):
            # Those of other engines are listed nowhere: there may be one until the session ends.
            self._in_other_engines = True
        self._in_innodb = found

    def _send_rendered(self, session: Session, events: Sequence[bytes]) -> None:
        try:
            with rendered(self._collations, self.format_description, events) as statements:
                for statement in statements:
                    self._send(session, statement)
        except ValueError as error:
            raise StatementFailed("a logged statement cannot be repeated", on=self._lane, why=str(error)) from None

    def _send(self, session: Session, statement: Rendered) -> None:
        zone = self._computing.translated(statement, self._surroundings)
        absent = set_stage(session, statement, zone, self._zone)
        try:
            with self._local_files(statement), self._right_to_grant_proxies(statement):
                self._run_as_on_source(session, statement)
        except StatementFailed as refused:
            if absent is not None and refused.why.startswith(_NO_DEFAULT_DATABASE):
                raise absent from refused
            raise
        for grantor in statement.grantor:
            session.run(grantor)

    def _run_as_on_source(self, session: Session, statement: Rendered) -> None:
        """Run it; one that was logged with an error must end with the same error."""
        expected = statement.error
        if expected in _BROKEN_OFF:
            raise StatementFailed(
                "a statement was broken off on its source", on=self._lane,
                why=f"it was logged with error {expected}, and no log says how far it came",
            )  # fmt: skip
        try:
            session.run(statement.text)
        except StatementFailed as refused:
            gone = not expected and refused.why.startswith(_UNKNOWN_TABLE) and _DROPS_TEMPORARY.match(statement.text)
            if not gone and not (expected and refused.why.startswith(f"{expected} ")):
                raise
        else:
            if expected:
                raise StatementFailed(
                    "a statement went otherwise than on its source", on=self._lane,
                    why=f"there it ended with error {expected}, and here without any",
                )  # fmt: skip

    def _run_xa(self, session: Session, piece: Piece) -> None:
        """An XA transaction up to its XA PREPARE, or the statement that settles one.

        A server rolls back at its next start, also a clean one, what was prepared and is not in its log, and does
        not start when its log has something prepared twice (both seen with 9.7.4; since 8.0.30, worklog 11300).
        So all of it is logged here; promotion empties the log. Statements between its rows are not, since the server
        would refuse some of them (error 1785): what they prepared does not outlive a restart.
        """
        texts = [query_text(_as_event(event)) for event in piece.events if event[4] in (f.QUERY, f.EXECUTE_LOAD_QUERY)]
        log = int(all(text.startswith(b"XA ") for text in texts))
        # Else the session could do nothing but settle it, and its COMMIT would fail.
        session.run(f"SET SESSION xa_detach_on_prepare = ON, sql_log_bin = {log}")
        start = b""
        rows: list[bytes] = []
        stage: list[bytes] = []
        for event in piece.events:
            if event[4] in (f.TABLE_MAP, *f.ROWS):
                rows.append(event)
                continue
            _send_rows(session, rows)
            rows = []
            text = query_text(_as_event(event)) if event[4] == f.QUERY else b""
            if event[4] == f.XA_PREPARE:
                session.run(_XA_START.sub(b"XA PREPARE", start, count=1))
            elif text.startswith(b"XA "):
                start = text if _XA_START.match(text) else start
                session.run(text)
            else:
                stage.append(event)
                if event[4] in (f.QUERY, f.EXECUTE_LOAD_QUERY):
                    self._send_rendered(session, stage)
                    stage = []
        session.run("SET SESSION sql_log_bin = 0")

    @contextmanager
    def _right_to_grant_proxies(self, statement: Rendered) -> Iterator[None]:
        """Who has ``ALL ON *.*`` cannot grant PROXY, unless it was granted to him too; the server's applier can."""
        if not _ABOUT_PROXIES.match(statement.text):
            yield
            return
        user, _, host = str(self._control.value("SELECT CURRENT_USER()")).rpartition("@")
        self._control.run(
            "INSERT IGNORE INTO mysql.proxies_priv (Host, User, Proxied_host, Proxied_user, With_grant, Grantor)"
            " VALUES (%s, %s, '', '', 1, %s)",
            host, user, LENT,
        )  # fmt: skip
        self._control.run("FLUSH LOCAL PRIVILEGES")
        try:
            yield
        finally:
            take_back(self._control)

    @contextmanager
    def _local_files(self, statement: Rendered) -> Iterator[None]:
        """Let the server read the file that a LOAD DATA LOCAL names, for as long as that statement runs."""
        if not statement.reads_file:
            yield
            return
        before = self._control.value("SELECT @@GLOBAL.local_infile")
        self._control.run("SET GLOBAL local_infile = ON")
        try:
            yield
        finally:
            self._control.run(f"SET GLOBAL local_infile = {int(before)}")


def take_back(session: Session) -> None:
    """Give back the right to grant PROXY that a lane has lent itself."""
    if session.run("DELETE FROM mysql.proxies_priv WHERE Grantor = %s", LENT):
        session.run("FLUSH LOCAL PRIVILEGES")


def _as_event(data: bytes) -> Event:
    return Event(0, data[4], 0, 0, data)


def _send_rows(session: Session, events: Sequence[bytes]) -> None:
    """Rows events with the table maps they need, each sent by itself."""
    maps: dict[bytes, bytes] = {}
    for event in events:
        number = event[f.HEADER_SIZE : f.HEADER_SIZE + 6]
        if event[4] == f.TABLE_MAP:
            maps[number] = event
        else:
            session.run(b"BINLOG '" + base64.b64encode(alone(maps[number], event)) + b"'")
