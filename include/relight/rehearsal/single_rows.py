"""Sabotage of single rows: ways to do it, one after the other, since a server may refuse some."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from relight.binlog import format as f
from relight.binlog.row_images import columns_of, image_of, rows_event
from relight.errors import CorruptEvent
from relight.rehearsal.rows import LastRow, WrittenTable
from relight.rehearsal.scene import Attempt, Scene, attempt
from relight.sabotage import Sabotage
from relight.verify.columns import UNREADABLE
from relight.verify.content import where
from relight.verify.database import ROW_CONTENT, ROW_COUNTS
from relight.verify.decoding import Decoder, Row
from relight.verify.images import SAMPLE, SHARE

_PER_TABLE = 20
"""So many ways are offered for one table, then another one has its turn."""


def drop_row(scene: Scene) -> Iterator[Attempt]:
    """A row is gone."""
    for table in _drawn(scene):
        there = [row for row in table.rows.values() if row.there]
        for row in scene.draw.sample(there, min(len(there), _PER_TABLE)):
            what = f"{table.name}: row {_words(scene, table, row.image)} was deleted"
            event = rows_event(f.DELETE_ROWS, table.like, table.mapped.map, [row.image])
            yield attempt("drop_row", ROW_COUNTS, [table], what, [(table.mapped, event)])


def change_value(scene: Scene) -> Iterator[Attempt]:
    """A row has a value that it never had."""
    for table in _drawn(scene):
        for column in _columns(scene, table):
            pairs = _pairs(scene, table, column, _enough(table))
            if pairs:
                changes = [(one.image, _with(table, one.image, other.image, column)) for one, other in pairs]
                yield _updates("change_value", scene, table, column, changes, "has a value of another row")


def swap_values(scene: Scene) -> Iterator[Attempt]:
    """Two rows have each other's value in a column."""
    for table in _drawn(scene):
        for column in _columns(scene, table):
            pairs = _pairs(scene, table, column, math.ceil(_enough(table) / 2))
            if pairs:
                both = [pair for one, other in pairs for pair in ((one, other), (other, one))]
                changes = [(one.image, _with(table, one.image, other.image, column)) for one, other in both]
                yield _updates("swap_values", scene, table, column, changes, "was exchanged with that of another row")


def _drawn(scene: Scene) -> list[WrittenTable]:
    """The tables of which every check can speak, in no order."""
    tables = [table for name, table in scene.tables.items() if name in scene.counted]
    scene.draw.shuffle(tables)
    return tables


def _columns(scene: Scene, table: WrittenTable) -> list[int]:
    name = table.mapped.name[1]
    fixed = scene.fixed[name] | set(table.key)
    # Of a document not every change can be told: see relight.verify.columns.
    columns = [n for n, one in enumerate(scene.shapes[name].columns) if n not in fixed and one.kind != "json"]
    scene.draw.shuffle(columns)
    return columns[:_PER_TABLE]


def _enough(table: WrittenTable) -> int:
    """How many rows must be wrong so that the check's sample finds one, as sure as it says it is."""
    return 1 if table.touched <= SAMPLE else math.ceil(table.touched * SHARE)


def _pairs(scene: Scene, table: WrittenTable, column: int, count: int) -> list[tuple[LastRow, LastRow]]:
    """So many pairs of rows that differ in a column, no row twice; none where there are not so many."""
    there = [row for row in table.rows.values() if row.there]
    scene.draw.shuffle(there)
    decoder = Decoder(table.mapped, scene.shapes[table.mapped.name[1]].columns)
    waiting: list[tuple[LastRow, object]] = []
    found: list[tuple[LastRow, LastRow]] = []
    for row in there:
        value = _decoded(decoder, table, row.image)[column]
        if value is UNREADABLE:
            continue
        other = next((one for one in waiting[:_PER_TABLE] if one[1] != value), None)
        if other is None:
            waiting.append((row, value))
            continue
        waiting.remove(other)
        found.append((row, other[0]))
        if len(found) == count:
            return found
    return []


def _decoded(decoder: Decoder, table: WrittenTable, image: bytes) -> Row:
    try:
        ((row, _),) = decoder.images(rows_event(f.WRITE_ROWS, table.like, table.mapped.map, [image]))
    except CorruptEvent:
        return (UNREADABLE,) * len(table.mapped.map.widths)
    return row


def _words(scene: Scene, table: WrittenTable, image: bytes) -> str:
    shape = scene.shapes[table.mapped.name[1]]
    return where(shape, _decoded(Decoder(table.mapped, shape.columns), table, image))


def _with(table: WrittenTable, image: bytes, other: bytes, column: int) -> bytes:
    """The image with one column of another one."""
    columns = columns_of(image, table.mapped.map)
    columns[column] = columns_of(other, table.mapped.map)[column]
    return image_of(columns)


def _updates(
    sabotage: Sabotage, scene: Scene, table: WrittenTable, column: int, changes: Sequence[tuple[bytes, bytes]],
    how: str,
) -> Attempt:  # fmt: skip
    images = [image for change in changes for image in change]
    event = rows_event(f.UPDATE_ROWS, table.like, table.mapped.map, images)
    name = scene.shapes[table.mapped.name[1]].columns[column].name
    more = f", and in {len(changes) - 1} more rows" if len(changes) > 1 else ""
    what = f"{table.name}: {name} of row {_words(scene, table, changes[0][0])} {how}{more}"
    return attempt(sabotage, ROW_CONTENT, [table], what, [(table.mapped, event)])
