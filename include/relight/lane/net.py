"""The net effect of many row changes on one table: what must be written so that only the end is right.

A rebuilt server is seen by nobody before it has reached its target, so row versions that are
overwritten later need not be written at all. Per primary key, what was there before and the last
after-image become one insert, one update, one delete, or nothing. Knows nothing of connections.

Keys are compared as stored bytes. That is right for every collation: a stored key changes only by
a logged change, and two rows whose keys the collation calls equal are never there at the same
time, so deleting first leaves room for every insert.

A table without a primary key is a bag of rows: of every row image it is counted how many more, or fewer,
there are at the end. Equal rows need not be told apart for that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from relight.binlog import format as f
from relight.binlog.compose import block_of, with_table_id
from relight.binlog.inner_loops import kernels as k
from relight.lane.stream import MappedTable, Rows

_EVENT_BYTES = 512 << 10
"""Aim for rows events of this size: one lookup of the table's handler per event, not per row."""
_STATEMENT_BYTES = 4 << 20
"""Aim for ``BINLOG`` statements of this size."""
_FLAGS = f.NO_FOREIGN_KEY_CHECKS
"""What cascades did is among the changes; to check or to cascade again would be wrong."""
_TABLE_NUMBER = 1
_SPARE = 2
"""Arrays that must grow are made so many times larger."""

Scalar = TypeVar("Scalar", bound=np.generic)


class NotProvable(Exception):
    """The changes are not a history that the net effect could be told from: apply them in order."""


@dataclass(frozen=True)
class NetTable:
    """What must be known of a table: the columns of its primary key (none: a bag of rows) and its
    auto-increment column (counted from 0), whether it has further unique keys, and whether automatic values may
    be negative."""

    columns: int
    key: tuple[int, ...]
    auto_increment: int | None
    more_unique_keys: bool
    signed: bool = True


class NetEffect:
    """Takes the rows events of one table, as many as there are, and keeps no more than what is left of them."""

    def __init__(self, table: NetTable, mapped: MappedTable) -> None:
        self._table = table
        self._mapped = mapped
        self._widths = np.array(mapped.map.widths, dtype=np.int64)
        self._is_key = np.zeros(len(self._widths), dtype=np.uint8)
        self._is_key[list(table.key)] = 1
        column = table.auto_increment
        counted = column is not None and 0 < self._widths[column] <= 8
        self._automatic = column if counted and column is not None else -1
        self._state = np.zeros(k.S_COLUMNS, dtype=np.int64)
        self._state[k.S_HIGHEST] = -1
        self._entries = np.empty((1024, k.N_COLUMNS), dtype=np.int64)
        self._slots = np.full(4096, -1, dtype=np.int64)
        self._arena = np.empty(1 << 16, dtype=np.uint8)
        self._highest = np.empty(0, dtype=np.uint8)
        self._like: bytes = b""

    @property
    def shape(self) -> bytes:
        """Rows of other shapes cannot be added."""
        return self._mapped.map.shape

    @property
    def keys(self) -> int:
        """How many keys, or different rows, were changed."""
        return int(self._state[k.S_ENTRIES])

    @property
    def memory(self) -> int:
        """Bytes that it holds."""
        entry = self._entries.itemsize * k.N_COLUMNS + 2 * self._slots.itemsize
        return int(self._state[k.S_USED]) + self.keys * entry

    @property
    def divisible(self) -> bool:
        """Whether parts of it can be applied at the same time: no row can be in another one's way.

        A counter that is no part of the key could bring back a row whose key another one has (see
        :meth:`_highest_unused`).
        """
        counter = self._table.auto_increment
        return bool(self._table.key) and not self._table.more_unique_keys and counter in (None, *self._table.key)

    def add(self, rows: Rows) -> None:
        """Let rows events with full images take effect. :raises NotProvable: they do not fit what came before."""
        if not rows.ends.size:
            return
        self._make_room(int(rows.counts.sum()), rows.size, int((rows.ends - rows.starts).max()))
        if not self._like:
            self._like = rows.data[rows.starts[0] : rows.starts[0] + f.HEADER_SIZE].tobytes()
        code = k.fold(
            rows.data, rows.starts, rows.ends, self._widths, self._is_key, self._automatic, self._table.signed,
            self._slots, self._entries, self._arena, self._highest, self._state,
        )  # fmt: skip
        if code != k.OK:
            raise NotProvable

    def _make_room(self, rows: int, size: int, largest: int) -> None:
        if self._automatic >= 0 and largest > self._highest.size:
            self._highest = np.concatenate([self._highest, np.empty(largest - self._highest.size, dtype=np.uint8)])
        entries = self.keys + 2 * rows
        if entries > len(self._entries):
            self._entries = _longer(self._entries, entries, self.keys)
        if 2 * entries > self._slots.size:
            self._slots = np.full(1 << (4 * entries - 1).bit_length(), -1, dtype=np.int64)
            k.rehash(self._entries, self._slots, self.keys)
        used = int(self._state[k.S_USED])
        if used + 2 * size > self._arena.size:
            if 2 * self._state[k.S_GARBAGE] > used:
                tidy = np.empty_like(self._arena)
                k.compact(self._entries, self._state, self._arena, tidy)
                self._arena, used = tidy, int(self._state[k.S_USED])
            self._arena = _longer(self._arena, used + 2 * size, used)

    def statements(self) -> list[Iterator[bytes]]:
        """Blocks of events, each to be sent as one ``BINLOG`` statement, that leave the table as all the changes
        would: deletes, then updates, then inserts."""
        gone, changed, made = self._kinds()
        return [self._statements([gone, changed, made], self._order(), counter=True)]

    def phases(self, parts: int, *, again: bool) -> list[list[Iterator[bytes]]]:
        """The same in so many parts that may be applied side by side, phase by phase: first what is gone, then the
        rest. A key that is gone and a new one may lie in different parts although the collation calls them equal.

        ``again``: some of the rows may be there as they were at another moment, so each is deleted first. Such
        events are for a session that does not mind rows which are not there.
        """
        gone, changed, made = self._kinds()
        none = np.zeros_like(gone)
        if again:
            gone, changed, made = np.ones_like(gone), none, changed + made
        portions = np.array_split(self._order(), parts)
        return [
            [self._statements([gone, none, none], portion, counter=False) for portion in portions],
            [
                self._statements([none, changed, made], portion, counter=number == 0)
                for number, portion in enumerate(portions)
            ],
        ]

    def _order(self) -> k.Longs:
        entries = self._entries[: self.keys]
        return np.lexsort((entries[:, k.N_SORT_2], entries[:, k.N_SORT]))

    def _kinds(self) -> tuple[k.Longs, k.Longs, k.Longs]:
        """For every entry, how many deletes, updates and inserts it needs."""
        state = self._entries[: self.keys, k.N_STATE]
        if not self._table.key:
            return np.maximum(-state, 0), np.zeros_like(state), np.maximum(state, 0)
        existed, exists = (state & k.EXISTED) != 0, (state & k.EXISTS) != 0
        changed = existed & exists
        if self._table.more_unique_keys:
            # Rows may have passed a unique value on among themselves: no order of updates need work.
            return existed.astype(np.int64), np.zeros_like(state), exists.astype(np.int64)
        return (existed & ~exists).astype(np.int64), changed.astype(np.int64), (exists & ~existed).astype(np.int64)

    def _statements(self, kinds: Sequence[k.Longs], order: k.Longs, *, counter: bool) -> Iterator[bytes]:
        gone, changed, made = (np.repeat(order, count[order]) for count in kinds)
        builder = _Builder(self._mapped, self._table, self._entries, self._arena, self._like)
        collected: list[bytes] = []
        size = 0
        for event in self._events(builder, gone, changed, made, counter=counter):
            if collected and size + len(event) > _STATEMENT_BYTES:
                yield block_of(builder.map, collected, _FLAGS)
                collected, size = [], 0
            collected.append(event)
            size += len(event)
        if collected:
            yield block_of(builder.map, collected, _FLAGS)

    def _events(
        self, builder: _Builder, gone: k.Longs, changed: k.Longs, made: k.Longs, *, counter: bool
    ) -> Iterator[bytes]:  # fmt: skip
        yield from builder.events(f.DELETE_ROWS, gone)
        unused = self._highest_unused() if counter else None
        if unused and unused.entry in changed:
            yield builder.event(f.UPDATE_ROWS, builder.key(unused.entry) + unused.image)
        elif unused:
            # Between deletes and inserts nobody holds its unique values: whoever did was changed too.
            yield builder.event(f.WRITE_ROWS, unused.image, all_columns=True)
            yield builder.event(f.DELETE_ROWS, unused.image, all_columns=True)
        yield from builder.events(f.UPDATE_ROWS, changed)
        yield from builder.events(f.WRITE_ROWS, made)

    def _highest_unused(self) -> _Unused | None:
        """A row that had the highest automatic value of all and lost it again, so that it is not among what is
        written: without it the server would give its value out a second time."""
        if self._automatic < 0 or self._state[k.S_HIGHEST] < 0:
            return None
        entry = int(self._state[k.S_HIGHEST_ENTRY])
        entries = self._entries[: self.keys]
        state = entries[:, k.N_STATE]
        if self._automatic in self._table.key and state[entry] & k.EXISTED:
            return None  # the value was there before, so the server knows it
        there = (state & k.EXISTS) != 0 if self._table.key else state > 0
        images = np.ascontiguousarray(entries[there, k.N_IMAGE])
        kept = k.highest_kept(self._arena, images, self._widths, self._automatic, self._table.signed)
        if kept >= self._state[k.S_HIGHEST]:
            return None
        return _Unused(entry, self._highest[: self._state[k.S_HIGHEST_SIZE]].tobytes())


def _longer(array: NDArray[Scalar], wanted: int, used: int) -> NDArray[Scalar]:
    longer = np.empty((wanted * _SPARE, *array.shape[1:]), dtype=array.dtype)
    longer[:used] = array[:used]
    return longer


@dataclass(frozen=True)
class _Unused:
    """What a row was like when it had an automatic value that no row has at the end."""

    entry: int
    image: bytes


class _Builder:
    """Makes rows events (version 2) of one table from entries of the net effect.

    A row that is deleted or updated is named by its primary key alone, as with ``binlog_row_image=MINIMAL``.
    """

    def __init__(self, mapped: MappedTable, table: NetTable, entries: k.Table, arena: k.Bytes, like: bytes) -> None:
        self.map = with_table_id(mapped.event, _TABLE_NUMBER)
        self._entries = entries
        self._arena = arena
        self._timestamp, _, self._server_id, _, _, _ = f.HEADER.unpack_from(like)
        columns = len(mapped.map.widths)
        self._columns = _packed(columns)
        self._all = b"\xff" * ((columns + 7) // 8)
        bits = sum(1 << column for column in table.key)
        self._key = bits.to_bytes((columns + 7) // 8, "little") if bits else self._all
        # Without a key an entry's key is the whole image, null bitmap included.
        self._nulls = (len(table.key) + 7) // 8

    def events(self, kind: int, chosen: k.Longs) -> Iterator[bytes]:
        """Events of one kind for the chosen entries."""
        if not chosen.size:
            return
        key, image = kind != f.WRITE_ROWS, kind != f.DELETE_ROWS
        sizes = key * (self._nulls + self._entries[chosen, k.N_KEY_SIZE]) + image * self._entries[chosen, k.N_SIZE]
        ends = np.cumsum(sizes)
        first = 0
        while first < chosen.size:
            limit = (int(ends[first - 1]) if first else 0) + _EVENT_BYTES
            last = max(int(np.searchsorted(ends, limit, side="right")), first + 1)
            content = np.empty(int(sizes[first:last].sum()), dtype=np.uint8)
            k.put_rows(self._arena, self._entries, chosen[first:last], self._nulls, key, image, content)
            yield self.event(kind, content.tobytes())
            first = last

    def key(self, entry: int) -> bytes:
        """What names the row of an entry: its key, as a row image that has nothing else."""
        start, size = self._entries[entry, [k.N_KEY, k.N_KEY_SIZE]].tolist()
        return bytes(self._nulls) + self._arena[start : start + size].tobytes()

    def event(self, kind: int, content: bytes, *, all_columns: bool = False) -> bytes:
        """One event with these rows."""
        key = self._all if all_columns else self._key
        present = {f.DELETE_ROWS: key, f.UPDATE_ROWS: key + self._all, f.WRITE_ROWS: self._all}[kind]
        head = _TABLE_NUMBER.to_bytes(6, "little") + struct.pack("<HH", _FLAGS, 2) + self._columns + present
        size = f.HEADER_SIZE + len(head) + len(content)
        return f.HEADER.pack(self._timestamp, kind, self._server_id, size, 0, 0) + head + content


def _packed(number: int) -> bytes:
    return bytes([number]) if number < 251 else b"\xfc" + struct.pack("<H", number)
