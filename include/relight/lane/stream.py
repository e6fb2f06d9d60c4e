"""Stream files: what one segment holds for one database, in order, ready to be sent.

A stream file is made of pieces. A piece is a run of rows events, or one statement with the events
that set its stage, of one transaction and one database. Transactions are numbered within their
segment and pieces within their transaction, so that the streams of several databases can be
merged back into the order of the log.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from relight.errors import CorruptEvent

_MAGIC = b"RLSTRM01"
_PIECE = struct.Struct("<QIBBHI")
"""Transaction, piece, statement?, fence?, length of the GTID, number of bytes that follow it."""
_LENGTH = struct.Struct("<I")
_END = b"RLSTRMEND"
"""Stands at the end of a whole file; shorter than the head of a piece, so that it cannot be taken for one."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Events that are applied together. ``fence``: the piece commits by itself (DDL)."""

    transaction: int
    number: int
    gtid: str
    statement: bool
    fence: bool
    events: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Portion:
    """What one transaction does in one lane."""

    transaction: int
    pieces: tuple[Piece, ...]

    @property
    def fence(self) -> bool:
        """Whether it commits by itself and must stand alone."""
        return any(piece.fence for piece in self.pieces)

    @property
    def size(self) -> int:
        """Bytes of its events."""
        return sum(len(event) for piece in self.pieces for event in piece.events)


class StreamWriter:
    """Writes the stream file of one database."""

    def __init__(self, path: Path, format_description: bytes) -> None:
        self.path = path
        self._stream: BinaryIO = path.open("wb", buffering=1 << 16)
        self._stream.write(_MAGIC + _LENGTH.pack(len(format_description)) + format_description)
        self.transactions = 0
        self._last = 0
        self.bytes = 0

    def write(self, piece: Piece) -> None:
        """Append a piece; pieces come in order."""
        gtid = piece.gtid.encode("ascii")
        size = sum(len(event) + _LENGTH.size for event in piece.events)
        self._stream.write(
            _PIECE.pack(piece.transaction, piece.number, piece.statement, piece.fence, len(gtid), size) + gtid
        )
        for event in piece.events:
            self._stream.write(_LENGTH.pack(len(event)))
            self._stream.write(event)
            self.bytes += len(event)
        if piece.transaction != self._last:
            self.transactions += 1
            self._last = piece.transaction

    def close(self) -> None:
        """Finish the file."""
        self._stream.write(_END)
        self._stream.close()


class StreamReader:
    """Reads a stream file back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as stream:
            if stream.read(len(_MAGIC)) != _MAGIC:
                raise CorruptEvent("not a stream file", on=str(path), hint="clear the split task and run it again")
            try:
                (size,) = _LENGTH.unpack(stream.read(_LENGTH.size))
                self.format_description = _exactly(size, stream.read(size))
            except (struct.error, ValueError):
                raise self._cut() from None
            self._start = stream.tell()

    def pieces(self) -> Iterator[Piece]:
        """Every piece, in order. :raises CorruptEvent: the file was cut."""
        with self._path.open("rb", buffering=1 << 20) as stream:
            stream.seek(self._start)
            while (head := stream.read(_PIECE.size)) != _END:
                try:
                    transaction, number, statement, fence, gtid_size, size = _PIECE.unpack(head)
                    gtid = stream.read(gtid_size).decode("ascii")
                    events = tuple(_events(_exactly(size, stream.read(size))))
                except (struct.error, ValueError):
                    raise self._cut() from None
                yield Piece(transaction, number, gtid, bool(statement), bool(fence), events)

    def _cut(self) -> CorruptEvent:
        return CorruptEvent("a stream file was cut", on=str(self._path), hint="clear the split task and run it again")


def _exactly(size: int, data: bytes) -> bytes:
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes instead of {size}")
    return data


def _events(data: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        yield data[position : position + length]
        position += length


def portions(readers: Sequence[StreamReader]) -> Iterator[Portion]:
    """Merge the streams of one segment back into log order, transaction by transaction."""
    merged = heapq.merge(*(r.pieces() for r in readers), key=lambda piece: (piece.transaction, piece.number))
    for transaction, pieces in groupby(merged, key=lambda piece: piece.transaction):
        yield Portion(transaction, tuple(pieces))
