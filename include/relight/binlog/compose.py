"""Composes what a server is sent: rows events of many transactions, merged into few statements.

The rows events of one ``BINLOG`` statement are applied as one: all its tables are opened at the first
rows event, so every table map stands before them, under a table id of its own, and only the
last rows event carries the statement-end flag.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from relight.binlog import format as f
from relight.binlog.rows import TableMap, flags


class Composer:
    """Takes rows events in order and gives blocks of events, each to be sent as one ``BINLOG``.

    A block ends where its size would pass ``limit`` bytes, or where the flags change: they hold
    for the whole statement (foreign key and unique checks, see ``Rows_log_event``).
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._maps: dict[bytes, tuple[int, bytes]] = {}
        self._rows: list[bytearray] = []
        self._size = 0
        self._flags = 0
        self._ready: list[bytes] = []

    def add(self, table: TableMap, map_event: bytes, rows_event: bytes) -> None:
        """One rows event and the table map it belongs to (both without checksum)."""
        its_flags = flags(memoryview(rows_event)[f.HEADER_SIZE :]) & ~f.STATEMENT_END
        if its_flags & f.USE_SQL_FOREIGN_KEY:
            # Its source has checked the keys, and logged what cascades did, ahead of their cause. To check again
            # would refuse a parent key that changes in case only (1451), as the server's own replicas do.
            its_flags |= f.NO_FOREIGN_KEY_CHECKS
        if self._rows and (its_flags != self._flags or self._size + len(rows_event) > self._limit):
            self._close()
        self._flags = its_flags
        known = self._maps.get(table.identity)
        if known is None:
            number = len(self._maps) + 1
            known = (number, bytes(_with_table_id(map_event, number)))
            self._maps[table.identity] = known
            self._size += len(map_event)
        self._rows.append(_with_table_id(rows_event, known[0]))
        self._size += len(rows_event)

    def take(self) -> list[bytes]:
        """Everything composed so far; the composer is empty afterwards."""
        self._close()
        ready, self._ready = self._ready, []
        return ready

    def _close(self) -> None:
        if not self._rows:
            return
        for event in self._rows:
            _set_flags(event, self._flags)
        _set_flags(self._rows[-1], self._flags | f.STATEMENT_END)
        self._ready.append(b"".join([*(data for _, data in self._maps.values()), *self._rows]))
        self._maps, self._rows, self._size = {}, [], 0


def _with_table_id(event: bytes, number: int) -> bytearray:
    changed = bytearray(event)
    # The length in the header still counts the checksum that was cut off.
    struct.pack_into("<I", changed, 9, len(event))
    changed[f.HEADER_SIZE : f.HEADER_SIZE + 6] = number.to_bytes(6, "little")
    return changed


def _set_flags(event: bytearray, value: int) -> None:
    struct.pack_into("<H", event, f.HEADER_SIZE + 6, value)


def as_log_file(format_description: bytes, events: Iterable[bytes]) -> bytes:
    """A binary log file of the given events, for ``mysqlbinlog`` to read."""
    return b"".join([f.MAGIC, format_description, *_relocated(format_description, events)])


def _relocated(format_description: bytes, events: Iterable[bytes]) -> Iterator[bytes]:
    position = len(f.MAGIC) + len(format_description)
    for event in events:
        changed = bytearray(event)
        position += len(event)
        struct.pack_into("<II", changed, 9, len(event), position)
        yield bytes(changed)
