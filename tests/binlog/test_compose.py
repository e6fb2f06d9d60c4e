"""What single events become: under another table id, a statement of their own, a log file for ``mysqlbinlog``."""

from __future__ import annotations

import pytest

from relight.binlog import format as f
from relight.binlog.compose import alone, block_of, with_table_id
from relight.binlog.rows import flags, read_table_map, table_id
from tests.support.made_events import Made
from tests.support.slow_rows import changes_in, events_in

MADE = Made((4, -2), (0,))
ROW = ((b"\1\0\0\0", b"value"),)


def test_another_table_id_changes_nothing_else() -> None:
    for event in (MADE.map_event(1), MADE.rows_event(f.WRITE_ROWS, [ROW], number=1)):
        (changed,) = events_in(with_table_id(event, 0xA1B2C3D4E5F6))
        assert table_id(changed.body) == bytes.fromhex("f6e5d4c3b2a1")
        assert changed.data[f.HEADER_SIZE + 6 :] == event[f.HEADER_SIZE + 6 :]
        assert (changed.type, changed.timestamp) == (event[4], 1_760_000_000)


def test_a_length_that_counted_a_checksum_no_longer_does() -> None:
    event = bytearray(MADE.map_event())
    event[9:13] = (len(event) + f.CHECKSUM_SIZE).to_bytes(4, "little")
    (changed,) = events_in(with_table_id(bytes(event), 1))
    assert len(changed.data) == len(event)


def test_only_the_last_event_of_a_block_ends_the_statement_and_carries_its_flags() -> None:
    events = [MADE.rows_event(f.DELETE_ROWS, [ROW], flags=0), MADE.rows_event(f.WRITE_ROWS, [ROW], flags=0)]
    mapped, *rows = events_in(block_of(MADE.map_event(), events, f.NO_FOREIGN_KEY_CHECKS))
    assert mapped.type == f.TABLE_MAP
    assert [flags(event.body) for event in rows] == [0, f.NO_FOREIGN_KEY_CHECKS | f.STATEMENT_END]
    assert [event.type for event in rows] == [f.DELETE_ROWS, f.WRITE_ROWS]


@pytest.mark.parametrize(
    ("logged", "sent"),
    [
        (0, 0),
        (f.STATEMENT_END, 0),
        (f.NO_FOREIGN_KEY_CHECKS | f.RELAXED_UNIQUE_CHECKS, f.NO_FOREIGN_KEY_CHECKS | f.RELAXED_UNIQUE_CHECKS),
        (f.USE_SQL_FOREIGN_KEY, f.USE_SQL_FOREIGN_KEY | f.NO_FOREIGN_KEY_CHECKS),
    ],
)
def test_a_rows_event_alone_is_a_whole_statement_that_cascades_nothing_twice(logged: int, sent: int) -> None:
    event = MADE.rows_event(f.WRITE_ROWS, [ROW], number=77, flags=logged)
    block = alone(MADE.map_event(99), event)
    mapped, rows = events_in(block)
    assert read_table_map(mapped.body).table_id == table_id(rows.body)
    assert flags(rows.body) == sent | f.STATEMENT_END
    assert [(table.table, kind, row) for table, kind, row in changes_in(block)] == [("t", f.WRITE_ROWS, ROW)]
