"""Rows events that are applied in the order of the log: only merged into larger commits.

Tables do not wait for each other, since only the end of a batch is seen by anyone; the exception are tables
that foreign keys link where the server itself will cascade: they are given here together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from relight.binlog import format as f
from relight.binlog.compose import with_table_id
from relight.binlog.inner_loops import kernels as k
from relight.binlog.rows import one_row_each
from relight.errors import CorruptEvent
from relight.lane.stream import MappedTable, Rows

_STATEMENT_BYTES = 4 << 20
"""Aim for ``BINLOG`` statements of this size; one large row may exceed it."""
_DIVISIBLE = f.UPDATES - {f.PARTIAL_UPDATE_ROWS}


def in_order(
    groups: Sequence[Sequence[Rows]], keyless: frozenset[tuple[str, str]],
    unique: frozenset[tuple[str, str]] = frozenset(),
) -> Iterator[bytes]:  # fmt: skip
    """Blocks of events, each to be sent as one ``BINLOG`` statement.

    :param groups: what comes one after the other; what is in one group is put into the order of the log.
    :param keyless: tables without a primary key. Their updates and deletes keep an event each: the server may
        look for all rows of an event in one pass over the table, which would find what earlier ones left behind.
    :param unique: those of them with unique keys. An event that updates several rows becomes several: changed in
        the order of that pass, a row could meet one that still has the value which it gets.
    """
    for together in groups:
        group = [row_by_row(rows) if rows.table.name in unique else rows for rows in together]
        rows = group[0] if len(group) == 1 else None
        tables = [one.table for one in group]
        numbers = np.concatenate([np.full(one.ends.size, i + 1, dtype=np.int64) for i, one in enumerate(group)])
        if rows is not None:
            yield from _blocks(tables, rows.data, rows.starts, rows.ends, numbers, keyless)
            continue
        data, starts, ends = _together(group)
        order = np.argsort(np.concatenate([one.places for one in group]), kind="stable")
        yield from _blocks(tables, data, starts[order], ends[order], numbers[order], keyless)


def row_by_row(rows: Rows) -> Rows:
    """The same with one row in each update. Partial updates stay as they are: nobody can tell where a row ends."""
    events: list[bytes] = []
    repeats: list[int] = []
    for start, end in zip(rows.starts.tolist(), rows.ends.tolist(), strict=True):
        event = rows.data[start:end].tobytes()
        before = len(events)
        if event[4] in _DIVISIBLE:
            bodies = one_row_each(event[4], memoryview(event)[f.HEADER_SIZE :], rows.table.map)
            events += [event[: f.HEADER_SIZE] + body for body in bodies]
        if len(events) == before:
            events.append(event)
        repeats.append(len(events) - before)
    ends = np.cumsum([len(event) for event in events])
    starts = np.concatenate([[0], ends[:-1]])
    return Rows(
        rows.table, np.repeat(rows.transactions, repeats), np.repeat(rows.places, repeats), np.ones_like(ends),
        np.frombuffer(b"".join(events), dtype=np.uint8), starts, ends, rows.full, rows.cascades_logged,
    )  # fmt: skip


def _together(group: Sequence[Rows]) -> tuple[k.Bytes, k.Longs, k.Longs]:
    """The events of several tables in one array."""
    sizes = np.concatenate([one.ends - one.starts for one in group])
    ends = np.cumsum(sizes)
    data = np.empty(int(ends[-1]), dtype=np.uint8)
    at = 0
    for one in group:
        k.copy_runs(one.data, one.starts, one.ends, data[at : at + one.size])
        at += one.size
    return data, ends - sizes, ends


def _blocks(
    tables: Sequence[MappedTable], data: k.Bytes, starts: k.Longs, ends: k.Longs, numbers: k.Longs,
    keyless: frozenset[tuple[str, str]],
) -> Iterator[bytes]:  # fmt: skip
    columns = np.array([0, *(len(table.map.widths) for table in tables)], dtype=np.int64)[numbers]
    has_key = np.array([0, *(table.name not in keyless for table in tables)], dtype=np.int64)[numbers]
    maps = [with_table_id(table.event, number) for number, table in enumerate(tables, start=1)]
    inserts = np.isin(data[starts + 4], sorted(k.INSERT_TYPES)).astype(np.int64)
    largest = int((ends - starts).max())
    state = np.zeros(2, dtype=np.int64)
    while state[0] < starts.size:
        first = int(state[0])
        into = np.empty(min(_STATEMENT_BYTES, int((ends - starts)[first:].sum())) + largest, dtype=np.uint8)
        size = k.put_events(data, starts, ends, numbers, has_key | inserts, columns, _STATEMENT_BYTES, into, state)
        if size < 0:
            raise CorruptEvent("rows cannot be sent", on=".".join(tables[numbers[state[0]] - 1].name),
                               why="an event does not fit its table")  # fmt: skip
        used = np.unique(numbers[first : int(state[0])])
        yield b"".join([*(maps[number - 1] for number in used.tolist()), into[:size].tobytes()])
