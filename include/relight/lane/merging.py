"""Turns the row changes of one batch into what is sent: by net effect where that is proved, else in order.

Tables do not wait for each other: only the end of the batch is seen by anyone, and where foreign
keys link tables that are changed in order, those keep their order among themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relight.binlog import format as f
from relight.binlog.compose import Composer
from relight.binlog.rows import TableMap, flags
from relight.lane.modes import Mode, TableName
from relight.lane.net import net_effect

_STATEMENT_BYTES = 4 << 20
"""Aim for ``BINLOG`` statements of at most this size; one large row may exceed it."""


@dataclass(frozen=True, slots=True)
class RowChange:
    """A rows event and the table map it belongs to, both without checksum."""

    table: TableMap
    map_event: bytes
    rows_event: bytes


def merge(changes: Sequence[RowChange], modes: Mapping[TableName, Mode]) -> list[bytes]:
    """Blocks of events, each to be sent as one ``BINLOG`` statement, in this order."""
    of_table: dict[TableName, list[RowChange]] = {}
    for change in changes:
        of_table.setdefault((change.table.database, change.table.table), []).append(change)
    net = {name: events for name, mine in of_table.items() if (events := _net(mine, modes.get(name))) is not None}
    composer = Composer(_STATEMENT_BYTES)
    for change in changes:
        if (change.table.database, change.table.table) not in net:
            composer.add(change.table, change.map_event, change.rows_event)
    for name, events in net.items():
        first = of_table[name][0]
        for event in events:
            composer.add(first.table, first.map_event, event)
    return composer.take()


def _net(changes: Sequence[RowChange], mode: Mode | None) -> list[bytes] | None:
    """The table's net effect; None where its changes must be applied as they came."""
    if mode is None or mode.table is None or len(changes) == 1:
        return None
    first = changes[0]
    if any(change.table.identity != first.table.identity for change in changes):
        return None
    if mode.linked and not all(_holds_cascades(change.rows_event) for change in changes):
        return None
    return net_effect(mode.table, first.table, [change.rows_event for change in changes])


def _holds_cascades(rows_event: bytes) -> bool:
    return bool(flags(memoryview(rows_event)[f.HEADER_SIZE :]) & f.USE_SQL_FOREIGN_KEY)
