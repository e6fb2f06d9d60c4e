"""Stream files: what one segment holds for one database, in chunks, ready to be applied.

A chunk is either rows, table by table, of many transactions, or one transaction that must stand alone
because it holds statements. Chunks are numbered within their segment, across all databases, so that the
streams of databases that share a lane can be read side by side.

Layout: magic, length and bytes of the format description, then blocks, each a head and a content that is
padded to 8 bytes: TABLE (a slot's table map), ROWS (the rows events of one table in one chunk: for each its
transaction, its place in the chunk, its rows and its end; then the events), PIECE (statements or rows of a
transaction that stands alone), and END.
"""

from __future__ import annotations

import heapq
import mmap
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relight.binlog import format as f
from relight.binlog.rows import TableMap, read_table_map
from relight.durable import not_for_others
from relight.errors import CorruptEvent

if TYPE_CHECKING:
    from relight.binlog.kernels import Bytes, Longs

_MAGIC = b"RLSTRM02"
_HEAD = struct.Struct("<BBHIIIqq")
"""Type, flags, unused, chunk, slot or order, events, last transaction, bytes of the content."""
_LENGTH = struct.Struct("<I")
_TABLE, _ROWS, _PIECE, _END = 1, 2, 3, 4
_FULL_ROWS, _CASCADES_LOGGED = 1, 2
_STATEMENT, _FENCE, _XA = 1, 2, 4
_KEEP = 4 << 20
"""A stream keeps so many bytes back before it writes, so that thousands of them need no open file each."""


@dataclass(frozen=True, slots=True)
class MappedTable:
    """A table as its rows events have it; ``event`` is the table map event without checksum."""

    map: TableMap
    event: bytes

    @property
    def name(self) -> tuple[str, str]:
        """Database and table."""
        return self.map.database, self.map.table


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows events of one table in one chunk, in order. ``data`` holds them from ``starts`` to ``ends``.

    For each, ``transactions`` and ``places`` tell where it stood in the log, and ``counts`` how many rows it has.
    ``full``: every image has every column. ``cascades_logged``: what foreign keys did is in the log too.
    """

    table: MappedTable
    transactions: Longs
    places: Longs
    counts: Longs
    data: Bytes
    starts: Longs
    ends: Longs
    full: bool
    cascades_logged: bool

    @property
    def size(self) -> int:
        """Bytes of the events."""
        return int(self.ends[-1] - self.starts[0]) if self.ends.size else 0

    def part(self, first: int, last: int) -> Rows:
        """The events ``first`` to before ``last``."""
        return Rows(
            self.table, self.transactions[first:last], self.places[first:last], self.counts[first:last], self.data,
            self.starts[first:last], self.ends[first:last], self.full, self.cascades_logged,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Piece:
    """Events of one transaction that are applied together: rows, or one statement with the events that set its
    stage. ``fence``: it commits by itself (DDL); ``xa``: what it does shows in XA RECOVER."""

    transaction: int
    gtid: str
    statement: bool
    fence: bool
    events: tuple[bytes, ...]
    order: int = 0
    """Its place among the pieces of the transaction, those of other databases included."""
    xa: bool = False

    @property
    def size(self) -> int:
        """Bytes of its events."""
        return sum(len(event) for event in self.events)

    @property
    def tables(self) -> set[tuple[str, str]]:
        """Those of which it has rows."""
        maps = (event for event in self.events if event[4] == f.TABLE_MAP)
        found = (read_table_map(memoryview(event)[f.HEADER_SIZE :]) for event in maps)
        return {(table.database, table.table) for table in found}


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a lane has to do next: rows of many transactions, or the pieces of one that stands alone.

    ``last`` is the number of the last transaction in it.
    """

    number: int
    last: int
    rows: tuple[Rows, ...]
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Bytes of its events."""
        return sum(rows.size for rows in self.rows) + sum(piece.size for piece in self.pieces)


class StreamWriter:
    """Writes the stream file of one database."""

    def __init__(self, path: Path, format_description: bytes) -> None:
        self.path = path
        self.bytes = 0
        self.written = 0
        """Bytes of the file so far."""
        self.pending = 0
        self._parts: list[bytes] = []
        self._slots: set[int] = set()
        start = _MAGIC + _LENGTH.pack(len(format_description)) + format_description
        self._keep(start + bytes(-len(start) % 8))

    def rows(self, chunk: int, slot: int, rows: Rows) -> None:
        """Append the rows events of one table, which lie in its ``data`` one behind the other from 0 on."""
        if slot not in self._slots:
            self._slots.add(slot)
            self._block(_TABLE, 0, chunk, slot, 0, 0, [rows.table.event])
        flags = _FULL_ROWS * rows.full | _CASCADES_LOGGED * rows.cascades_logged
        facts = np.concatenate([rows.transactions, rows.places, rows.counts, rows.ends])
        self._block(
            _ROWS,
            flags,
            chunk,
            slot,
            rows.ends.size,
            int(rows.transactions[-1]),
            [facts.tobytes(), rows.data.tobytes()],
        )
        self.bytes += rows.data.size

    def piece(self, chunk: int, piece: Piece) -> None:
        """Append a piece of a transaction that stands alone."""
        gtid = piece.gtid.encode("ascii")
        flags = _STATEMENT * piece.statement | _FENCE * piece.fence | _XA * piece.xa
        content = [_LENGTH.pack(len(gtid)) + gtid]
        for event in piece.events:
            content += [_LENGTH.pack(len(event)), event]
        self._block(_PIECE, flags, chunk, piece.order, len(piece.events), piece.transaction, content)
        self.bytes += piece.size

    def close(self) -> None:
        """Finish the file."""
        self._block(_END, 0, 0, 0, 0, 0, [])
        self.flush()

    def flush(self) -> None:
        """Write what was kept back."""
        with open(self.path, "ab", opener=not_for_others) as stream:
            stream.writelines(self._parts)
        self.written += self.pending
        self._parts.clear()
        self.pending = 0

    def _block(
        self, kind: int, flags: int, chunk: int, slot: int, events: int, last: int,
        content: Sequence[bytes],
    ) -> None:  # fmt: skip
        size = sum(len(part) for part in content)
        self._keep(_HEAD.pack(kind, flags, 0, chunk, slot, events, last, size))
        for part in content:
            self._keep(part)
        self._keep(bytes(-size % 8))
        if self.pending >= _KEEP:
            self.flush()

    def _keep(self, part: bytes) -> None:
        self._parts.append(part)
        self.pending += len(part)


class StreamReader:
    """Reads a stream file back. :raises CorruptEvent: it is none, or it was cut."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as stream:
            # An empty file cannot be mapped.
            if stream.read(len(_MAGIC)) != _MAGIC:
                raise CorruptEvent("not a stream file", on=str(path), hint="clear the split task and run it again")
            self._mapping = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self._data: Bytes = np.frombuffer(self._mapping, dtype=np.uint8)
        start = len(_MAGIC) + _LENGTH.size
        try:
            (size,) = _LENGTH.unpack_from(self._mapping, len(_MAGIC))
        except struct.error:
            raise self._cut() from None
        self.format_description = self._mapping[start : start + size]
        self._start = start + size + -(start + size) % 8
        self._tables: dict[int, MappedTable] = {}

    def chunks(self) -> Iterator[Chunk]:
        """Every chunk, in order. What was read of a chunk leaves memory when the next one is asked for."""
        at = self._start
        for number, blocks in groupby(self._blocks(), key=lambda block: block[0]):
            rows: list[Rows] = []
            pieces: list[Piece] = []
            last, end = 0, at
            for _, found, its_last, its_end in blocks:
                if isinstance(found, Rows):
                    rows.append(found)
                else:
                    pieces.append(found)
                last, end = max(last, its_last), its_end
            yield Chunk(number, last, tuple(rows), tuple(pieces))
            self._forget(at, end)
            at = end

    def _forget(self, start: int, end: int) -> None:
        """Pages that were read count as memory of this process until it gives them back."""
        first = start - start % mmap.PAGESIZE
        self._mapping.madvise(mmap.MADV_DONTNEED, first, end - first)

    def _blocks(self) -> Iterator[tuple[int, Rows | Piece, int, int]]:
        """Chunk, content, last transaction, and where the block ends."""
        at = self._start
        while True:
            try:
                kind, flags, _, chunk, slot, events, last, size = _HEAD.unpack_from(self._mapping, at)
            except struct.error:
                raise self._cut() from None
            at += _HEAD.size
            end = at + size + -size % 8
            if kind == _END:
                return
            if end > len(self._mapping):
                raise self._cut()
            if kind == _TABLE:
                event = self._mapping[at : at + size]
                self._tables[slot] = MappedTable(read_table_map(memoryview(event)[f.HEADER_SIZE :]), event)
            elif kind == _ROWS:
                yield chunk, self._rows(at, events, slot, flags), last, end
            else:
                yield chunk, self._piece(at, size, slot, last, flags), last, end
            at = end

    def _rows(self, at: int, events: int, slot: int, flags: int) -> Rows:
        facts = np.frombuffer(self._mapping, dtype=np.int64, count=4 * events, offset=at).reshape(4, events)
        ends = facts[3] + (at + facts.nbytes)
        starts = np.concatenate([[at + facts.nbytes], ends[:-1]])
        return Rows(self._tables[slot], facts[0], facts[1], facts[2], self._data, starts, ends,
                    bool(flags & _FULL_ROWS), bool(flags & _CASCADES_LOGGED))  # fmt: skip

    def _piece(self, at: int, size: int, order: int, transaction: int, flags: int) -> Piece:
        parts = list(_parts(self._mapping[at : at + size]))
        return Piece(transaction, parts[0].decode("ascii"), bool(flags & _STATEMENT), bool(flags & _FENCE),
                     tuple(parts[1:]), order, bool(flags & _XA))  # fmt: skip

    def _cut(self) -> CorruptEvent:
        return CorruptEvent("a stream file was cut", on=str(self._path), hint="clear the split task and run it again")


def _parts(data: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        yield data[position : position + length]
        position += length


def chunks(readers: Sequence[StreamReader]) -> Iterator[Chunk]:
    """The chunks of one segment for a lane: those of its databases that have the same number, put together."""
    if len(readers) == 1:
        yield from readers[0].chunks()
        return
    merged: Any = heapq.merge(*(reader.chunks() for reader in readers), key=lambda chunk: chunk.number)
    for number, found in groupby(merged, key=lambda chunk: chunk.number):
        mine = list(found)
        yield Chunk(
            number, max(chunk.last for chunk in mine), tuple(rows for chunk in mine for rows in chunk.rows),
            tuple(sorted((piece for chunk in mine for piece in chunk.pieces), key=lambda piece: piece.order)),
        )  # fmt: skip
