"""Rows of tables without a primary key: as many of each as the log has written and not deleted again.

Nobody can tell equal rows apart, and only the snapshot knows how many there were of each. So what the log says is a
lower bound. It holds from any place in the log on, so a statement that may have changed rows only makes it begin anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from relight.binlog import format as f
from relight.binlog.inner_loops import kernels as k
from relight.errors import CorruptEvent
from relight.lane.lane_progress import Position
from relight.lane.row_hashes import row_hashes
from relight.lane.stream import Rows
from relight.server.session import Session, quoted
from relight.verify.columns import UNREADABLE, Column, Shape, expression, literal, literal_anywhere, of_server, readable
from relight.verify.content import Compared, Named
from relight.verify.decoding import Decoder, Row
from relight.verify.images import Image, mixed
from relight.verify.varying import vary

MOST = 200
"""So many different rows per table: they are looked for together, in one scan of the table."""
_MOST_BYTES = 4 << 20
_MOST_SHOWN = 5
_NUMBERED = frozenset({"set", "enum", "bit", "year"})
_UNGROUPED = frozenset({"geometry", "vector"})

_DELTAS = {f.WRITE_ROWS: (1, 1), f.DELETE_ROWS: (-1, -1), f.UPDATE_ROWS: (-1, 1)}
"""What the images of an event mean for the number of such rows, by turns."""


@dataclass
class _Sample:
    shape: bytes
    threshold: int = 2**64 - 1
    images: dict[int, Image] = field(default_factory=dict)
    more: Counter[int] = field(default_factory=Counter)

    @property
    def bytes(self) -> int:
        return sum(len(image.event) for image in self.images.values())


class BagImages:
    """Takes the rows events of tables without a primary key in the order of the log, and counts a sample of the
    different rows, drawn as :class:`relight.verify.images.LastImages` draws keys."""

    def __init__(self, seed: int) -> None:
        self._seed = np.uint64(seed & (2**64 - 1))
        self._samples: dict[str, _Sample] = {}

    def take(self, rows: Rows, segment: int) -> None:
        """Add rows with full images."""
        name, shape = rows.table.name[1], rows.table.map.shape
        sample = self._samples.get(name)
        if sample is None or sample.shape != shape:
            sample = self._samples[name] = _Sample(shape)
        hashes, events = row_hashes(rows, np.zeros(len(rows.table.map.widths), dtype=np.uint8))
        numbers = mixed(hashes, self._seed)
        chosen = np.flatnonzero(numbers <= np.uint64(sample.threshold))
        deltas = _deltas(rows, events)
        firsts = np.searchsorted(events, events)
        for image in chosen.tolist():
            number = int(numbers[image])
            if number > sample.threshold:
                continue
            sample.more[number] += int(deltas[image])
            event = int(events[image])
            if deltas[image] > 0 or number not in sample.images:
                data = rows.data[rows.starts[event] : rows.ends[event]].tobytes()
                at = Position(segment, int(rows.transactions[event]))
                sample.images[number] = Image(rows.table, data, image - int(firsts[image]), at)
            if len(sample.images) > 2 * MOST:
                _shrink(sample, MOST)
        while sample.bytes > _MOST_BYTES and len(sample.images) > 1:
            _shrink(sample, len(sample.images) // 2)

    def forget(self, table: str) -> None:
        """What was seen of a table does not count any more."""
        self._samples.pop(table, None)

    def tables(self) -> Iterator[tuple[str, list[tuple[Image, int]], bool]]:
        """For each table a sample of its rows, how many there are of each at least, and whether that is all of them."""
        for name, sample in sorted(self._samples.items()):
            if len(sample.images) > MOST:
                _shrink(sample, MOST)
            found = [(image, sample.more[number]) for number, image in sample.images.items()]
            yield name, found, sample.threshold == 2**64 - 1


def _deltas(rows: Rows, events: k.Longs) -> k.Longs:
    kinds = rows.data[rows.starts[events] + 4]
    second = (np.arange(events.size) - np.searchsorted(events, events)) % 2
    found = np.zeros(events.size, dtype=np.int64)
    for kind, (first_delta, second_delta) in _DELTAS.items():
        found = np.where(kinds == kind, np.where(second == 0, first_delta, second_delta), found)
    return found


def _shrink(sample: _Sample, most: int) -> None:
    kept = sorted(sample.images)[:most]
    sample.images = {number: sample.images[number] for number in kept}
    sample.more = Counter({number: sample.more[number] for number in kept})
    sample.threshold = kept[-1]


def compare_bag(
    session: Session, database: str, table: str, shape: Shape, images: Sequence[tuple[Image, int]], *, whole: bool,
    named: Named,
) -> Compared:  # fmt: skip
    """Count the rows in the table, all in one scan. The session's time zone must be UTC, its SQL mode empty."""
    wanted: Counter[Row] = Counter()
    last: dict[Row, Position] = {}
    conditions: list[str] = []
    unreadable = 0
    for image, more in images:
        if more <= 0:
            continue  # so many there may have been before, and not one need be there now
        row = None if _UNGROUPED & {column.kind for column in shape.columns} else _decoded(image, shape)
        condition = _condition(shape, row) if row is not None else ""
        if row is None or not condition:
            unreadable += 1
            continue
        key = _hashable(row)
        wanted[key] += more
        last[key] = image.at
        conditions.append(f"({condition})")
    found = _count(session, database, table, shape, conditions)
    fewer = [row for row, more in wanted.items() if found[row] < more]
    vague = [row for row in found if any(value is UNREADABLE for value in row)]
    missing = [row for row in fewer if not any(_may_be(row, other) for other in vague)]
    unreadable += len(fewer) - len(missing)
    excused = _excused(session, database, table, shape, wanted, missing)
    missing = [row for row in missing if row not in excused]
    differences = tuple(
        f"{database}.{table} {_words(shape, row)}: there are {found[row]}, and the log says at least {wanted[row]}"
        f" (last written by {named(last[row])})"
        for row in missing[:_MOST_SHOWN]
    )
    return Compared(len(wanted), whole, len(missing), differences, unreadable, len(excused))


def _excused(
    session: Session, database: str, table: str, shape: Shape, wanted: Counter[Row], missing: Sequence[Row]
) -> frozenset[Row]:
    """Missing rows that are there but for generated columns which depend on a session's settings."""
    generated = [column for column in shape.columns if column.generated]
    conditions = {row: f"({text})" for row in missing if (text := _written(shape, row))} if generated else {}
    found = dict(zip(conditions, vary(session, database, table, list(conditions.values()), generated), strict=True))
    excused: set[Row] = set()
    for names in set(found.values()) - {frozenset[str]()}:
        kept = [number for number, column in enumerate(shape.columns) if column.name not in names]
        parts: Counter[Row] = Counter()
        for row, more in wanted.items():
            parts[tuple(row[number] for number in kept)] += more
        mine = [row for row, its in found.items() if its == names]
        part = Shape(tuple(shape.columns[number] for number in kept), ())
        there = _count(session, database, table, part, [conditions[row] for row in mine])
        parts_of = {row: tuple(row[number] for number in kept) for row in mine}
        excused |= {row for row, its in parts_of.items() if there[its] >= parts[its]}
    return frozenset(excused)


def _written(shape: Shape, row: Row) -> str:
    """What finds the row, and perhaps others, by what is not computed, in a session of any time zone."""
    kept = [number for number, column in enumerate(shape.columns) if not column.generated]
    part = Shape(tuple(shape.columns[number] for number in kept), ())
    return _condition(part, tuple(row[number] for number in kept), literal_anywhere)


def _may_be(row: Row, other: Row) -> bool:
    """Whether a row of the table, not all of which can be told, may be this one."""
    return all(theirs is UNREADABLE or ours == theirs for ours, theirs in zip(row, other, strict=True))


def _decoded(image: Image, shape: Shape) -> Row | None:
    try:
        row, _ = Decoder(image.table, shape.columns).images(image.event)[image.index]
    except CorruptEvent:
        return None
    return None if any(value is UNREADABLE for value in row) else row


def _condition(shape: Shape, row: Row, as_literal: Callable[[Column, Any], str | None] = literal) -> str:
    """What finds the row, and perhaps others; empty where no column can be asked for."""
    parts = []
    for column, value in zip(shape.columns, row, strict=True):
        text = as_literal(column, value)
        if value is None:
            parts.append(f"{quoted(column.name)} IS NULL")
        elif text is not None:
            # A SET is compared with a number as a DOUBLE, which has no room for its 64 members.
            name = expression(column) if column.kind in _NUMBERED else quoted(column.name)
            parts.append(f"{name} = {text}")
    return " AND ".join(parts)


def _count(session: Session, database: str, table: str, shape: Shape, conditions: Sequence[str]) -> Counter[Row]:
    found: Counter[Row] = Counter()
    if not conditions:
        return found
    columns = ", ".join(expression(column) for column in shape.columns)
    for *values, count in session.rows(
        f"SELECT {columns}, COUNT(*) FROM {quoted(database, table)} WHERE {' OR '.join(conditions)}"
        f" GROUP BY {', '.join(str(number) for number in range(1, len(shape.columns) + 1))}"
    ):
        row = tuple(of_server(column, value) for column, value in zip(shape.columns, values, strict=True))
        found[_hashable(row)] += int(count)
    return found


def _hashable(row: Row) -> Row:
    return tuple(repr(value) if isinstance(value, dict | list) else value for value in row)


def _words(shape: Shape, row: Row) -> str:
    parts = [f"{column.name}={_readable(column, value)}" for column, value in zip(shape.columns, row, strict=True)]
    text = ", ".join(parts)
    return text if len(text) <= 200 else f"{text[:190]}..."


def _readable(column: Column, value: object) -> str:
    return str(value) if column.kind == "json" else readable(column, value)
