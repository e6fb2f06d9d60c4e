"""Runs transactions that stand alone: statements in the context they were logged with, and rows between them."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from relight.binlog import format as f
from relight.binlog.compose import alone
from relight.binlog.query import read_query
from relight.binlog.reader import Event
from relight.credentials import Login
from relight.fleet import Server
from relight.lane.rendering import rendered
from relight.lane.stream import Piece
from relight.lane.writers import MOST_CONNECTIONS, rows_session
from relight.server.session import Session

_TEMPORARY = re.compile(rb"\bTEMPORARY\b", re.IGNORECASE)
_XA_START = re.compile(rb"XA\s+(START|BEGIN)\b", re.IGNORECASE)


class Statements:
    """The session in which a lane runs statements. It lives on only while it has temporary tables."""

    def __init__(self, server: Server, login: Login, lane: str, control: Session) -> None:
        self._server = server
        self._login = login
        self._lane = lane
        self._control = control
        self._session: Session | None = None
        self.format_description = b""
        self.has_temporary_tables = False

    def session(self) -> Session:
        """The session, opened if need be."""
        if self._session is None:
            self._session = rows_session(
                self._server, self._login, self._lane, MOST_CONNECTIONS, self.format_description,
                holder=self._control.thread_id, local_files=True,
            )  # fmt: skip
        return self._session

    def forget(self) -> None:
        """End the session; what was not committed is rolled back, and its temporary tables are gone."""
        if self._session is not None:
            self._session.close()
        self._session = None
        self.has_temporary_tables = False

    def run(self, pieces: Sequence[Piece]) -> None:
        """Send the pieces of one transaction, in order."""
        session = self.session()
        for piece in pieces:
            if piece.xa:
                self._run_xa(session, piece)
            elif piece.statement:
                self._run_statement(session, piece)
            else:
                _send_rows(session, piece.events)

    def settle(self) -> None:
        """Behind a transaction: the settings that its statements made go with the session, unless temporary tables
        would go with it too."""
        if not self.has_temporary_tables:
            self.forget()

    def _run_statement(self, session: Session, piece: Piece) -> None:
        with rendered(self._server.mysqlbinlog, self.format_description, piece.events) as statements:
            for statement in statements:
                with self._local_files(statement):
                    session.run(statement)
        if any(_TEMPORARY.search(event) for event in piece.events):
            # Nobody else is on this server, so those that are there are this session's.
            found = self._control.value("SELECT COUNT(*) FROM information_schema.innodb_temp_table_info")
            self.has_temporary_tables = bool(found)

    def _run_xa(self, session: Session, piece: Piece) -> None:
        """An XA transaction up to its XA PREPARE, or the statement that settles one.

        A server rolls back at its next start, also a clean one, what was prepared and is not in its log, and does
        not start when its log has something prepared twice (both seen with 9.7.4; since 8.0.30, worklog 11300).
        So all of it is logged here; promotion empties the log.
        """
        session.run("SET SESSION sql_log_bin = 1")
        start = b""
        rows: list[bytes] = []
        for event in piece.events:
            if event[4] == f.QUERY:
                _send_rows(session, rows)
                rows = []
                text = read_query(Event(0, f.QUERY, 0, 0, event)).text
                start = text if _XA_START.match(text) else start
                session.run(text)
            elif event[4] == f.XA_PREPARE:
                session.run(_XA_START.sub(b"XA PREPARE", start, count=1))
            else:
                rows.append(event)
        session.run("SET SESSION sql_log_bin = 0")

    @contextmanager
    def _local_files(self, statement: bytes) -> Iterator[None]:
        """Let the server read the file that a LOAD DATA LOCAL names, for as long as that statement runs."""
        if not statement[:16].upper().startswith(b"LOAD DATA LOCAL"):
            yield
            return
        before = self._control.value("SELECT @@GLOBAL.local_infile")
        self._control.run("SET GLOBAL local_infile = ON")
        try:
            yield
        finally:
            self._control.run(f"SET GLOBAL local_infile = {int(before)}")


def _send_rows(session: Session, events: Sequence[bytes]) -> None:
    """Rows events with the table maps they need, each sent by itself."""
    maps: dict[bytes, bytes] = {}
    for event in events:
        number = event[f.HEADER_SIZE : f.HEADER_SIZE + 6]
        if event[4] == f.TABLE_MAP:
            maps[number] = event
        else:
            session.run(b"BINLOG '" + base64.b64encode(alone(maps[number], event)) + b"'")
