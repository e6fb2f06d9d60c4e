"""Splits the transactions of one binary log by database.

Row changes go to the stream of their table's database. A statement goes to the stream of one
database, and ties together every database that it may need, so that they share a lane.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from relight.accounting import Journal, Unknown
from relight.binlog import format as f
from relight.binlog.query import Query, read_query
from relight.binlog.reader import Event, LogFile
from relight.binlog.rows import TableMap, count_rows, flags, read_table_map, table_id
from relight.binlog.transactions import Transaction, query_text
from relight.errors import BinlogError, CorruptEvent, UnsupportedEvent
from relight.lane.statement import effect_of
from relight.lane.stream import Piece

SERVER_LANE = "mysql"
"""The database whose stream takes users, roles, grants and whatever belongs to no database."""

Tie = tuple[str, ...] | None
"""Names that may be databases, which then need one lane; None ties all there are."""

_BRACKETS = (b"BEGIN", b"COMMIT")
_ATOMIC_CREATE = b"START TRANSACTION"
"""Ends the CREATE TABLE of a CREATE TABLE ... SELECT (worklog 13355); its rows follow in the same transaction."""


@dataclass
class _Open:
    """The piece that is being collected."""

    database: str
    statement: bool
    fence: bool
    events: list[bytes]


class _Pieces:
    """The pieces of one transaction. Each that has rows carries the table maps they need."""

    def __init__(self) -> None:
        self.done: list[_Open] = []
        self._maps: dict[bytes, tuple[TableMap, bytes]] = {}
        self._written: set[tuple[str, bytes]] = set()
        """The table maps that the last piece carries already."""

    def map(self, table: TableMap, event: Event) -> None:
        """From here on the event says what the table's id means."""
        if table.table_id not in self._maps or self._maps[table.table_id][0] is not table:
            self._written.discard((table.database, table.table_id))
        self._maps[table.table_id] = (table, event.data)

    def add_rows(self, event: Event) -> TableMap | None:
        """Add a rows event to its database's piece. Gives its table; None if no map told of it."""
        found = self._maps.get(table_id(event.body))
        if found is None:
            return None
        table, map_event = found
        if not self.done or self.done[-1].database != table.database or self.done[-1].statement:
            self.done.append(_Open(table.database, statement=False, fence=False, events=[]))
            self._written.clear()
        piece = self.done[-1]
        if (table.database, table.table_id) not in self._written:
            piece.events.append(map_event)
            self._written.add((table.database, table.table_id))
        piece.events.append(event.data)
        return table


class Splitter:
    """Takes transactions in order; hands pieces to ``emit(database, piece)``, and keeps the books."""

    def __init__(self, log: LogFile, emit: Callable[[str, Piece], None]) -> None:
        self._log = log
        self._emit = emit
        self._known_maps: dict[bytes, TableMap] = {}
        self.journal = Journal()
        self.ties: set[Tie] = set()
        self.silent_cascades: set[tuple[str, str]] = set()
        """Tables with deleted rows whose cascades, if there are any, InnoDB ran without logging them."""
        self.row_events = 0

    def take(self, number: int, transaction: Transaction) -> None:
        """Split one transaction, the ``number``-th of its segment.

        :raises UnsupportedEvent: it holds something that cannot be carried.
        """
        pieces = self._pieces(transaction)
        for index, piece in enumerate(pieces):
            self._emit(
                piece.database,
                Piece(number, index, str(transaction.gtid), piece.statement, piece.fence, tuple(piece.events)),
            )

    def _pieces(self, transaction: Transaction) -> list[_Open]:
        pieces = _Pieces()
        stage: list[bytes] = []
        texts = [self._text(event) for event in transaction.events if event.type == f.QUERY]
        begun = texts[:1] == [b"BEGIN"]
        savepoints_matter = any(text[:12].upper() == b"ROLLBACK TO " for text in texts)
        for event in transaction.events:
            if event.type == f.TABLE_MAP:
                pieces.map(self._table_map(event), event)
            elif event.type in f.ROWS:
                table = pieces.add_rows(event)
                if table is None:
                    raise self._corrupt(event, "a rows event without its table map")
                self._count(event, table)
            elif event.type in f.STATEMENT_CONTEXT:
                stage.append(event.data)
            elif event.type == f.QUERY:
                text = self._text(event)
                if text in _BRACKETS or (_is_savepoint(text) and not savepoints_matter):
                    continue
                query = self._decoded(event)
                self._refuse_what_cannot_be_carried(event, query)
                fence = not begun or query.text.endswith(_ATOMIC_CREATE)
                pieces.done.append(self._statement(query, [*stage, event.data], fence=fence))
                stage = []
            elif not (event.type in f.NOT_ABOUT_DATA or event.type == f.XID or event.flags & f.MAY_BE_IGNORED):
                raise self._unsupported(event, "Relight cannot carry this event")
        return pieces.done

    def _statement(self, query: Query, events: list[bytes], *, fence: bool) -> _Open:
        effect = effect_of(query.sql, query.database)
        updated = query.updated or ()
        named = (operation.database for operation in effect.operations)
        home = next((d for d in (*updated, *named, query.database) if d), SERVER_LANE)
        if not fence:
            # A statement-format change runs triggers and functions that only its source could see.
            self.ties.add(None)
            reason = "changed by a statement-format event, which does not say how many rows"
            self.journal.add(Unknown(database, "", reason) for database in (updated or (home,)))
        else:
            self.ties.add(None if effect.names is None else tuple(sorted({home, *updated, *effect.names})))
            self.journal.add(effect.operations)
        return _Open(home, statement=True, fence=fence, events=events)

    def _refuse_what_cannot_be_carried(self, event: Event, query: Query) -> None:
        word = query.text[:9].upper()
        if word.startswith((b"XA ", b"ROLLBACK")) and not query.text.upper().startswith(b"ROLLBACK TO"):
            raise self._unsupported(event, f"{query.sql[:40]!r} is not supported yet")

    def _count(self, event: Event, table: TableMap) -> None:
        self.row_events += 1
        if event.type in f.UPDATES:
            return
        try:
            rows = count_rows(event.type, event.body, table)
        except (ValueError, IndexError, struct.error) as error:
            raise self._corrupt(event, str(error)) from None
        if event.type in f.INSERTS:
            self.journal.change(table.database, table.table, inserted=rows)
            return
        self.journal.change(table.database, table.table, deleted=rows)
        if not flags(event.body) & (f.USE_SQL_FOREIGN_KEY | f.NO_FOREIGN_KEY_CHECKS):
            self.silent_cascades.add((table.database, table.table))

    def _table_map(self, event: Event) -> TableMap:
        body = event.body
        key = bytes(body)
        known = self._known_maps.get(key)
        if known is None:
            try:
                known = self._known_maps[key] = read_table_map(body)
            except (ValueError, IndexError, struct.error) as error:
                raise self._corrupt(event, str(error)) from None
        return known

    def _text(self, event: Event) -> bytes:
        try:
            return query_text(event)
        except (struct.error, IndexError) as error:
            raise self._corrupt(event, str(error)) from None

    def _decoded(self, event: Event) -> Query:
        try:
            return read_query(event)
        except (struct.error, IndexError, ValueError) as error:
            raise self._corrupt(event, str(error)) from None

    def _corrupt(self, event: Event, why: str) -> BinlogError:
        return self._log.error(CorruptEvent, event.position, event.type, why)

    def _unsupported(self, event: Event, why: str) -> BinlogError:
        problem = self._log.error(UnsupportedEvent, event.position, event.type, why)
        problem.hint = (
            "look at it with mysqlbinlog, which shows its GTID; restore to just before it: --target before:UUID:N"
        )
        return problem


def _is_savepoint(text: bytes) -> bool:
    return text[:12].upper().startswith((b"SAVEPOINT ", b"ROLLBACK TO ", b"RELEASE SAVE"))
