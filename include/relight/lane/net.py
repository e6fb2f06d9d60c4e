"""The net effect of many row changes on one table: what must be written so that only the end is right.

A rebuilt server is seen by nobody before it has reached its target, so row versions that are
overwritten later need not be written at all. Per primary key, the first before-image and the
last after-image become one insert, one update, one delete, or nothing. Knows nothing of connections.

Keys are compared as stored bytes. That is right for every collation: a stored key changes only by
a logged change, and two rows whose keys the collation calls equal are never there at the same
time, so deleting first leaves room for every insert.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relight.binlog import format as f
from relight.binlog import kernels
from relight.binlog.reader import packed_integer
from relight.binlog.rows import TableMap, flags

_EVENT_BYTES = 512 << 10
"""Aim for rows events of this size: one lookup of the table's handler per event, not per row."""
_KINDS = {
    **dict.fromkeys(f.INSERTS, kernels.INSERT),
    **dict.fromkeys(f.UPDATES - {f.PARTIAL_UPDATE_ROWS}, kernels.UPDATE),
    **dict.fromkeys(f.DELETES, kernels.DELETE),
}
_IRRELEVANT_FLAGS = f.STATEMENT_END | f.NO_FOREIGN_KEY_CHECKS | f.USE_SQL_FOREIGN_KEY | 0x08
"""Flags that say nothing about a row's content: the last one only says that images are complete."""

Longs = NDArray[np.int64]


@dataclass(frozen=True)
class NetTable:
    """What must be known of a table: the columns of its primary key and its auto-increment column (counted
    from 0), and whether it has further unique keys."""

    columns: int
    key: tuple[int, ...]
    auto_increment: int | None
    more_unique_keys: bool


@dataclass(frozen=True)
class _Rows:
    """The row images of a run of events, in one array."""

    data: NDArray[np.uint8]
    starts: Longs
    ends: Longs
    kinds: Longs
    widths: Longs


def net_effect(table: NetTable, mapped: TableMap, events: Sequence[bytes]) -> list[bytes] | None:
    """Rows events that leave the table as ``events`` would: deletes, then updates, then inserts.

    None where that cannot be proved for these events (partial images, unusual flags, a broken
    row): they must be applied in order, which tells what is wrong with them.
    """
    if table.columns != len(mapped.widths):
        return None
    rows = _collect(mapped, events)
    if rows is None:
        return None
    changes = _changes(table, rows)
    if changes is None:
        return None
    return list(_compose(table, mapped, rows, changes, events[0]))


def _collect(mapped: TableMap, events: Sequence[bytes]) -> _Rows | None:
    parts, starts, ends, kinds = [], [], [], []
    size = 0
    for event in events:
        start = _rows_start(mapped, event)
        if start is None:
            return None
        parts.append(memoryview(event)[start:])
        starts.append(size)
        size += len(event) - start
        ends.append(size)
        kinds.append(_KINDS[event[4]])
    data = np.frombuffer(b"".join(parts), dtype=np.uint8)
    return _Rows(data, _longs(starts), _longs(ends), _longs(kinds), _longs(mapped.widths))


def _rows_start(mapped: TableMap, event: bytes) -> int | None:
    """Where the row images begin; None when the event's images are not full, or it has unusual flags."""
    kind = event[4]
    if kind not in _KINDS:
        return None
    body = memoryview(event)[f.HEADER_SIZE :]
    if flags(body) & ~_IRRELEVANT_FLAGS:
        return None
    position = 8
    if kind not in f.ROWS_V1:
        (extra,) = struct.unpack_from("<H", body, 8)
        if extra != 2:  # partition numbers and the like: nothing that a net effect could keep
            return None
        position += extra
    columns, position = packed_integer(body, position)
    if columns != len(mapped.widths):
        return None
    for _ in range(2 if _KINDS[kind] == kernels.UPDATE else 1):
        bitmap = body[position : position + (columns + 7) // 8]
        if int.from_bytes(bitmap, "little") & ((1 << columns) - 1) != (1 << columns) - 1:
            return None
        position += (columns + 7) // 8
    return f.HEADER_SIZE + position


@dataclass(frozen=True)
class _Changes:
    """Per key: where its first before-image and its last after-image begin (-1: none), and its sort numbers;
    ``highest``: an after-image with the highest auto-increment value that must have been there, or -1."""

    before: Longs
    after: Longs
    sort: NDArray[np.uint64]
    highest: int


def _changes(table: NetTable, rows: _Rows) -> _Changes | None:
    is_key = np.zeros(len(rows.widths), dtype=np.uint8)
    is_key[list(table.key)] = 1
    count = kernels.count_rows(rows.data, rows.starts, rows.ends, rows.kinds, rows.widths)
    if count <= 0:
        return None
    befores, afters = np.empty(2 * count, np.int64), np.empty(2 * count, np.int64)
    keys = np.empty((2 * count, 3), np.uint64)
    size = kernels.list_changes(
        rows.data, rows.starts, rows.ends, rows.kinds, rows.widths, is_key, befores, afters, keys
    )
    befores, afters, keys = befores[:size], afters[:size], keys[:size]
    order = np.argsort(keys[:, 0], kind="stable")
    before, after, entry = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
    found = kernels.fold(rows.data, order, befores, afters, keys, rows.widths, is_key, before, after, entry)
    if found < 0:
        return None
    before, after, entry = before[:found], after[:found], entry[:found]
    return _Changes(before, after, keys[entry], _highest(table, rows, afters, after))


def _highest(table: NetTable, rows: _Rows, every: Longs, kept: Longs) -> int:
    """An inserted and deleted row that had the highest auto-increment value of all: without it the server
    would give that value out a second time."""
    column = table.auto_increment
    if column is None or not 0 < rows.widths[column] <= 8:
        return -1
    numbers = kernels.numbers_in(rows.data, every, rows.widths, column)
    at = int(np.argmax(numbers))
    remaining = kernels.numbers_in(rows.data, kept, rows.widths, column)
    return int(every[at]) if numbers[at] > remaining.max(initial=-1) else -1


def _compose(table: NetTable, mapped: TableMap, rows: _Rows, changes: _Changes, like: bytes) -> Iterator[bytes]:
    before, after = changes.before, changes.after
    before_sizes = kernels.image_lengths(rows.data, before, rows.widths)
    after_sizes = kernels.image_lengths(rows.data, after, rows.widths)
    both = (before >= 0) & (after >= 0)
    unchanged = np.zeros(before.size, dtype=bool)
    unchanged[both] = kernels.same_bytes(
        rows.data, before[both], after[both], before_sizes[both], after_sizes[both]
    ).astype(bool)
    changed = both & ~unchanged
    gone, made = (before >= 0) & (after < 0), (before < 0) & (after >= 0)
    if table.more_unique_keys:
        # Rows may have passed a unique value on among themselves: no order of updates need work.
        gone, made, changed = gone | changed, made | changed, np.zeros_like(changed)
    sort = np.lexsort((changes.sort[:, 2], changes.sort[:, 1]))

    def chosen(which: NDArray[np.bool_]) -> Longs:
        return sort[which[sort]]

    builder = _EventBuilder(mapped, rows, like)
    yield from builder.events(f.DELETE_ROWS, [(before, before_sizes)], chosen(gone))
    if changes.highest >= 0:
        one = _longs([changes.highest])
        size = kernels.image_lengths(rows.data, one, rows.widths)
        # Between deletes and inserts nobody holds its unique values: whoever did was changed in this batch.
        yield from builder.events(f.WRITE_ROWS, [(one, size)], _longs([0]))
        yield from builder.events(f.DELETE_ROWS, [(one, size)], _longs([0]))
    yield from builder.events(f.UPDATE_ROWS, [(before, before_sizes), (after, after_sizes)], chosen(changed))
    yield from builder.events(f.WRITE_ROWS, [(after, after_sizes)], chosen(made))


class _EventBuilder:
    """Makes rows events (version 2) with full images of one table."""

    def __init__(self, mapped: TableMap, rows: _Rows, like: bytes) -> None:
        self._rows = rows
        self._columns = len(mapped.widths)
        self._table_id = mapped.table_id
        self._timestamp, _, self._server_id, _, _, _ = f.HEADER.unpack_from(like)
        self._flags = flags(memoryview(like)[f.HEADER_SIZE :]) & ~f.STATEMENT_END

    def events(self, kind: int, images: Sequence[tuple[Longs, Longs]], chosen: Longs) -> Iterator[bytes]:
        """Events of one kind with the chosen rows, each row's images one behind the other."""
        if not chosen.size:
            return
        starts = np.stack([at[chosen] for at, _ in images], axis=1)
        sizes = np.stack([size[chosen] for _, size in images], axis=1)
        ends = np.cumsum(sizes.sum(axis=1))
        first = 0
        while first < chosen.size:
            limit = (int(ends[first - 1]) if first else 0) + _EVENT_BYTES
            last = max(int(np.searchsorted(ends, limit, side="right")), first + 1)
            yield self._event(kind, len(images), starts[first:last].ravel(), sizes[first:last].ravel())
            first = last

    def _event(self, kind: int, images: int, starts: Longs, sizes: Longs) -> bytes:
        content = np.empty(int(sizes.sum()), dtype=np.uint8)
        kernels.gather(self._rows.data, starts, sizes, content)
        full = bytearray(b"\xff" * ((self._columns + 7) // 8))
        head = self._table_id + struct.pack("<HH", self._flags, 2) + _packed(self._columns) + bytes(full) * images
        size = f.HEADER_SIZE + len(head) + content.size
        return f.HEADER.pack(self._timestamp, kind, self._server_id, size, 0, 0) + head + content.tobytes()


def _packed(number: int) -> bytes:
    return bytes([number]) if number < 251 else b"\xfc" + struct.pack("<H", number)


def _longs(values: Sequence[int]) -> Longs:
    return np.asarray(values, dtype=np.int64)
