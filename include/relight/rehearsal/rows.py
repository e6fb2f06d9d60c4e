"""Which rows a sabotage can be done to: those that the log has written, and what each was before.

A check that compares rows with the log can find wrong what the log has written, and nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from relight.binlog import format as f
from relight.binlog.row_images import columns_of, images_of
from relight.lane.lane_progress import Position
from relight.lane.segments import LaneSegment
from relight.lane.stream import MappedTable, Rows, StreamReader, chunks
from relight.verify.columns import Shape
from relight.verify.images import Image
from relight.verify.log_images import LogImages

MOST_ROWS = 100_000
"""So many rows of a table are chosen from at most."""
_MOST_IMAGES = 50_000
"""So many images of a segment are looked at one by one at most."""

Key = tuple[bytes | None, ...]


@dataclass(frozen=True)
class LastRow:
    """A row as the log last wrote it; ``there``: whether it is there at all."""

    image: bytes
    there: bool
    at: Position


@dataclass(frozen=True)
class WrittenTable:
    """The rows of a table that the log has written, by their keys; ``touched``: how many these are, of which
    ``rows`` may be a part."""

    mapped: MappedTable
    key: tuple[int, ...]
    rows: Mapping[Key, LastRow]
    like: bytes
    """One of its events."""
    touched: int

    def key_of(self, image: bytes) -> Key:
        """The columns of the primary key."""
        columns = columns_of(image, self.mapped.map)
        return tuple(columns[column] for column in self.key)

    @property
    def name(self) -> str:
        """Database and table, joined by a dot."""
        return ".".join(self.mapped.name)


@dataclass
class Transaction:
    """The rows events of one transaction in one lane, in their order."""

    at: Position
    events: list[tuple[MappedTable, tuple[int, int], bytes]] = field(default_factory=list)
    """Table, number of the chunk and place in it, event."""

    def in_order(self) -> list[tuple[MappedTable, bytes]]:
        """Table and event."""
        return [(table, event) for table, _, event in sorted(self.events, key=lambda one: one[1])]


def written_tables(log: LogImages, shapes: Mapping[str, Shape]) -> dict[str, WrittenTable]:
    """The tables whose rows can be told, by their names."""
    found = {}
    for table, images, touched in log.images.tables():
        key = shapes[table].key
        rows = dict(_last_rows(images, key))
        found[table] = WrittenTable(images[0].table, key, rows, images[0].event, touched)
    return found


def _last_rows(images: Iterable[Image], key: tuple[int, ...]) -> Iterator[tuple[Key, LastRow]]:
    known: dict[int, list[bytes]] = {}
    for image in images:
        if id(image.event) not in known:
            known[id(image.event)] = images_of(image.event, image.table.map)
        bytes_ = known[id(image.event)][image.index]
        kind = image.event[4]
        there = kind == f.WRITE_ROWS or (kind == f.UPDATE_ROWS and image.index % 2 == 1)
        columns = columns_of(bytes_, image.table.map)
        yield tuple(columns[column] for column in key), LastRow(bytes_, there, image.at)


def transactions(segments: Iterable[LaneSegment], draw: random.Random) -> Iterator[Transaction]:
    """Transactions of nothing but rows, of one segment after the other, in no order."""
    drawn = list(segments)
    draw.shuffle(drawn)
    for segment in drawn:
        found = list(_of_segment(segment))
        draw.shuffle(found)
        yield from found


def _of_segment(segment: LaneSegment) -> Iterator[Transaction]:
    """The first of a segment, as far as they are not too many, whole each."""
    found: dict[int, Transaction] = {}
    last, seen = 0, 0
    for chunk in chunks([StreamReader(file) for file in segment.files]) if segment.files else ():
        alone = {piece.transaction for piece in chunk.pieces}
        for rows in chunk.rows:
            for number, place, event in _events(rows):
                found.setdefault(number, Transaction(Position(segment.number, number))).events.append(
                    (rows.table, (chunk.number, place), event)
                )
            seen += int(rows.counts.sum())
        for number in alone:
            found.pop(number, None)
        last = chunk.last
        if seen > _MOST_IMAGES:
            break
    # Of the last one more may follow in the next chunk.
    return iter([one for number, one in found.items() if number != last or seen <= _MOST_IMAGES])


def _events(rows: Rows) -> Iterator[tuple[int, int, bytes]]:
    for number, place, start, end in zip(
        rows.transactions.tolist(), rows.places.tolist(), rows.starts.tolist(), rows.ends.tolist(), strict=True
    ):
        yield number, place, np.asarray(rows.data[start:end]).tobytes()
