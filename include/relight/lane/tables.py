"""Learns the tables of a binary log, so that the compiled loops know them by number."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from relight.binlog import format as f
from relight.binlog.rows import TableMap, read_table_map
from relight.lane.stream import MappedTable

_IDS = 1 << 12


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
        self._numbers: list[int] = []
        self._maps = bytearray()
        self._known: list[tuple[int, int, int, int, int]] = []
        self._widths: list[int] = []
        self.ids: NDArray[np.int64] = np.full(_IDS, -1, dtype=np.int64)
        self.variants: NDArray[np.int64] = np.zeros(_IDS, dtype=np.int64)
        self.mapped: NDArray[np.int64] = np.full(_IDS, -1, dtype=np.int64)
        self._ids_used = 0
        self._refresh()

    def learn(self, event: bytes) -> TableMap:
        """Register a table map event (without checksum). :raises ValueError, IndexError, struct.error: malformed."""
        body = memoryview(event)[f.HEADER_SIZE :]
        content = bytes(body[6:])
        variant = self._of_bytes.get(content)
        if variant is None:
            variant = self._add(read_table_map(body), event, content)
        table_id = int.from_bytes(body[:6], "little")
        if self._ids_used * 2 >= self.ids.size:
            self._make_room()
        at = self._spot(table_id)
        self._ids_used += self.ids[at] < 0
        self.ids[at], self.variants[at], self.mapped[at] = table_id, variant, -1
        return self.slots[self._known[variant][2]].map

    def _spot(self, table_id: int) -> int:
        """Where a table id is, or belongs (as ``kernels._find_id`` looks for it)."""
        last = self.ids.size - 1
        at = (table_id * 0x9E3779B1) & last
        while self.ids[at] not in (-1, table_id):
            at = (at + 1) & last
        return at

    def _make_room(self) -> None:
        """Twice as many ids: one transaction may change more tables than there was room for."""
        known = [column[self.ids >= 0] for column in (self.ids, self.variants, self.mapped)]
        self.ids, self.variants, self.mapped = (
            np.full(2 * self.ids.size, empty, dtype=np.int64) for empty in (-1, 0, -1)
        )
        for table_id, variant, mapped in zip(*(column.tolist() for column in known), strict=True):
            at = self._spot(table_id)
            self.ids[at], self.variants[at], self.mapped[at] = table_id, variant, mapped

    def _add(self, table: TableMap, event: bytes, content: bytes) -> int:
        slot = self._of_shape.get(table.shape)
        if slot is None:
            slot = self._of_shape[table.shape] = len(self.slots)
            self.slots.append(MappedTable(table, event))
            self._numbers.append(self._of_name.setdefault((table.database, table.table), len(self._of_name)))
        start, first = len(self._maps), len(self._widths)
        self._maps += content
        self._widths += table.widths
        self._known.append((start, len(self._maps), slot, first, len(self._widths)))
        self._of_bytes[content] = len(self._known) - 1
        self._refresh()
        return len(self._known) - 1

    def _refresh(self) -> None:
        self.maps = np.frombuffer(bytes(self._maps), dtype=np.uint8)
        self.known = np.array(self._known, dtype=np.int64).reshape(-1, 5)
        self.widths = np.array(self._widths, dtype=np.int64)
        self.numbers = np.array(self._numbers, dtype=np.int64)


def header_length(data: NDArray[np.uint8], position: int) -> int:
    """The length of the event at ``position``, as its header says."""
    (length,) = struct.unpack("<I", data[position + 9 : position + 13].tobytes())
    return int(length)
