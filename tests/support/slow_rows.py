"""A slow, obvious reading of rows events, and of what they do to a table: the twin of the compiled loops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from relight.binlog import format as f
from relight.binlog.reader import Event, packed_integer
from relight.binlog.rows import TableMap, read_table_map, table_id
from tests.support.made_events import Image, Row, Value

ABSENT = b"this column is not in the image"


def rows_of(event: bytes, widths: Sequence[int]) -> list[Row]:
    """The rows of an event, an update's being pairs of images. Columns that an image does not have are ABSENT."""
    position = f.HEADER_SIZE + 8
    if event[4] not in f.ROWS_V1:
        position += int.from_bytes(event[position : position + 2], "little")
    columns, position = packed_integer(event, position)
    assert columns == len(widths)
    size = (columns + 7) // 8
    bitmaps = []
    for _ in range(2 if event[4] in f.UPDATES else 1):
        bitmaps.append(int.from_bytes(event[position : position + size], "little"))
        position += size
    found: list[Row] = []
    while position < len(event):
        images = []
        for present in bitmaps:
            image, position = _image(event, position, widths, present)
            images.append(image)
        found.append(tuple(images))
    assert position == len(event)
    return found


def _image(event: bytes, position: int, widths: Sequence[int], present: int) -> tuple[Image, int]:
    size = (present.bit_count() + 7) // 8
    nulls = int.from_bytes(event[position : position + size], "little")
    position += size
    values: list[Value] = []
    for column, width in enumerate(widths):
        if not present >> column & 1:
            values.append(ABSENT)
            continue
        if nulls & 1:
            values.append(None)
        else:
            length = width
            if width < 0:
                length = int.from_bytes(event[position : position - width], "little")
                position -= width
            values.append(event[position : position + length])
            position += length
        nulls >>= 1
    return tuple(values), position


def events_in(block: bytes) -> list[Event]:
    """The events of one ``BINLOG`` statement."""
    found, position = [], 0
    while position < len(block):
        timestamp, kind, _, length, _, flags = f.HEADER.unpack_from(block, position)
        found.append(Event(position, kind, timestamp, flags, block[position : position + length]))
        position += length
    assert position == len(block), "the lengths in the headers do not add up"
    return found


def changes_in(block: bytes) -> Iterator[tuple[TableMap, int, Row]]:
    """Table, event type and row of every change in one ``BINLOG`` statement."""
    maps: dict[bytes, TableMap] = {}
    for one in events_in(block):
        if one.type == f.TABLE_MAP:
            table = read_table_map(one.body)
            maps[table.table_id] = table
        else:
            table = maps[table_id(one.body)]
            for row in rows_of(one.data, table.widths):
                yield table, one.type, row


@dataclass
class SlowTable:
    """A table as a server would have it: strict about rows that are, or are not, there.

    ``key`` are the columns of its primary key; none: it is a bag of rows.
    """

    key: tuple[int, ...]
    rows: dict[Image, Image] = field(default_factory=dict)
    bag: Counter[Image] = field(default_factory=Counter)

    def key_of(self, image: Image) -> Image:
        """The values of the key's columns."""
        return tuple(image[column] for column in self.key)

    def apply(self, kind: int, row: Row) -> None:
        """Let one change take effect. :raises KeyError: it does not fit."""
        if kind not in f.INSERTS:
            self._take(row[0])
        if kind not in f.DELETES:
            self._put(row[-1])

    def _take(self, image: Image) -> None:
        if self.key:
            del self.rows[self.key_of(image)]
        elif not self.bag[image]:
            raise KeyError(image)
        else:
            self.bag[image] -= 1
            if not self.bag[image]:
                del self.bag[image]

    def _put(self, image: Image) -> None:
        if not self.key:
            self.bag[image] += 1
        elif self.key_of(image) in self.rows:
            raise KeyError(image)
        else:
            self.rows[self.key_of(image)] = image

    def contents(self) -> Mapping[Image, object]:
        """To be compared."""
        return dict(self.rows) if self.key else dict(self.bag)

    def copy(self) -> SlowTable:
        """Another one with the same rows."""
        return SlowTable(self.key, dict(self.rows), Counter(self.bag))
