"""What a sabotage of rows is chosen from, and what it is carried out by.

Rows are changed by rows events, as replay changes them: no trigger fires, nothing cascades, and every type of column
is the bytes that it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from relight.binlog.compose import alone
from relight.lane.segments import LaneSegment
from relight.lane.stream import MappedTable
from relight.rehearsal.rows import LastRow, Transaction, WrittenTable
from relight.sabotage import Damage, Sabotage
from relight.verify.columns import Shape


@dataclass(frozen=True)
class Attempt:
    """``blocks``: each to be sent as one ``BINLOG`` statement, all of them in one transaction. ``idempotent``: rows
    that are not there, or are there already, do not matter."""

    damage: Damage
    blocks: tuple[bytes, ...]
    idempotent: bool = False


@dataclass(frozen=True)
class Scene:
    """A database that was replayed and proved.

    ``tables``: those that may be damaged. ``counted``: those of which it is known how many rows they have.
    ``fixed``: per table, the columns that are part of a unique key, or computed by the server.
    """

    database: str
    tables: Mapping[str, WrittenTable]
    shapes: Mapping[str, Shape]
    counted: Collection[str]
    fixed: Mapping[str, frozenset[int]]
    unique: Mapping[str, frozenset[int]]
    """Per table, the columns of unique keys besides the primary key."""
    transactional: Collection[str]
    segments: Sequence[LaneSegment]
    named: Callable[[LastRow | Transaction], str]
    """What the transaction is called that wrote a row."""
    draw: random.Random


def attempt(
    sabotage: Sabotage, check: str, on: Sequence[WrittenTable] | Sequence[str], what: str,
    events: Sequence[tuple[MappedTable, bytes]], *, idempotent: bool = False,
) -> Attempt:  # fmt: skip
    """``events``: each with its table, in the order in which they are applied; ``on``: the tables that they damage."""
    names = tuple(one if isinstance(one, str) else one.name for one in on)
    blocks = tuple(alone(table.event, event) for table, event in events)
    return Attempt(Damage(sabotage=sabotage, check=check, on=names, what=what), blocks, idempotent)
