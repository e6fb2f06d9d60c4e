"""Finds the transactions that build on one that is to be left out.

A later transaction depends on it when it changes a row that it changed, or a row that a foreign key ties to one.
Where rows cannot be compared (statements, partial images, keys that are not known) whole tables are: it is better
to name a transaction too many than to leave one out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from relight.accounting import DropDatabase, Rename
from relight.backups.manifest import ForeignKey, Table
from relight.binlog import format as f
from relight.binlog.inner_loops import kernels as k
from relight.binlog.query import read_query
from relight.binlog.reader import Event
from relight.binlog.rows import read_table_map
from relight.lane.lane_progress import Position
from relight.lane.row_hashes import row_hashes
from relight.lane.segments import LaneSegment
from relight.lane.statement import effect_of
from relight.lane.stream import Piece, Rows, StreamReader, chunks

TableName = tuple[str, str]

_COLUMN = re.compile(r"^\s+`((?:[^`]|``)+)` ", re.MULTILINE)
"""A column's line in SHOW CREATE TABLE."""
_MOST_NAMED = 20


@dataclass(frozen=True)
class Dependants:
    """Transactions that depend on one that is to be left out: the first of them, in words, and how many."""

    named: tuple[str, ...]
    count: int


@dataclass
class _Touched:
    """What a left-out transaction did to a table. ``whole``: why its rows cannot be told apart."""

    since: Position
    hashes: list[k.Longs] = field(default_factory=list)
    whole: str = ""


class _Tables:
    """The snapshot's tables, as far as keys go."""

    def __init__(self, tables: Iterable[Table]) -> None:
        self._tables = {(table.database, table.name): table for table in tables}
        self._columns = {name: _COLUMN.findall(table.create) for name, table in self._tables.items()}

    def key_of(self, rows: Rows) -> k.Bytes | None:
        """Per column, whether it belongs to the primary key; to none: the whole row is one. None: not known."""
        table = self._tables.get(rows.table.name)
        return None if table is None else self._marked(rows, table.primary_key)

    def leading_from(self, name: TableName) -> Sequence[ForeignKey]:
        """Foreign keys of a table."""
        return self._tables[name].foreign_keys if name in self._tables else ()

    def reference_of(self, rows: Rows, key: ForeignKey) -> k.Bytes | None:
        """The column of a foreign key, where it is one of fixed width; else rows cannot be compared by it."""
        marked = self._marked(rows, key.columns)
        if marked is None or len(key.columns) != 1:
            return None
        return marked if rows.table.map.widths[int(marked.argmax())] >= 0 else None

    def _marked(self, rows: Rows, columns: Sequence[str]) -> k.Bytes | None:
        names = self._columns.get(rows.table.name, [])
        if not rows.full or len(names) != len(rows.table.map.widths) or not set(columns) <= set(names):
            return None
        return np.array([name in columns for name in names], dtype=np.uint8)


def dependants(skipped: Sequence[LaneSegment], rest: Iterable[LaneSegment], tables: Iterable[Table]) -> Dependants:
    """The transactions in ``rest`` that depend on those in ``skipped``, in the order of the log."""
    known = _Tables(tables)
    touched = _touched(skipped, known)
    found = dict.fromkeys(_later(rest, touched, known)) if touched else {}
    return Dependants(tuple(islice(found, _MOST_NAMED)), len(found))


def _touched(skipped: Sequence[LaneSegment], known: _Tables) -> dict[TableName, _Touched]:
    touched: dict[TableName, _Touched] = {}

    def note(name: TableName, since: Position, hashes: k.Longs | None, why: str) -> None:
        entry = touched.setdefault(name, _Touched(since))
        if hashes is None:
            entry.whole = entry.whole or why
        else:
            entry.hashes.append(hashes)

    for segment in skipped:
        for chunk in chunks([StreamReader(file) for file in segment.files]):
            since = Position(segment.number, chunk.last)
            for rows in chunk.rows:
                key = known.key_of(rows)
                hashes = None if key is None else row_hashes(rows, key)[0]
                note(rows.table.name, since, hashes, "its rows cannot be told apart")
                for reference in known.leading_from(rows.table.name):
                    column = known.reference_of(rows, reference)
                    parent = (reference.parent_database, reference.parent_table)
                    note(parent, since, None if column is None else row_hashes(rows, column)[0],
                         f"{'.'.join(rows.table.name)} refers to it")  # fmt: skip
            for piece in chunk.pieces:
                for name in _tables_of(piece, segment, of_definitions=True):
                    note(name, since, None, "a statement changed it")
    return touched


def _tables_of(piece: Piece, segment: LaneSegment, *, of_definitions: bool) -> Iterator[TableName]:
    """The tables that a piece changes; an empty table name stands for all of a database.

    A definition that changes no rows (a view, a column) builds on none: it only counts ``of_definitions``.
    """
    for event in piece.events:
        if event[4] == f.TABLE_MAP:
            table = read_table_map(memoryview(event)[f.HEADER_SIZE :])
            yield table.database, table.table
        elif event[4] in (f.QUERY, f.EXECUTE_LOAD_QUERY):
            query = read_query(Event(0, event[4], 0, 0, event))
            effect = effect_of(query.sql, query.database)
            if segment.surroundings is not None and segment.surroundings.folds_names:
                effect = effect.folded()
            for operation in effect.operations:
                yield operation.database, "" if isinstance(operation, DropDatabase) else operation.table
                if isinstance(operation, Rename):
                    yield operation.new_database, operation.new_table
            if not effect.operations and (of_definitions or not piece.fence):
                yield from ((database, "") for database in (query.updated or (query.database,)))


def _later(
    rest: Iterable[LaneSegment], touched: Mapping[TableName, _Touched], known: _Tables
) -> Iterator[str]:  # fmt: skip
    first = min(entry.since for entry in touched.values())
    for segment in rest:
        if segment.number < first.segment or not segment.files:
            continue
        for chunk in chunks([StreamReader(file) for file in segment.files]):
            found: dict[int, str] = {}
            for rows in chunk.rows:
                for number in _among(rows, segment.number, touched, known):
                    found.setdefault(number, ".".join(rows.table.name))
            for piece in chunk.pieces:
                for name in _tables_of(piece, segment, of_definitions=False):
                    if any(_meets(name, one) and Position(segment.number, piece.transaction) > entry.since
                           for one, entry in touched.items()):  # fmt: skip
                        found.setdefault(piece.transaction, ".".join(filter(None, name)))
            for number in sorted(found):
                yield f"{segment.names.of(number)} ({found[number]})"


def _meets(one: TableName, other: TableName) -> bool:
    return one[0] == other[0] and (one[1] == other[1] or not one[1] or not other[1])


def _among(
    rows: Rows, segment: int, touched: Mapping[TableName, _Touched], known: _Tables
) -> Iterator[int]:  # fmt: skip
    """The transactions of these rows that depend on what was touched."""
    for name, entry in touched.items():
        if _meets(rows.table.name, name):
            key = known.key_of(rows) if name[1] and not entry.whole else None
            yield from _matching(rows, segment, entry, key)
    for reference in known.leading_from(rows.table.name):
        parent = touched.get((reference.parent_database, reference.parent_table))
        if parent is not None:
            yield from _matching(rows, segment, parent, known.reference_of(rows, reference))


def _matching(rows: Rows, segment: int, entry: _Touched, key: k.Bytes | None) -> Iterator[int]:
    later = rows.transactions if segment > entry.since.segment else rows.transactions[
        rows.transactions > entry.since.transaction
    ]  # fmt: skip
    if not later.size:
        return
    if key is None or not entry.hashes:
        yield from np.unique(later).tolist()
        return
    hashes, events = row_hashes(rows, key)
    met = rows.transactions[events[np.isin(hashes, np.concatenate(entry.hashes))]]
    yield from np.unique(met[np.isin(met, later)]).tolist()
