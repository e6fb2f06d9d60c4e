"""Events made up for tests: tables of any shape, rows events, whole log files. No server is needed."""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relight.binlog import format as f
from relight.binlog.rows import read_table_map
from relight.lane.stream import MappedTable, Rows

Value = bytes | None
"""A column's bytes without their length; None is NULL."""
Image = tuple[Value, ...]
Row = tuple[Image, ...]
"""One image for an insert or a delete, two for an update."""

CASCADES_LOGGED = f.USE_SQL_FOREIGN_KEY
SOURCE = uuid.UUID("3e11fa47-71ca-11e1-9e33-c80aa9429562")


@dataclass(frozen=True)
class Made:
    """A table. ``widths`` as everywhere: n >= 0 is a fixed number of bytes, -n a value behind a length of n bytes."""

    widths: tuple[int, ...]
    key: tuple[int, ...] = ()
    name: str = "t"
    database: str = "d"

    def map_event(self, number: int = 1) -> bytes:
        """A table map event: BIT columns where the width is fixed, BLOBs where it is not."""
        types = bytes(f.T_BIT if width >= 0 else f.T_BLOB for width in self.widths)
        meta = b"".join(bytes([0, width]) if width >= 0 else bytes([-width]) for width in self.widths)
        names = b"".join(struct.pack("B", len(n)) + n + b"\0" for n in (self.database.encode(), self.name.encode()))
        columns = len(self.widths)
        body = number.to_bytes(6, "little") + b"\1\0" + names + packed(columns) + types
        return event(f.TABLE_MAP, body + packed(len(meta)) + meta + b"\xff" * ((columns + 7) // 8))

    def mapped(self, number: int = 1) -> MappedTable:
        """The same as the streams have it."""
        whole = self.map_event(number)
        return MappedTable(read_table_map(memoryview(whole)[f.HEADER_SIZE :]), whole)

    def image(self, values: Image, present: Sequence[int] | None = None) -> bytes:
        """A row image with all columns, or with some."""
        chosen = range(len(self.widths)) if present is None else present
        nulls, content = 0, b""
        for bit, column in enumerate(chosen):
            value, width = values[column], self.widths[column]
            if value is None:
                nulls |= 1 << bit
            else:
                assert width < 0 or len(value) == width
                content += value if width >= 0 else len(value).to_bytes(-width, "little") + value
        return nulls.to_bytes((len(chosen) + 7) // 8, "little") + content

    def rows_event(
        self, kind: int, rows: Iterable[Row], *, number: int = 1, flags: int = CASCADES_LOGGED, extra: bytes = b"",
        present: Sequence[int] | None = None,
    ) -> bytes:  # fmt: skip
        """A rows event; an update's rows are pairs of images."""
        columns = len(self.widths)
        bits = sum(1 << column for column in (range(columns) if present is None else present))
        bitmap = bits.to_bytes((columns + 7) // 8, "little") * (2 if kind in f.UPDATES else 1)
        body = number.to_bytes(6, "little") + struct.pack("<H", flags)
        if kind not in f.ROWS_V1:
            body += struct.pack("<H", 2 + len(extra)) + extra
        images = (self.image(image, present) for row in rows for image in row)
        return event(kind, body + packed(columns) + bitmap + b"".join(images))


def event(kind: int, body: bytes, *, timestamp: int = 1_760_000_000, flags: int = 0) -> bytes:
    """An event without checksum."""
    return f.HEADER.pack(timestamp, kind, 1, f.HEADER_SIZE + len(body), 0, flags) + body


def packed(number: int) -> bytes:
    """A length-encoded integer."""
    if number < 251:
        return bytes([number])
    return b"\xfc" + struct.pack("<H", number) if number < 1 << 16 else b"\xfe" + struct.pack("<Q", number)


def as_rows(
    made: Made, events: Sequence[bytes], counts: Sequence[int], *, first: int = 1, places: Sequence[int] | None = None,
    before: bytes = b"", full: bool = True, cascades_logged: bool = True,
) -> Rows:  # fmt: skip
    """Rows events of one table as a chunk holds them, each in a transaction of its own. ``before``: what lies in
    front of them in the same array."""
    sizes = np.array([len(one) for one in events], dtype=np.int64)
    ends = np.cumsum(sizes) + len(before)
    numbers = np.arange(first, first + len(events), dtype=np.int64)
    return Rows(
        made.mapped(), numbers, numbers if places is None else np.array(places, dtype=np.int64),
        np.array(counts, dtype=np.int64), np.frombuffer(before + b"".join(events), dtype=np.uint8), ends - sizes, ends,
        full=full, cascades_logged=cascades_logged,
    )  # fmt: skip


def gtid(number: int, *, source: uuid.UUID = SOURCE, anonymous: bool = False) -> bytes:
    """A GTID event with a commit time, as servers since 8.0.1 write it."""
    body = b"\1" + source.bytes + struct.pack("<q", number) + b"\2" + struct.pack("<qq", number - 1, number)
    micros = 1_760_000_000_000_000 + number
    return event(
        f.ANONYMOUS_GTID if anonymous else f.GTID, body + micros.to_bytes(7, "little") + b"\xfc\0\0" + bytes(4)
    )


def query(text: bytes, database: bytes = b"") -> bytes:
    """A query event without status variables."""
    return event(f.QUERY, struct.pack("<IIBHH", 1, 0, len(database), 0, 0) + database + b"\0" + text)


def xid(number: int) -> bytes:
    """What ends a transaction."""
    return event(f.XID, struct.pack("<Q", number))


def transaction(number: int, events: Iterable[bytes]) -> list[bytes]:
    """A GTID, a bracket, the events, and an end."""
    return [gtid(number), query(b"BEGIN"), *events, xid(number)]


def previous_gtids() -> bytes:
    """Nothing came before."""
    return event(f.PREVIOUS_GTIDS, bytes(8))


def log_file(path: Path, events: Iterable[bytes], *, checked: bool = True, in_use: bool = False) -> Path:
    """A log of these events, behind what every log begins with."""
    parts = [f.MAGIC + format_description(checked=checked, in_use=in_use)]
    position = len(parts[0])
    for one in (previous_gtids(), *events):
        parts.append(placed(one, position, checked=checked))
        position += len(parts[-1])
    path.write_bytes(b"".join(parts))
    return path


def placed(one: bytes, position: int, *, checked: bool) -> bytes:
    """An event as it stands in a file, with its end's position and its checksum."""
    size = len(one) + f.CHECKSUM_SIZE * checked
    whole = one[:9] + struct.pack("<II", size, position + size) + one[17:]
    return whole + struct.pack("<I", zlib.crc32(whole)) if checked else whole


def rotate() -> bytes:
    """The last event of a closed file."""
    return event(f.ROTATE, struct.pack("<Q", 4) + b"binlog.000002")


def format_description(*, checked: bool, in_use: bool = False) -> bytes:
    """What every log begins with."""
    body = struct.pack("<H50sIB", 4, b"9.7.4", 1_760_000_000, f.HEADER_SIZE) + bytes(44)
    body += bytes([f.CHECKSUM_CRC32 if checked else f.CHECKSUM_OFF])
    size = f.HEADER_SIZE + len(body) + f.CHECKSUM_SIZE
    whole = f.HEADER.pack(0, f.FORMAT_DESCRIPTION, 1, size, len(f.MAGIC) + size, 0) + body
    sealed = bytearray(whole + struct.pack("<I", zlib.crc32(whole)))
    sealed[17] |= f.IN_USE * in_use
    return bytes(sealed)
