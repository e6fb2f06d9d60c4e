"""Table maps and rows events: which table, how many rows. Rows are walked, never decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from relight.binlog import format as f
from relight.binlog.reader import packed_integer

_FIXED = {
    f.T_TINY: 1, f.T_SHORT: 2, f.T_INT24: 3, f.T_LONG: 4, f.T_LONGLONG: 8, f.T_FLOAT: 4, f.T_DOUBLE: 8, f.T_YEAR: 1,
    f.T_DATE: 3, f.T_NEWDATE: 3, f.T_TIME: 3, f.T_TIMESTAMP: 4, f.T_DATETIME: 8, f.T_NULL: 0, f.T_BOOL: 1,
}  # fmt: skip
_BLOBS = frozenset(
    {f.T_TINY_BLOB, f.T_MEDIUM_BLOB, f.T_LONG_BLOB, f.T_BLOB, f.T_JSON, f.T_GEOMETRY, f.T_VECTOR}
)  # fmt: skip
_TWO_BYTES = frozenset({f.T_STRING, f.T_ENUM, f.T_SET, f.T_NEWDECIMAL, f.T_VARCHAR, f.T_VAR_STRING, f.T_BIT})
_ONE_BYTE = _BLOBS | {f.T_FLOAT, f.T_DOUBLE, f.T_TIMESTAMP2, f.T_DATETIME2, f.T_TIME2}
_FRACTION = {f.T_TIMESTAMP2: 4, f.T_DATETIME2: 5, f.T_TIME2: 3}
_LONGEST_LENGTH = 4
"""Bytes that the length of a value takes at most."""
_DIGITS = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
"""Bytes that 0 to 9 decimal digits take (decimal2bin in the server)."""


@dataclass(frozen=True, slots=True)
class TableMap:
    """What a table map event says. ``widths`` has one entry per column: n >= 0 is a fixed number of
    bytes, -n a value that begins with its length in n bytes."""

    table_id: bytes
    database: str
    table: str
    widths: tuple[int, ...]
    shape: bytes
    """Names, types and all that belongs to them, such as the length of a VECTOR: equal for tables whose rows are
    written and read alike."""
    types_end: int
    """How many bytes of it stand in front of the null bits and of what is optional."""


def read_table_map(body: memoryview) -> TableMap:
    """Decode a table map event. :raises ValueError, IndexError, struct.error: it is malformed."""
    position = 8
    database, position = _name(body, position)
    table, position = _name(body, position)
    columns, position = packed_integer(body, position)
    if not columns:
        raise ValueError("a table without columns")
    types = body[position : position + columns]
    _, position = packed_integer(body, position + columns)
    widths = []
    for kind in types:
        width, position = _width(kind, body, position)
        widths.append(width)
    return TableMap(bytes(body[:6]), database, table, tuple(widths), bytes(body[8:]), position - 8)


def count_rows(event_type: int, body: memoryview, table: TableMap) -> int:
    """How many rows an insert or delete event holds. :raises ValueError: it does not fit the table."""
    position = 8
    if event_type not in f.ROWS_V1:
        position += struct.unpack_from("<H", body, 8)[0]
    columns, position = packed_integer(body, position)
    if columns != len(table.widths):
        raise ValueError(f"{columns} columns in the rows, {len(table.widths)} in the table")
    present_bytes = (columns + 7) // 8
    present = int.from_bytes(body[position : position + present_bytes], "little")
    position += present_bytes
    widths = [w for i, w in enumerate(table.widths) if present >> i & 1]
    if not widths and position == len(body):
        # A row of default values only has no column in a minimal image. The server gives each an event.
        return 1
    return _walk(body[position:], widths)


def _walk(body: memoryview, widths: Sequence[int]) -> int:
    """How many images with columns of these widths there are, one behind the other."""
    if not widths:
        raise ValueError("rows without columns")
    rows, position, end = 0, 0, len(body)
    while position < end:
        position = image_end(body, position, widths)
        rows += 1
    if position != end:
        raise ValueError("the last row goes beyond the event")
    return rows


def image_end(body: memoryview, position: int, widths: Sequence[int]) -> int:
    """Where the image ends that begins at a position and has columns of these widths."""
    null_bytes = (len(widths) + 7) // 8
    nulls = int.from_bytes(body[position : position + null_bytes], "little")
    position += null_bytes
    for width in widths:
        if not nulls & 1:
            if width >= 0:
                position += width
            else:
                position += int.from_bytes(body[position : position - width], "little") - width
        nulls >>= 1
    return position


def one_row_each(event_type: int, body: memoryview, table: TableMap) -> Iterator[bytes]:
    """The bodies of update events with one row each, which together do what this one does."""
    position = 8
    if event_type not in f.ROWS_V1:
        position += struct.unpack_from("<H", body, 8)[0]
    columns, position = packed_integer(body, position)
    size = (columns + 7) // 8
    images = []
    for bitmap in (body[position : position + size], body[position + size : position + 2 * size]):
        present = int.from_bytes(bitmap, "little")
        images.append([width for i, width in enumerate(table.widths) if present >> i & 1])
    head = bytes(body[: position + 2 * size])
    position = len(head)
    while position < len(body):
        end = position
        for widths in images:
            end = image_end(body, end, widths)
        yield head + body[position:end]
        position = end


def flags(body: memoryview) -> int:
    """The flags of a rows event."""
    return int(struct.unpack_from("<H", body, 6)[0])


def table_id(body: memoryview) -> bytes:
    """The six bytes that tie a rows event to its table map."""
    return bytes(body[:6])


def _name(body: memoryview, position: int) -> tuple[str, int]:
    length = body[position]
    return bytes(body[position + 1 : position + 1 + length]).decode("utf-8"), position + length + 2


def _width(kind: int, body: memoryview, position: int) -> tuple[int, int]:
    if kind in _TWO_BYTES:
        return _two_byte_width(kind, body[position], body[position + 1]), position + 2
    if kind in _ONE_BYTE:
        meta = body[position]
        if kind in _BLOBS:
            if not 1 <= meta <= _LONGEST_LENGTH:
                raise ValueError(f"a length of {meta} bytes")
            return -meta, position + 1
        if kind in _FRACTION:
            return _FRACTION[kind] + (meta + 1) // 2, position + 1
        return _FIXED[kind], position + 1
    if kind in _FIXED:
        return _FIXED[kind], position
    raise ValueError(f"unknown column type {kind}")


def _two_byte_width(kind: int, first: int, second: int) -> int:
    if kind in (f.T_VARCHAR, f.T_VAR_STRING):
        return -1 if first | second << 8 < 256 else -2
    if kind == f.T_BIT:
        return second + (1 if first else 0)
    if kind == f.T_NEWDECIMAL:
        if second > first:
            raise ValueError(f"{second} of {first} digits behind the point")
        whole, fraction = first - second, second
        return whole // 9 * 4 + _DIGITS[whole % 9] + fraction // 9 * 4 + _DIGITS[fraction % 9]
    # A string's first byte holds its real type and, in two inverted bits, bits 8 and 9 of its length.
    real = first | 0x30
    length = second | ((first & 0x30) ^ 0x30) << 4
    if real in (f.T_ENUM, f.T_SET):
        return second
    return -1 if length < 256 else -2
