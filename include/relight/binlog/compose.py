"""Composes what a server is sent: table maps and rows events.

The rows events of one ``BINLOG`` statement are applied as one: all its tables are opened at the first
rows event, so every table map stands before them, under a table id of its own, and only the
last rows event carries the statement-end flag. Its other flags hold for the whole statement
(foreign key and unique checks, see ``Rows_log_event``).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from relight.binlog import format as f

_FLAGS_AT = f.HEADER_SIZE + 6
_OF_VERSION_2 = {
    f.WRITE_ROWS_V1: f.WRITE_ROWS, f.UPDATE_ROWS_V1: f.UPDATE_ROWS, f.DELETE_ROWS_V1: f.DELETE_ROWS,
}  # fmt: skip
_NO_EXTRA = struct.pack("<H", 2)
"""The length of a rows event's extra information, itself included."""


def with_table_id(event: bytes, number: int) -> bytes:
    """A table map or rows event under another table id."""
    changed = bytearray(event)
    # The length in the header still counts the checksum that was cut off.
    struct.pack_into("<I", changed, 9, len(event))
    changed[f.HEADER_SIZE : _FLAGS_AT] = number.to_bytes(6, "little")
    return bytes(changed)


def of_version_2(event: bytes) -> bytes:
    """A rows event as new servers take it in a ``BINLOG`` statement (the obvious twin of ``kernels.copy_events``)."""
    kind = _OF_VERSION_2.get(event[4])
    if kind is None:
        return event
    return event[:4] + bytes([kind]) + event[5 : _FLAGS_AT + 2] + _NO_EXTRA + event[_FLAGS_AT + 2 :]


def block_of(table_map: bytes, events: Sequence[bytes], flags: int) -> bytes:
    """One ``BINLOG`` statement's worth: rows events of one table that have ``flags``, the last one ending it."""
    *others, last = events
    ending = last[:_FLAGS_AT] + struct.pack("<H", flags | f.STATEMENT_END) + last[_FLAGS_AT + 2 :]
    return b"".join([table_map, *others, ending])


def alone(table_map: bytes, rows_event: bytes) -> bytes:
    """One rows event with its table map, as a ``BINLOG`` statement of its own."""
    (flags,) = struct.unpack_from("<H", rows_event, _FLAGS_AT)
    flags &= ~f.STATEMENT_END
    if flags & f.USE_SQL_FOREIGN_KEY:
        # Its source has checked the keys and logged what cascades did (see kernels.put_events).
        flags |= f.NO_FOREIGN_KEY_CHECKS
    return block_of(with_table_id(table_map, 1), [with_table_id(rows_event, 1)], flags)
