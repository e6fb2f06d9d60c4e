"""Row images of single rows events, taken apart and put together again.

For the few rows that are looked at one by one; replay walks images in compiled loops. All events are of version 2 and
without checksum, and every image in them has every column.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from relight.binlog import format as f
from relight.binlog.reader import packed_integer
from relight.binlog.rows import TableMap, image_end

_OPPOSITE = {f.WRITE_ROWS: f.DELETE_ROWS, f.DELETE_ROWS: f.WRITE_ROWS, f.UPDATE_ROWS: f.UPDATE_ROWS}
_PACKED_TWO_BYTES = 251
"""From so many columns on, their number takes more than one byte."""


def images_of(event: bytes, table: TableMap) -> list[bytes]:
    """The images of a rows event in their order; of an update, before and after by turns."""
    body = memoryview(event)[f.HEADER_SIZE :]
    position = 8 + struct.unpack_from("<H", body, 8)[0]
    columns, position = packed_integer(body, position)
    position += (columns + 7) // 8 * (2 if event[4] == f.UPDATE_ROWS else 1)
    found = []
    while position < len(body):
        end = image_end(body, position, table.widths)
        found.append(bytes(body[position:end]))
        position = end
    return found


def columns_of(image: bytes, table: TableMap) -> list[bytes | None]:
    """The bytes of every column, the length of a value included; None where it is NULL."""
    position = (len(table.widths) + 7) // 8
    nulls = int.from_bytes(image[:position], "little")
    found: list[bytes | None] = []
    for column, width in enumerate(table.widths):
        if nulls >> column & 1:
            found.append(None)
            continue
        size = width if width >= 0 else int.from_bytes(image[position : position - width], "little") - width
        found.append(image[position : position + size])
        position += size
    return found


def image_of(columns: Sequence[bytes | None]) -> bytes:
    """The image that has these columns."""
    nulls = sum(1 << column for column, value in enumerate(columns) if value is None)
    return nulls.to_bytes((len(columns) + 7) // 8, "little") + b"".join(value for value in columns if value is not None)


def rows_event(kind: int, like: bytes, table: TableMap, images: Sequence[bytes]) -> bytes:
    """A rows event of a type with these images, by the same server and at the same time as another one.

    Nothing that it does is checked against foreign keys, or cascades.
    """
    columns = len(table.widths)
    count = bytes([columns]) if columns < _PACKED_TWO_BYTES else b"\xfc" + struct.pack("<H", columns)
    present = ((1 << columns) - 1).to_bytes((columns + 7) // 8, "little")
    body = table.table_id + struct.pack("<HH", f.STATEMENT_END | f.NO_FOREIGN_KEY_CHECKS, 2) + count
    body += present * (2 if kind == f.UPDATE_ROWS else 1) + b"".join(images)
    header = bytearray(like[: f.HEADER_SIZE])
    header[4] = kind
    struct.pack_into("<I", header, 9, f.HEADER_SIZE + len(body))
    return bytes(header) + body


def undoing(event: bytes, table: TableMap) -> bytes:
    """The rows event that takes back what another one did."""
    return rows_event(_OPPOSITE[event[4]], event, table, images_of(event, table)[::-1])
