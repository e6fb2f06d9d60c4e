"""Reads, from the streams of a run, which rows of a database the log wrote last, and forgets what it cannot be
sure of: rows before a change of their table's definition, or before a statement that may have touched any."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from relight.binlog import format as f
from relight.binlog.query import Query, read_query
from relight.binlog.reader import Event
from relight.lane.segments import LaneSegment
from relight.lane.statement import words_of
from relight.lane.stream import Piece, Rows, StreamReader, chunks
from relight.verify.bags import BagImages
from relight.verify.columns import Shape
from relight.verify.images import LastImages
from relight.verify.reach import Reach

_ROWS_ONLY = re.compile(r"\s*(INSERT|UPDATE|DELETE|REPLACE|LOAD|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|WITH)\b", re.IGNORECASE)


class Logged(NamedTuple):
    """A statement that committed by itself: in which segment, in which transaction, and what the log says of it."""

    segment: int
    transaction: str
    query: Query


@dataclass
class LogImages:
    """The sample of a database, and why tables have none."""

    images: LastImages
    bags: BagImages
    """Of tables without a primary key."""
    names: dict[int, LaneSegment] = field(default_factory=dict)
    """By number of the segment: what can tell the names of its transactions."""
    reasons: dict[str, str] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)
    """Every word of every statement that changed a definition."""
    logged: list[Logged] = field(default_factory=list)
    """Statements that may have computed values, in the order of the log."""

    def forget(self, table: str) -> None:
        """Of rows that were written up to here nobody can tell what they are now."""
        self.images.forget(table)
        self.bags.forget(table)


def read_images(
    segments: Iterable[LaneSegment], database: str, shapes: Mapping[str, Shape], cascading: Collection[str],
    reach: Reach | None, images: LastImages,
) -> LogImages:  # fmt: skip
    """Go through the whole lane of a database.

    :param segments: in their order; of every database of the lane, since a statement lies in the stream of one only.
    :param cascading: tables whose foreign keys change rows by themselves.
    :param reach: which tables a statement may change; None: any.
    :param images: takes the rows, and chooses.
    """
    found = LogImages(images, BagImages(images.seed))
    reader = _Reader(found, database, shapes, cascading, reach)
    for segment in segments:
        found.names[segment.number] = segment
        for chunk in chunks([StreamReader(file) for file in segment.files]) if segment.files else ():
            for rows in chunk.rows:
                reader.take(rows, segment.number)
            for piece in chunk.pieces:
                reader.stand_alone(piece, segment.number)
    for table in found.reasons:
        found.forget(table)
    return found


class _Reader:
    def __init__(
        self, found: LogImages, database: str, shapes: Mapping[str, Shape], cascading: Collection[str],
        reach: Reach | None,
    ) -> None:  # fmt: skip
        self._found = found
        self._database = database
        self._shapes = shapes
        self._cascading = cascading
        self._reach = reach

    def take(self, rows: Rows, segment: int) -> None:
        if not rows.cascades_logged:
            for table in self._cascading:
                self._found.reasons[table] = "foreign keys change rows, which this source does not log"
        database, table = rows.table.name
        if database != self._database or not rows.ends.size or table not in self._shapes:
            return
        shape = self._shapes[table]
        if not rows.full:
            self._found.reasons[table] = "row images in the log leave columns out"
        elif len(rows.table.map.widths) != len(shape.columns):
            self._found.forget(table)  # the table of that time: it was altered since
        elif shape.key:
            self._found.images.take(rows, shape.key, segment)
        else:
            self._found.bags.take(rows, segment)

    def stand_alone(self, piece: Piece, segment: int) -> None:
        """A transaction with statements: rows before it may have been changed by it."""
        for database, table in piece.tables:
            if database == self._database:
                self._found.forget(table)
        if not piece.statement or piece.xa:
            return
        named: set[str] = set()
        for query in _queries(piece):
            sql, words = query.sql, _words(query)
            named |= words
            if piece.fence:
                self._found.logged.append(Logged(segment, piece.gtid, query))
            if changes_definitions(sql):
                self._found.words |= words
                if self._reach is not None:
                    self._reach.learn(sql, words)
        reached = frozenset(named) if piece.fence else self._reach.of(named) if self._reach else None
        for table in self._shapes:
            if reached is None or table.lower() in reached:
                self._found.forget(table)


def changing_words(segments: Iterable[LaneSegment]) -> set[str]:
    """Every word of every statement of a lane that changes definitions or accounts, in small letters."""
    return {
        word for segment in segments if segment.files
        for chunk in chunks([StreamReader(file) for file in segment.files])
        for piece in chunk.pieces if piece.statement and not piece.xa
        for query in _queries(piece) if changes_definitions(query.sql)
        for word in _words(query)
    }  # fmt: skip


def _words(query: Query) -> frozenset[str]:
    """Also the database that an ALTER DATABASE changes where it names none: the one that it ran in."""
    words = words_of(query.sql)
    return words if words.isdisjoint({"database", "schema"}) else words | {query.database.lower()}


def changes_definitions(sql: str) -> bool:
    """Whether a statement may change more than rows. Some are part of a transaction: CREATE TABLE ... SELECT."""
    return not _ROWS_ONLY.match(sql)


def statements_of(piece: Piece) -> list[str]:
    """The statements of a piece in their order."""
    return [query.sql for query in _queries(piece)]


def _queries(piece: Piece) -> list[Query]:
    kinds = (f.QUERY, f.EXECUTE_LOAD_QUERY)
    return [read_query(Event(0, event[4], 0, 0, event)) for event in piece.events if event[4] in kinds]
