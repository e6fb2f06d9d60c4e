"""Row content: rows as they were last written, read back and compared column by column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from relight.errors import CorruptEvent
from relight.lane.lane_progress import Position
from relight.server.session import Session, quoted
from relight.verify.columns import UNREADABLE, Column, Shape, expression, literal, literal_anywhere, of_server, readable
from relight.verify.decoding import Decoder, Row
from relight.verify.images import Image
from relight.verify.varying import vary

_AT_ONCE = 200
_MOST_SHOWN = 5

Named = Callable[[Position], str]


@dataclass(frozen=True)
class Compared:
    """A table's rows: how many were compared (``whole``: all that the log has touched), how many differ, the first
    of them in words, and of how many something could not be told."""

    rows: int
    whole: bool
    wrong: int
    differences: tuple[str, ...]
    unreadable: int
    varying: int = 0
    """How many differ only in what the server computes with the settings of a session, which the log does not say."""


@dataclass(frozen=True)
class _Wanted:
    """A row as it must be; ``there``: whether it must be there at all."""

    row: Row
    there: bool
    at: Position


def compare_rows(
    session: Session, database: str, table: str, shape: Shape, images: Sequence[Image], *, whole: bool, named: Named
) -> Compared:
    """Read the rows back by primary key. The session's time zone must be UTC.

    :param named: what the transaction at a position is called.
    """
    columns = shape.columns
    wanted, undecoded = _wanted(columns, images)
    found: list[str] = []
    wrong, unreadable, varying = 0, undecoded, 0
    for some in _portions(wanted):
        rows, asked = _read(session, database, table, shape, some)
        unreadable += len(some) - len(asked)
        excused = _excused(session, database, table, shape, asked, rows)
        varying += len(excused)
        for one in asked:
            if _key(shape, one.row) in excused:
                continue
            differs, unsure = _difference(shape, one, rows.get(_key(shape, one.row)))
            unreadable += unsure
            wrong += bool(differs)
            if differs and len(found) < _MOST_SHOWN:
                found.append(f"{database}.{table} {where(shape, one.row)}: {differs} (last written by {named(one.at)})")
    return Compared(len(images), whole, wrong, tuple(found), unreadable, varying)


def _excused(
    session: Session, database: str, table: str, shape: Shape, asked: Sequence[_Wanted], rows: dict[Row, Row]
) -> frozenset[Row]:
    """The keys of rows that differ in nothing but generated columns, each of which depends on a session's settings."""
    differing: dict[Row, frozenset[str]] = {}
    for one in asked:
        key = _key(shape, one.row)
        columns = _differing(shape, one.row, rows[key]) if one.there and key in rows else ()
        if columns and all(column.generated for column in columns):
            differing[key] = frozenset(column.name for column in columns)
    if not differing:
        return frozenset()
    conditions = [_condition(shape, key) for key in differing]
    generated = [column for column in shape.columns if column.generated]
    found = vary(session, database, table, conditions, generated)
    return frozenset(key for (key, names), its in zip(differing.items(), found, strict=True) if names <= its)


def _differing(shape: Shape, wanted: Row, found: Row) -> list[Column]:
    return [
        column for column, expected, value in zip(shape.columns, wanted, found, strict=True)
        if unlike(expected, value)
    ]  # fmt: skip


def _condition(shape: Shape, key: Row) -> str:
    columns = [shape.columns[number] for number in shape.key]
    parts = (
        f"{expression(column) if column.kind == 'set' else quoted(column.name)} = {literal_anywhere(column, value)}"
        for column, value in zip(columns, key, strict=True)
    )
    return "(" + " AND ".join(parts) + ")"


def _wanted(columns: Sequence[Column], images: Sequence[Image]) -> tuple[list[_Wanted], int]:
    decoders: dict[bytes, Decoder] = {}
    decoded: dict[int, list[tuple[Row, bool]]] = {}
    wanted, failed = [], 0
    for image in images:
        try:
            if image.table.event not in decoders:
                decoders[image.table.event] = Decoder(image.table, columns)
            if id(image.event) not in decoded:
                decoded[id(image.event)] = decoders[image.table.event].images(image.event)
        except CorruptEvent:
            failed += 1
            continue
        row, there = decoded[id(image.event)][image.index]
        wanted.append(_Wanted(row, there, image.at))
    return wanted, failed


def _portions(wanted: Sequence[_Wanted]) -> Iterator[Sequence[_Wanted]]:
    for first in range(0, len(wanted), _AT_ONCE):
        yield wanted[first : first + _AT_ONCE]


def _read(
    session: Session, database: str, table: str, shape: Shape, wanted: Sequence[_Wanted]
) -> tuple[dict[Row, Row], list[_Wanted]]:  # fmt: skip
    """The rows by their keys, and which of them could be asked for."""
    keys, asked = [], []
    for one in wanted:
        literals = [literal(shape.columns[column], one.row[column]) for column in shape.key]
        if all(text is not None for text in literals):
            keys.append("(" + ", ".join(str(text) for text in literals) + ")")
            asked.append(one)
    if not keys:
        return {}, []
    names = ", ".join(_asked(shape.columns[column], wanted, column) for column in shape.key)
    rows = session.rows(
        f"SELECT {', '.join(expression(column) for column in shape.columns)} FROM {quoted(database, table)}"
        f" WHERE ({names}) IN ({', '.join(keys)})"
    )
    formed = [
        tuple(of_server(column, value) for column, value in zip(shape.columns, row, strict=True)) for row in rows
    ]  # fmt: skip
    return {_key(shape, row): row for row in formed}, asked


def _asked(column: Column, wanted: Sequence[_Wanted], number: int) -> str:
    """The column as it is compared with a literal. The server takes a SET for a signed number there, so that its last
    member of 64 makes no row found; asked for otherwise, no index is used."""
    last = column.kind == "set" and any(isinstance(one.row[number], int) and one.row[number] >> 63 for one in wanted)
    return expression(column) if last else quoted(column.name)


def _key(shape: Shape, row: Row) -> Row:
    return tuple(row[column] for column in shape.key)


def _difference(shape: Shape, wanted: _Wanted, found: Row | None) -> tuple[str, int]:
    """What is wrong, in words, and whether something could not be compared."""
    if not wanted.there:
        return ("it is there, although it was deleted" if found is not None else ""), 0
    if found is None:
        return "it is missing", 0
    wrong, unsure = [], 0
    for column, expected, value in zip(shape.columns, wanted.row, found, strict=True):
        if unlike(expected, value):
            wrong.append(
                f"{column.name} is {readable(column, value)} and should be {readable(column, expected)}"
            )  # fmt: skip
        unsure |= UNREADABLE in (expected, value)
    return "; ".join(wrong), unsure


def unlike(expected: Any, value: Any) -> bool:
    """Whether two values are certainly not the same. One that cannot be told is none that is NULL."""
    if UNREADABLE in (expected, value):
        return (expected is None) != (value is None)
    return bool(expected != value)


def where(shape: Shape, row: Row) -> str:
    """The key of a row in words."""
    parts: list[Any] = [
        f"{shape.columns[column].name}={readable(shape.columns[column], row[column])}" for column in shape.key
    ]
    return ", ".join(parts)
