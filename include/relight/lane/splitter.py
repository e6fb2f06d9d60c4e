"""Splits the transactions of one binary log by database, and keeps the books on what it saw.

Transactions that hold rows and nothing else, nearly all of them, go through the compiled loops, many at a
time, and come out sorted by table. The others are looked at event by event (:mod:`relight.lane.standalone`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from relight.accounting import Journal
from relight.binlog import format as f
from relight.binlog.inner_loops import kernels as k
from relight.binlog.reader import Event, LogFile, events_in
from relight.binlog.scan import Mask, Transactions, scan_unpacked
from relight.errors import CorruptEvent
from relight.lane.standalone import Books, Standalone
from relight.lane.stream import Piece, Rows, StreamWriter
from relight.lane.tables import LogTables, header_length

_CHUNK = 8 << 20
"""Rows are put together by table within so many bytes of log."""
_KEPT_BACK = 64 << 20
"""All streams together write when they hold so much."""


class Sink(Protocol):
    """Takes what belongs to one database."""

    def rows(self, chunk: int, slot: int, rows: Rows) -> None:
        """The rows events of one table in one chunk."""
        ...

    def piece(self, chunk: int, piece: Piece) -> None:
        """A piece of a transaction that stands alone."""
        ...


class Sinks(Protocol):
    """The sinks of all databases."""

    def of(self, database: str) -> Sink:
        """That of one database."""
        ...

    def settle(self) -> None:
        """Bound what all of them hold back."""
        ...


class Streams:
    """The stream files of one segment, made as databases turn up."""

    def __init__(self, folder: Path, format_description: bytes) -> None:
        self._folder = folder
        self._format_description = format_description
        self.writers: dict[str, StreamWriter] = {}

    def of(self, database: str) -> StreamWriter:
        """The stream of a database."""
        if database not in self.writers:
            path = self._folder / f"{len(self.writers):05d}.stream"
            self.writers[database] = StreamWriter(path, self._format_description)
        return self.writers[database]

    def settle(self) -> None:
        """Bound what all of them hold back."""
        if sum(writer.pending for writer in self.writers.values()) > _KEPT_BACK:
            for writer in self.writers.values():
                writer.flush()

    def close(self) -> None:
        """Finish all files."""
        for writer in self.writers.values():
            writer.close()


class Splitter:
    """Splits one log file. ``journal``, ``books`` and ``row_events`` tell afterwards what was in it."""

    def __init__(
        self, log: LogFile, streams: Sinks, name: Callable[[int], str], *, folds_names: bool = False
    ) -> None:  # fmt: skip
        """``name`` gives the GTID, or another name, of the transaction with that number. ``folds_names``: the log's
        server keeps names of databases and tables in small letters."""
        self._log = log
        self._streams = streams
        self._name = name
        self._tables = LogTables()
        self._chunk = 0
        self._envelopes: dict[int, int] = {}
        """Where the payloads are whose content is being split, by the number of the transaction."""
        self.journal = Journal()
        self.books = Books(self.journal)
        self._standalone = Standalone(log, self.books, folds_names=folds_names)
        self.row_events = 0

    def split(self, transactions: Transactions, chosen: Mask) -> None:
        """Split the chosen transactions, which get the numbers of their place in the file, counted from 1.

        :raises UnsupportedEvent: one holds something that cannot be carried. CorruptEvent: something is broken.
        """
        table = transactions.table.copy()
        table[:, k.T_NUMBER] = np.arange(1, len(table) + 1)
        self._all(table[chosen], self._log.bytes, self._log.tail)

    def _all(self, table: k.Table, data: k.Bytes, tail: int) -> None:
        kinds = np.where(table[:, k.T_KIND] & k.PLAIN, k.PLAIN, table[:, k.T_KIND] & k.PAYLOAD)
        for first, last in _runs(kinds):
            run = table[first:last]
            if kinds[first] == k.PLAIN:
                self._plain(run, data, tail)
            elif kinds[first] == k.PAYLOAD:
                self._packed(run)
            else:
                self._one_by_one(run, data, tail)

    def _plain(self, run: k.Table, data: k.Bytes, tail: int) -> None:
        events = np.empty((max(_CHUNK // 128, 4096), k.E_COLUMNS), dtype=np.int64)
        state = np.zeros(4, dtype=np.int64)
        for first, last in _chunks(run):
            state[:3] = 0, first, 0
            while True:
                code = k.walk_rows(
                    data, run, int(state[1]), last, tail, self._tables.ids, self._tables.variants, self._tables.mapped,
                    self._tables.maps, self._tables.known, self._tables.widths, events, state,
                )  # fmt: skip
                if code == k.OK:
                    break
                if code == k.FULL:
                    events = np.concatenate([events, np.empty_like(events)])
                elif code == k.NEW_MAP:
                    self._learn(data, int(state[2]), tail, int(run[state[1], k.T_NUMBER]))
                else:
                    raise self._broken(code, data, int(state[2]), int(run[state[1], k.T_NUMBER]))
            self._emit(events[: state[0]], data)

    def _learn(self, data: k.Bytes, position: int, tail: int, transaction: int) -> None:
        event = data[position : position + header_length(data, position) - tail].tobytes()
        try:
            self._tables.learn(event)
        except (ValueError, IndexError, struct.error) as error:
            where = self._envelopes.get(transaction, position)
            raise self._log.error(CorruptEvent, where, f.TABLE_MAP, str(error)) from None

    def _emit(self, events: k.Table, data: k.Bytes) -> None:
        """Write one chunk: events by table, those of one table in their order."""
        if not len(events):
            return
        places = np.argsort(self._tables.numbers[events[:, k.E_SLOT]], kind="stable")
        events = events[places]
        self._chunk += 1
        self.row_events += len(events)
        for first, last in _runs(events[:, k.E_SLOT]):
            self._emit_table(events[first:last], places[first:last], data)
        self._streams.settle()

    def _emit_table(self, events: k.Table, places: k.Longs, data: k.Bytes) -> None:
        slot = int(events[0, k.E_SLOT])
        table = self._tables.slots[slot]
        starts, ends = np.ascontiguousarray(events[:, k.E_START]), np.ascontiguousarray(events[:, k.E_END])
        offsets = np.cumsum(ends - starts + 2 * (data[starts + 4] <= f.DELETE_ROWS_V1))
        content = np.empty(int(offsets[-1]), dtype=np.uint8)
        k.copy_events(data, starts, ends, content)
        kinds, rows = events[:, k.E_KIND], events[:, k.E_ROWS]
        self._streams.of(table.map.database).rows(self._chunk, slot, Rows(
            table, events[:, k.E_TRANSACTION], places, rows, content, offsets, offsets,
            full=bool((kinds & k.FULL_ROWS).all()), cascades_logged=bool((kinds & k.CASCADES_LOGGED).all()),
        ))  # fmt: skip
        deleted = (kinds & k.DELETE) != 0
        self.journal.change(
            *table.name, inserted=int(rows[(kinds & k.INSERT) != 0].sum()), deleted=int(rows[deleted].sum())
        )
        if not (kinds & k.FULL_ROWS).all():
            self.books.partial_images.add(table.name)
        if (deleted & ((kinds & k.CASCADES_LOGGED) == 0)).any():
            self.books.silent_cascades.add(table.name)

    def _packed(self, run: k.Table) -> None:
        """Compressed transactions: unpacked, several at a time, they are like others."""
        for first, last in _chunks(run):
            packed = run[first:last]
            unpacked = [self._unpacked(begin, end) for begin, end in packed[:, [k.T_BEGIN, k.T_END]].tolist()]
            parts, envelopes = zip(*unpacked, strict=True)
            content = np.frombuffer(b"".join(parts), dtype=np.uint8)
            table = scan_unpacked(self._log, content, parts, envelopes).table.copy()
            table[:, k.T_NUMBER] = packed[:, k.T_NUMBER]
            table[:, k.T_KIND] &= ~k.PAYLOAD
            self._envelopes = dict(zip(packed[:, k.T_NUMBER].tolist(), envelopes, strict=True))
            self._all(table, content, 0)
            self._envelopes = {}

    def _unpacked(self, begin: int, end: int) -> tuple[bytes, int]:
        """The events of a compressed transaction, without checksums, and where their envelope is."""
        parts: list[bytes] = []
        envelope = begin
        for event in self._log.events(begin, end):
            if event.type == f.TRANSACTION_PAYLOAD:
                envelope = event.position
                parts.append(self._log.unpacked(event))
            else:
                parts.append(_without_checksum(event))
        return b"".join(parts), envelope

    def _one_by_one(self, run: k.Table, data: k.Bytes, tail: int) -> None:
        for begin, end, number in run[:, [k.T_BEGIN, k.T_END, k.T_NUMBER]].tolist():
            events = tuple(events_in(data, begin, end, tail, self._envelopes.get(number)))
            pieces = self._standalone.pieces(number, self._name(number), events)
            self.row_events += sum(event.type in f.ROWS for event in events)
            self._chunk += 1
            for database, piece in pieces:
                self._streams.of(database).piece(self._chunk, piece)
            self._streams.settle()

    def _broken(self, code: int, data: k.Bytes, position: int, transaction: int) -> Exception:
        why = "a rows event without its table map" if code == k.NO_MAP else "the event does not fit its table"
        where = self._envelopes.get(transaction, position)
        return self._log.error(CorruptEvent, where, int(data[position + 4]), why)


def _without_checksum(event: Event) -> bytes:
    """An event as it stands among others without checksums: its length says so."""
    return event.data[:9] + struct.pack("<I", len(event.data)) + event.data[13:]


def _runs(values: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Where runs of equal values begin and end."""
    if values.size:
        bounds = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), values.size]
        yield from pairwise(bounds)


def _chunks(run: k.Table) -> Iterator[tuple[int, int]]:
    """Where to cut a run of transactions, so that each portion has about as many bytes as a chunk."""
    sizes = np.cumsum(run[:, k.T_END] - run[:, k.T_BEGIN])
    first = 0
    while first < len(run):
        done = int(sizes[first - 1]) if first else 0
        last = max(int(np.searchsorted(sizes, done + _CHUNK)), first + 1)
        yield first, last
        first = last
