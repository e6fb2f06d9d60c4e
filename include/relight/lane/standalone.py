"""Looks at transactions that hold more than rows: statements, DDL, XA, loaded files.

Row changes go to the stream of their table's database. A statement goes to the stream of one
database, and ties together every database that it may need, so that they share a lane.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from relight.accounting import Change, Journal, Prepare, Settle, Unknown
from relight.backups.manifest import Tie
from relight.binlog import format as f
from relight.binlog.query import Query, read_query
from relight.binlog.reader import Event, LogFile
from relight.binlog.rows import TableMap, count_rows, flags, read_table_map, table_id
from relight.binlog.scan import incident
from relight.binlog.transactions import query_text
from relight.errors import BinlogError, CorruptEvent, UnsupportedEvent
from relight.lane.statement import effect_of
from relight.lane.stream import Piece

SERVER_LANE = "mysql"
"""The database whose stream takes users, roles, grants, XA transactions, and whatever belongs to no database."""

_BRACKETS = (b"BEGIN", b"COMMIT")
_TWO_PHASES = b"\0"
"""What an XA PREPARE event begins with, unless it commits in one phase."""
_ATOMIC_CREATE = b"START TRANSACTION"
"""Ends the CREATE TABLE of a CREATE TABLE ... SELECT (worklog 13355); its rows follow in the same transaction."""
_NAMES_THE_TRANSACTION = frozenset({f.GTID, f.GTID_TAGGED, f.ANONYMOUS_GTID})
_XA = re.compile(
    rb"XA\s+(START|BEGIN|END|PREPARE|COMMIT|ROLLBACK)\s+(.*?)(\s+ONE\s+PHASE)?\s*$", re.IGNORECASE | re.DOTALL
)


@dataclass
class Books:
    """What was seen that matters beyond the streams: for lanes, accounting and modes."""

    journal: Journal
    ties: set[Tie] = field(default_factory=set)
    silent_cascades: set[tuple[str, str]] = field(default_factory=set)
    """Tables with deleted rows whose cascades, if there are any, InnoDB ran without logging them."""
    partial_images: set[tuple[str, str]] = field(default_factory=set)
    """Tables, some of whose row images leave columns out."""


@dataclass
class _Open:
    """The piece that is being collected."""

    database: str
    statement: bool = False
    fence: bool = False
    xa: bool = False
    events: list[bytes] = field(default_factory=list)


class _Pieces:
    """The pieces of one transaction. Each that has rows carries the table maps they need."""

    def __init__(self) -> None:
        self.done: list[_Open] = []
        self._maps: dict[bytes, tuple[TableMap, bytes]] = {}
        self._written: set[bytes] = set()
        """The table maps that the last piece carries already."""

    def map(self, table: TableMap, event: Event) -> None:
        """From here on the event says what the table's id means."""
        self._written.discard(table.table_id)
        self._maps[table.table_id] = (table, event.data)

    def add_rows(self, event: Event) -> TableMap | None:
        """Add a rows event to its database's piece. Gives its table; None if no map told of it."""
        found = self._maps.get(table_id(event.body))
        if found is None:
            return None
        table, map_event = found
        if not self.done or self.done[-1].database != table.database or self.done[-1].statement:
            self.done.append(_Open(table.database))
            self._written.clear()
        piece = self.done[-1]
        if table.table_id not in self._written:
            piece.events.append(map_event)
            self._written.add(table.table_id)
        piece.events.append(event.data)
        return table


class Standalone:
    """Takes transactions apart, one at a time and in order."""

    def __init__(self, log: LogFile, books: Books) -> None:
        self._log = log
        self._books = books
        self._maps: dict[bytes, TableMap] = {}

    def pieces(self, number: int, name: str, events: Sequence[Event]) -> list[tuple[str, Piece]]:
        """The pieces of a transaction, each with the database whose stream it belongs to.

        :raises UnsupportedEvent: it holds something that cannot be carried. CorruptEvent: something is broken.
        """
        found = [self._prepared(events)] if self._is_prepared(events) else self._pieces(events)
        return [
            (piece.database, Piece(number, name, piece.statement, piece.fence, tuple(piece.events), order, piece.xa))
            for order, piece in enumerate(found)
        ]

    def _pieces(self, events: Sequence[Event]) -> list[_Open]:
        pieces = _Pieces()
        stage: list[bytes] = []
        texts = [self._text(event) for event in events if event.type == f.QUERY]
        begun = texts[:1] == [b"BEGIN"]
        savepoints_matter = any(text[:12].upper() == b"ROLLBACK TO " for text in texts)
        for event in events:
            if event.type == f.TABLE_MAP:
                pieces.map(self._table_map(event), event)
            elif event.type in f.ROWS:
                self._count(event, self._added(pieces, event))
            elif event.type in f.STATEMENT_CONTEXT or event.type in f.LOAD_DATA - {f.EXECUTE_LOAD_QUERY}:
                stage.append(event.data)
            elif event.type in (f.QUERY, f.EXECUTE_LOAD_QUERY):
                text = self._text(event)
                if (
                    text in _BRACKETS
                    or (_is_savepoint(text) and not savepoints_matter)
                    or _brackets_one_phase(text, texts)
                ):
                    continue
                query = self._decoded(event)
                self._refuse_what_cannot_be_carried(event, query)
                if settles := _settles(text):
                    self._books.journal.add([settles])
                    pieces.done.append(_Open(SERVER_LANE, statement=True, fence=True, xa=True, events=[event.data]))
                    continue
                fence = not begun or query.text.endswith(_ATOMIC_CREATE)
                pieces.done.append(self._statement(query, [*stage, event.data], fence=fence))
                stage = []
            elif event.type == f.INCIDENT:
                raise incident(self._log, event.position)
            elif not self._means_nothing(event):
                raise self._unsupported(event, "Relight cannot carry this event")
        return pieces.done

    def _means_nothing(self, event: Event) -> bool:
        return (
            event.type in f.NOT_ABOUT_DATA | _NAMES_THE_TRANSACTION or event.type in (f.XID, f.XA_PREPARE)
            or bool(event.flags & f.MAY_BE_IGNORED)
        )  # fmt: skip

    def _is_prepared(self, events: Sequence[Event]) -> bool:
        """Whether this is an XA transaction that another one commits or rolls back."""
        return any(event.type == f.XA_PREPARE and event.body[:1] == _TWO_PHASES for event in events)

    def _prepared(self, events: Sequence[Event]) -> _Open:
        """An XA transaction as one piece: applied as it is, in the server's lane, with all it touches tied to it."""
        touched: set[str] = set()
        changes: list[Change] = []
        maps: dict[bytes, TableMap] = {}
        xid = ""
        kept: list[bytes] = []
        for event in events:
            if event.type == f.QUERY:
                found = _XA.match(self._text(event))
                if found is None:
                    raise self._unsupported(event, "a statement inside an XA transaction")
                xid = _xid(found[2])
                kept.append(event.data)
            elif event.type == f.TABLE_MAP:
                table = self._table_map(event)
                maps[table.table_id] = table
                kept.append(event.data)
            elif event.type in f.ROWS:
                mapped = maps.get(table_id(event.body))
                if mapped is None:
                    raise self._corrupt(event, "a rows event without its table map")
                touched.add(mapped.database)
                rows = 0 if event.type in f.UPDATES else self._rows_in(event, mapped)
                inserted = rows if event.type in f.INSERTS else 0
                changes.append(Change(mapped.database, mapped.table, inserted, rows - inserted))
                kept.append(event.data)
            elif event.type == f.XA_PREPARE:
                kept.append(event.data)
            elif not self._means_nothing(event):
                raise self._unsupported(event, "Relight cannot carry this event in an XA transaction")
        self._books.ties.add(tuple(sorted({SERVER_LANE, *touched})))
        self._books.journal.add([Prepare(xid, tuple(changes))])
        return _Open(SERVER_LANE, statement=True, fence=True, xa=True, events=kept)

    def _statement(self, query: Query, events: list[bytes], *, fence: bool) -> _Open:
        effect = effect_of(query.sql, query.database)
        updated = query.updated or ()
        named = (operation.database for operation in effect.operations)
        home = next((d for d in (*updated, *named, query.database) if d), SERVER_LANE)
        if not fence:
            # A statement-format change runs triggers and functions that only its source could see.
            self._books.ties.add(None)
            reason = "changed by a statement-format event, which does not say how many rows"
            self._books.journal.add(Unknown(database, "", reason) for database in (updated or (home,)))
        else:
            self._books.ties.add(None if effect.names is None else tuple(sorted({home, *updated, *effect.names})))
            self._books.journal.add(effect.operations)
        return _Open(home, statement=True, fence=fence, events=events)

    def _refuse_what_cannot_be_carried(self, event: Event, query: Query) -> None:
        word = query.text[:9].upper()
        if word.startswith(b"ROLLBACK") and not query.text.upper().startswith(b"ROLLBACK TO"):
            raise self._unsupported(event, "a transaction that was rolled back after it had changed a table of an"
                                           " engine without transactions")  # fmt: skip

    def _added(self, pieces: _Pieces, event: Event) -> TableMap:
        table = pieces.add_rows(event)
        if table is None:
            raise self._corrupt(event, "a rows event without its table map")
        return table

    def _count(self, event: Event, table: TableMap) -> None:
        if event.type in f.UPDATES:
            return
        rows = self._rows_in(event, table)
        if event.type in f.INSERTS:
            self._books.journal.change(table.database, table.table, inserted=rows)
            return
        self._books.journal.change(table.database, table.table, deleted=rows)
        if not flags(event.body) & (f.USE_SQL_FOREIGN_KEY | f.NO_FOREIGN_KEY_CHECKS):
            self._books.silent_cascades.add((table.database, table.table))

    def _rows_in(self, event: Event, table: TableMap) -> int:
        try:
            return count_rows(event.type, event.body, table)
        except (ValueError, IndexError, struct.error) as error:
            raise self._corrupt(event, str(error)) from None

    def _table_map(self, event: Event) -> TableMap:
        key = bytes(event.body)
        known = self._maps.get(key)
        if known is None:
            try:
                known = self._maps[key] = read_table_map(event.body)
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
        problem.hint = "restore to just before it (--target before:...), then look at it with mysqlbinlog"
        return problem


def _is_savepoint(text: bytes) -> bool:
    return text[:12].upper().startswith((b"SAVEPOINT ", b"ROLLBACK TO ", b"RELEASE SAVE"))


def _brackets_one_phase(text: bytes, texts: Sequence[bytes]) -> bool:
    """XA START and XA END around what is then committed in one phase: like BEGIN and COMMIT."""
    found = _XA.match(text)
    if found is None or texts[0][:3].upper() != b"XA " or len(texts) < 2:
        return False
    return found[1].upper() in (b"START", b"BEGIN", b"END") or bool(found[3])


def _settles(text: bytes) -> Settle | None:
    found = _XA.match(text)
    if found is None or found[1].upper() not in (b"COMMIT", b"ROLLBACK"):
        return None
    return Settle(_xid(found[2]), found[1].upper() == b"COMMIT")


def _xid(text: bytes) -> str:
    return text.decode("ascii", "replace").replace(" ", "")
