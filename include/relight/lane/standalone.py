"""Looks at transactions that hold more than rows: statements, DDL, XA, loaded files.

Row changes go to the stream of their table's database. A statement goes to the stream of one
database, and ties together every database that it may need, so that they share a lane.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from relight.accounting import Change, Journal, Leads, Prepare, Unknown, Written
from relight.backups.manifest import Tie
from relight.binlog import format as f
from relight.binlog.compose import of_version_2
from relight.binlog.query import Query, read_query
from relight.binlog.reader import Event, LogFile
from relight.binlog.rows import TableMap, count_rows, flags, read_table_map, table_id
from relight.binlog.scan import NOT_CARRIED, incident
from relight.binlog.transactions import query_text
from relight.errors import BinlogError, CorruptEvent, UnsupportedEvent
from relight.lane import xa
from relight.lane.stream import Piece

SERVER_LANE = "mysql"
"""The database whose stream takes users, roles, grants, XA transactions, and whatever belongs to no database."""

_BRACKETS = (b"BEGIN", b"COMMIT")
_TWO_PHASES = b"\0"
"""What an XA PREPARE event begins with, unless it commits in one phase."""
_ATOMIC_CREATE = b" START TRANSACTION"
"""Ends the CREATE TABLE of a CREATE TABLE ... SELECT (worklog 13355); its rows follow in the same transaction."""
_CREATE_OF_OLD = re.compile(
    rb"CREATE TABLE (?!.*\bENGINE=(?!InnoDB\b)).*(?<!\bSTART TRANSACTION)", re.IGNORECASE | re.DOTALL
)
"""The same before 8.0.21, in the same place. It would commit by itself, and a lane that was killed behind it would
take its rows for written."""
_NUMBERS_ROWS = re.compile(rb".*\bALTER\b.*\b(AUTO_INCREMENT|SERIAL)\b", re.IGNORECASE | re.DOTALL)
"""A table without a primary key may get an automatic column so: its rows are numbered in the order in which they
lie. Others match too, which costs no more than speed."""
_LEADS = re.compile(rb"\b(TRIGGER|PROCEDURE|FUNCTION|VIEW|REFERENCES)\b", re.IGNORECASE)
"""Is in every statement that makes something through which one name leads to others."""
_BY_STATEMENT = "changed by a statement-format event, which does not say how many rows"
_NAMES_THE_TRANSACTION = frozenset({f.GTID, f.GTID_TAGGED, f.ANONYMOUS_GTID})


@dataclass
class Books:
    """What was seen that matters beyond the streams: for lanes, accounting and modes."""

    journal: Journal
    ties: set[Tie] = field(default_factory=set)
    silent_cascades: set[tuple[str, str]] = field(default_factory=set)
    """Tables with deleted rows whose cascades, if there are any, InnoDB ran without logging them."""
    partial_images: set[tuple[str, str]] = field(default_factory=set)
    """Tables, some of whose row images leave columns out."""
    numbered: set[str] = field(default_factory=set)
    """Databases in whose streams a statement may number rows in the order in which they lie."""


@dataclass
class _Open:
    """The piece that is being collected."""

    database: str
    statement: bool = False
    fence: bool = False
    xa: bool = False
    events: list[bytes] = field(default_factory=list)


@dataclass
class _Looks:
    """What a transaction looks like as a whole. ``begun``: it is committed by an event at its end, not by
    its only statement. ``undone``: some of it, or all, was rolled back, and is in the log because tables that cannot
    roll back were changed. ``touched``: the tables it has rows of, as far as it was read."""

    texts: Sequence[bytes]
    begun: bool
    has_rows: bool
    undone: bool
    touched: set[tuple[str, str]] = field(default_factory=set)


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
        piece.events.append(of_version_2(event.data))
        return table


class Standalone:
    """Takes transactions apart, one at a time and in order."""

    def __init__(self, log: LogFile, books: Books, *, folds_names: bool = False) -> None:
        """``folds_names``: the log's server keeps names of databases and tables in small letters."""
        self._log = log
        self._folds_names = folds_names
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
        # What names the transaction also says on which version of the server it began.
        origin = [event.data for event in events if event.type in _NAMES_THE_TRANSACTION]
        stage: list[bytes] = []
        looks = self._looked_at(events)
        for event in events:
            if event.type == f.TABLE_MAP:
                pieces.map(self._table_map(event), event)
            elif event.type in f.ROWS:
                table = self._added(pieces, event)
                self._count(event, table)
                looks.touched.add((table.database, table.table))
            elif event.type in f.STATEMENT_CONTEXT or event.type in f.LOAD_DATA - {f.EXECUTE_LOAD_QUERY}:
                stage.append(event.data)
            elif event.type in (f.QUERY, f.EXECUTE_LOAD_QUERY):
                if piece := self._of_query(event, [*origin, *stage], looks):
                    pieces.done.append(piece)
                    stage = []
            elif event.type == f.INCIDENT:
                raise incident(self._log, event.position)
            elif not self._means_nothing(event):
                raise self._unsupported(event, "Relight cannot carry this event")
        if looks.undone:
            reason = "changed in a transaction that was rolled back, or a part of it"
            self._books.journal.add(Unknown(*name, reason) for name in sorted(looks.touched))
        return pieces.done

    def _looked_at(self, events: Sequence[Event]) -> _Looks:
        texts = [self._text(event) for event in events if event.type == f.QUERY]
        return _Looks(
            texts, begun=bool(texts) and (texts[0] == b"BEGIN" or xa.brackets_one_phase(texts[0], texts)),
            has_rows=any(event.type in f.ROWS for event in events),
            undone=any(text[:12].upper() == b"ROLLBACK TO " or xa.undoes(text) for text in texts),
        )  # fmt: skip

    def _of_query(self, event: Event, stage: list[bytes], looks: _Looks) -> _Open | None:
        """The piece that a statement is, with what sets its stage; None if it only brackets others."""
        text = self._text(event)
        if text in _BRACKETS or (_is_savepoint(text) and not looks.undone):
            return None
        if xa.brackets_one_phase(text, looks.texts):
            return None
        if looks.begun and xa.undoes(text):
            # What it changed in tables that cannot roll back stays, so it is run and rolled back once more.
            self._books.ties.add(None)
            return _Open(SERVER_LANE, statement=True, events=[event.data.removesuffix(text) + b"ROLLBACK"])
        query = self._decoded(event)
        if settles := xa.settles(text):
            self._books.journal.add([settles])
            return _Open(SERVER_LANE, statement=True, fence=True, xa=True, events=[event.data])
        data = event.data
        if looks.begun and looks.has_rows and _CREATE_OF_OLD.fullmatch(text):
            data, query = data + _ATOMIC_CREATE, replace(query, text=text + _ATOMIC_CREATE)
        fence = not looks.begun or query.text.endswith(_ATOMIC_CREATE)
        return self._statement(query, [*stage, data], fence=fence)

    def _means_nothing(self, event: Event) -> bool:
        return (
            event.type in f.NOT_ABOUT_DATA | _NAMES_THE_TRANSACTION or event.type in (f.XID, f.XA_PREPARE)
            or bool(event.flags & f.MAY_BE_IGNORED)
        )  # fmt: skip

    def _is_prepared(self, events: Sequence[Event]) -> bool:
        """Whether this is an XA transaction that another one commits or rolls back."""
        return any(event.type == f.XA_PREPARE and bytes(event.body[:1]) == _TWO_PHASES for event in events)

    def _prepared(self, events: Sequence[Event]) -> _Open:
        """An XA transaction as one piece: applied as it is, in the server's lane, with all it touches tied to it."""
        touched: set[str] = set()
        changes: list[Change | Unknown] = []
        maps: dict[bytes, TableMap] = {}
        xid = ""
        kept: list[bytes] = []
        for event in events:
            if event.type in f.STATEMENT_CONTEXT or event.type in f.LOAD_DATA - {f.EXECUTE_LOAD_QUERY}:
                kept.append(event.data)
            elif event.type in (f.QUERY, f.EXECUTE_LOAD_QUERY):
                if found := xa.xid_of(self._text(event)):
                    xid = found
                else:
                    query = self._decoded(event)
                    self._books.ties.add(None)
                    changes += _changed_by_statement(query.updated or ())
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
                kept.append(of_version_2(event.data))
            elif event.type == f.XA_PREPARE:
                kept.append(event.data)
            elif not self._means_nothing(event):
                raise self._unsupported(event, "Relight cannot carry this event in an XA transaction")
        self._books.ties.add(tuple(sorted({SERVER_LANE, *touched})))
        self._books.journal.add([Prepare(xid, tuple(changes))])
        return _Open(SERVER_LANE, statement=True, fence=True, xa=True, events=kept)

    def _statement(self, query: Query, events: list[bytes], *, fence: bool) -> _Open:
        # Most logs hold rows alone. The parser of statements takes longer to load than a small lane to replay.
        from relight.lane.statement import effect_of, words_of, written_by  # noqa: PLC0415

        effect = effect_of(query.sql, query.database)
        if self._folds_names:
            effect = effect.folded()
        updated = query.updated or ()
        named = [operation.database for operation in effect.operations]
        home = next((d for d in (*updated, *named, query.database) if d), SERVER_LANE)
        if fence and effect.names is None:
            home = SERVER_LANE  # all databases share its lane, which watches what belongs to none of them
        if not fence:
            # A statement-format change runs triggers and functions that only its source could see.
            self._books.ties.add(None)
            written = written_by(query.sql, query.database)
            if written is None:
                self._books.journal.add(_changed_by_statement(updated or sorted({*named})))
            else:
                databases, names, words = (tuple(sorted(one)) for one in (updated, written, words_of(query.sql)))
                self._books.journal.add([Written(databases, names, words, _BY_STATEMENT)])
        else:
            self._books.ties.add(None if effect.names is None else tuple(sorted({home, *updated, *effect.names})))
            self._books.journal.add(effect.operations)
            if _LEADS.search(query.text):
                self._books.journal.add([Leads(query.sql)])
            if _NUMBERS_ROWS.match(query.text):
                self._books.numbered.add(home)
        return _Open(home, statement=True, fence=fence, events=events)

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
            query = read_query(event)
        except (struct.error, IndexError, ValueError) as error:
            raise self._corrupt(event, str(error)) from None
        if query.context.unknown is not None:
            why = f"status variable {query.context.unknown}: nobody here knows how it changes the statement"
            raise self._unsupported(event, why)
        return query

    def _corrupt(self, event: Event, why: str) -> BinlogError:
        return self._log.error(CorruptEvent, event.position, event.type, why)

    def _unsupported(self, event: Event, why: str) -> BinlogError:
        problem = self._log.error(UnsupportedEvent, event.position, event.type, why)
        problem.hint = NOT_CARRIED
        return problem


def _changed_by_statement(databases: Sequence[str]) -> list[Unknown]:
    """Where its source does not say what a statement changes, or had too many databases to say, it may be any."""
    return [Unknown(database, "", _BY_STATEMENT) for database in databases or ("",)]


def _is_savepoint(text: bytes) -> bool:
    return text[:12].upper().startswith((b"SAVEPOINT ", b"ROLLBACK TO ", b"RELEASE SAVE"))
