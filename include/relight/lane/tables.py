"""Learns the tables of a binary log, so that the compiled loops know them by number."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relight.binlog import format as f
from relight.binlog.rows import TableMap, read_table_map
from relight.lane.stream import MappedTable

_IDS = 1 << 10
"""Room for table ids to begin with."""
_BEHIND_FLAGS = 8
"""A table's flags change from statement to statement; nothing of what is read here depends on them."""


class _Growing:
    """An array that grows at its end; making a new one for each of many thousand tables would take minutes."""

    def __init__(self, empty: NDArray[Any]) -> None:
        self._room = empty
        self._size = 0

    def add(self, values: NDArray[Any]) -> None:
        """Put values behind the others."""
        end = self._size + len(values)
        if end > len(self._room):
            longer = np.empty((2 * end, *self._room.shape[1:]), dtype=self._room.dtype)
            longer[: self._size] = self._room[: self._size]
            self._room = longer
        self._room[self._size : end] = values
        self._size = end

    def __len__(self) -> int:
        return self._size

    @property
    def array(self) -> NDArray[Any]:
        """All there is, as long as nothing is added."""
        return self._room[: self._size]


class LogTables:
    """The table maps met so far.

    A *slot* is a table whose rows are read alike; a *number* is a table's name: rows of one number keep their
    order even where its definition changes. A *variant* is a table map as it is in the log, byte by byte.
    """

    def __init__(self) -> None:
        self.slots: list[MappedTable] = []
        self._of_shape: dict[bytes, int] = {}
        self._of_bytes: dict[bytes, int] = {}
        self._of_name: dict[tuple[str, str], int] = {}
        self._numbers = _Growing(np.empty(0, dtype=np.int64))
        self._maps = _Growing(np.empty(0, dtype=np.uint8))
        self._known = _Growing(np.empty((0, 5), dtype=np.int64))
        self._widths = _Growing(np.empty(0, dtype=np.int64))
        self.ids: NDArray[np.int64] = np.full(_IDS, -1, dtype=np.int64)
        self.variants: NDArray[np.int64] = np.zeros(_IDS, dtype=np.int64)
        self.mapped: NDArray[np.int64] = np.full(_IDS, -1, dtype=np.int64)
        self._ids_used = 0

    @property
    def maps(self) -> NDArray[np.uint8]:
        """The bytes of every variant, one behind the other."""
        return self._maps.array

    @property
    def known(self) -> NDArray[np.int64]:
        """A row for each variant: where its bytes are, its slot, where its column widths are."""
        return self._known.array

    @property
    def widths(self) -> NDArray[np.int64]:
        """The column widths of every variant, one behind the other."""
        return self._widths.array

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The number of each slot's table."""
        return self._numbers.array

    def learn(self, event: bytes) -> TableMap:
        """Register a table map event (without checksum). :raises ValueError, IndexError, struct.error: malformed."""
        body = memoryview(event)[f.HEADER_SIZE :]
        content = bytes(body[_BEHIND_FLAGS:])
        variant = self._of_bytes.get(content)
        if variant is None:
            variant = self._add(read_table_map(body), event, content)
        table_id = int.from_bytes(body[:6], "little")
        if self._ids_used * 2 >= self.ids.size:
            self._make_room()
        at = self._spot(table_id)
        self._ids_used += int(self.ids[at] < 0)
        self.ids[at], self.variants[at], self.mapped[at] = table_id, variant, -1
        return self.slots[int(self.known[variant, 2])].map

    def _spot(self, table_id: int) -> int:
        """Where a table id is in the hash table, or where it would be put: as the compiled loops look for it."""
        at = (table_id * 0x9E3779B1) & (self.ids.size - 1)
        while self.ids[at] not in (-1, table_id):
            at = (at + 1) & (self.ids.size - 1)
        return at

    def _make_room(self) -> None:
        """A transaction may change any number of tables, and all of them must be known at once."""
        ids, variants, mapped = self.ids, self.variants, self.mapped
        self.ids, self.variants, self.mapped = (np.full(2 * ids.size, -1, dtype=np.int64) for _ in range(3))
        for old in np.flatnonzero(ids >= 0).tolist():
            at = self._spot(int(ids[old]))
            self.ids[at], self.variants[at], self.mapped[at] = ids[old], variants[old], mapped[old]

    def _add(self, table: TableMap, event: bytes, content: bytes) -> int:
        slot = self._of_shape.get(table.shape)
        if slot is None:
            slot = self._of_shape[table.shape] = len(self.slots)
            self.slots.append(MappedTable(table, event))
            number = self._of_name.setdefault((table.database, table.table), len(self._of_name))
            self._numbers.add(np.array([number]))
        start, first = len(self._maps), len(self._widths)
        self._maps.add(np.frombuffer(content, dtype=np.uint8))
        self._widths.add(np.array(table.widths, dtype=np.int64))
        self._known.add(np.array([[start, len(self._maps), slot, first, len(self._widths)]]))
        variant = self._of_bytes[content] = len(self._known) - 1
        return variant


def header_length(data: NDArray[np.uint8], position: int) -> int:
    """The length of the event at ``position``, as its header says."""
    (length,) = struct.unpack("<I", data[position + 9 : position + 13].tobytes())
    return int(length)
