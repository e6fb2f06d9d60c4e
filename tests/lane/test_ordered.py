"""What is sent as one ``BINLOG``: table maps first, ids of their own, one end of the statement, one set of flags."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import pytest

from relight.binlog import format as f
from relight.binlog.reader import open_log
from relight.binlog.rows import TableMap, flags, read_table_map, table_id
from relight.errors import CorruptEvent
from relight.lane import ordered
from relight.lane.ordered import in_order
from relight.lane.split_log import split_log
from relight.lane.stream import Rows, StreamReader, chunks
from relight.server.session import Session
from relight.server.table_checksums import checksums
from tests.support.binlogs import create_everything, write_everything
from tests.support.made_events import Made, Row, as_rows
from tests.support.replaying import logs_of, start_log
from tests.support.servers import Servers
from tests.support.slow_log import transactions
from tests.support.slow_rows import changes_in, events_in, rows_of

NO_LIMIT = 2**40
Groups = Sequence[Sequence[Rows]]
Change = tuple[str, str, int, Row]
"""Database, table, event type, row."""

FAMILY = (
    "CREATE TABLE kinds.parent (id INT PRIMARY KEY)",
    "CREATE TABLE kinds.child (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES kinds.parent (id))",
)


@pytest.fixture(scope="module")
def written(module_servers: Servers) -> Path:
    """A log of changes to tables of every column type, all of which were empty before."""
    with module_servers.connect(module_servers.make("writer")) as session:
        create_everything(session)
        for statement in FAMILY:
            session.run(statement)
        start_log(session)
        write_everything(session)
        session.run("INSERT INTO kinds.parent VALUES (1), (2)")
        session.run("SET SESSION foreign_key_checks = 0, unique_checks = 0")
        session.run("INSERT INTO kinds.child VALUES (1), (9)")
        session.run("SET SESSION foreign_key_checks = 1, unique_checks = 1")
        session.run("INSERT INTO kinds.child VALUES (2)")
        session.run("SET SESSION binlog_row_image = MINIMAL")
        session.run("UPDATE `other d`.plain SET v = 'minimal' WHERE id < 9")
        return logs_of(session)[0]


@pytest.fixture(scope="module")
def rows(written: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Rows]:
    """The log's rows, table by table."""
    return rows_of_log(written, tmp_path_factory.mktemp("split"))


def rows_of_log(log: Path, folder: Path) -> list[Rows]:
    result = split_log(log, 0, folder)
    found = list(chunks([StreamReader(folder / stream.file) for stream in result.streams]))
    assert len(found) == 1, "a small log is one chunk"
    return list(found[0].rows)


@pytest.fixture(scope="module")
def logged(written: Path) -> list[Change]:
    """Every change in the order of the log, as the slow twin reads it."""
    found = []
    with open_log(written) as log:
        for transaction in transactions(log):
            maps: dict[bytes, TableMap] = {}
            for event in transaction.events:
                if event.type == f.TABLE_MAP:
                    table = read_table_map(event.body)
                    maps[table.table_id] = table
                elif event.type in f.ROWS:
                    table = maps[table_id(event.body)]
                    found += [(table.database, table.table, event.type, r) for r in rows_of(event.data, table.widths)]
    return found


def keyless(rows: Iterable[Rows]) -> frozenset[tuple[str, str]]:
    return frozenset(one.table.name for one in rows if one.table.name[1].startswith("one "))


def composed(groups: Groups, limit: int = NO_LIMIT) -> list[bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordered, "_STATEMENT_BYTES", limit)
        return list(in_order(groups, keyless(one for group in groups for one in group)))


def apart(rows: Sequence[Rows]) -> Groups:
    """Each table for itself."""
    return [[one] for one in rows]


def together(rows: Sequence[Rows]) -> Groups:
    """All tables in the order of the log, as tables that foreign keys link."""
    return [rows]


def changes(blocks: Iterable[bytes]) -> list[Change]:
    return [(t.database, t.table, kind, row) for block in blocks for t, kind, row in changes_in(block)]


@pytest.mark.parametrize("grouped", [apart, together])
@pytest.mark.parametrize("limit", [1, 500, 20_000, NO_LIMIT])
def test_every_block_is_one_statement(rows: list[Rows], limit: int, grouped: type) -> None:
    for block in composed(grouped(rows), limit):
        events = events_in(block)
        kinds = [event.type == f.TABLE_MAP for event in events]
        assert kinds == sorted(kinds, reverse=True), "a table map behind a rows event"
        maps = [read_table_map(event.body) for event in events if event.type == f.TABLE_MAP]
        found = [event for event in events if event.type in f.ROWS]
        assert len({table.table_id for table in maps}) == len(maps), "two tables with one id"
        assert len({table.shape for table in maps}) == len(maps), "a table is mapped twice"
        assert {table_id(event.body) for event in found} == {table.table_id for table in maps}
        ends = [bool(flags(event.body) & f.STATEMENT_END) for event in found]
        assert ends == [False] * (len(found) - 1) + [True]
        assert len({flags(event.body) & ~f.STATEMENT_END for event in found}) == 1


@pytest.mark.parametrize("limit", [1, 5_000, NO_LIMIT])
def test_nothing_is_lost_changed_or_put_in_another_order(rows: list[Rows], logged: list[Change], limit: int) -> None:
    assert changes(composed(together(rows), limit)) == logged
    alone = changes(composed(apart(rows), limit))
    assert [name for name, _ in groupby(alone, key=lambda one: one[:2])] == [one.table.name for one in rows]
    for one in rows:
        assert [c for c in alone if c[:2] == one.table.name] == [c for c in logged if c[:2] == one.table.name]


def test_a_part_of_the_rows_is_sent_alone(rows: list[Rows], logged: list[Change]) -> None:
    one = max(rows, key=lambda one: one.ends.size)
    first, last = int(one.counts[:3].sum()), int(one.counts[:7].sum())
    mine = [change for change in logged if change[:2] == one.table.name]
    assert changes(composed([[one.part(3, 7)]])) == mine[first:last]
    assert changes(composed([[one.part(0, 3)], [one.part(3, one.ends.size)]])) == mine
    assert changes(composed([[one.part(0, 3), rows[0].part(0, 0)]])) == mine[:first]


@pytest.mark.parametrize("grouped", [apart, together])
@pytest.mark.parametrize("limit", [2_000, 50_000])
def test_a_block_passes_the_limit_only_if_one_event_and_its_map_do(rows: list[Rows], limit: int, grouped: type) -> None:
    blocks = composed(grouped(rows), limit)
    assert len(blocks) > 1
    for block in blocks:
        found = [event for event in events_in(block) if event.type in f.ROWS]
        maps = sum(len(event.data) for event in events_in(block) if event.type == f.TABLE_MAP)
        assert len(block) - maps <= limit or len(found) == 1


def test_neighbours_of_one_kind_become_one_event() -> None:
    """The server looks for the table's handler, and for an index, once for each event."""
    made = Made((4,), (0,))
    events = [made.rows_event(kind, [row]) for kind, row in (
        (f.WRITE_ROWS, ((b"1111",),)), (f.WRITE_ROWS, ((b"2222",),)), (f.UPDATE_ROWS, ((b"1111",), (b"3333",))),
        (f.UPDATE_ROWS, ((b"3333",), (b"4444",))), (f.DELETE_ROWS, ((b"2222",),)), (f.WRITE_ROWS, ((b"5555",),)),
    )]  # fmt: skip
    (block,) = in_order([[as_rows(made, events, [1] * 6)]], frozenset())
    found = [event.type for event in events_in(block)]
    assert found == [f.TABLE_MAP, f.WRITE_ROWS, f.UPDATE_ROWS, f.DELETE_ROWS, f.WRITE_ROWS]


def test_without_a_key_updates_and_deletes_keep_an_event_each() -> None:
    """The server may look for all rows of an event in one pass, which would find what earlier ones left behind."""
    made = Made((4,))
    change, back = ((b"1111",), (b"2222",)), ((b"2222",), (b"1111",))
    events = [made.rows_event(f.UPDATE_ROWS, [change]), made.rows_event(f.UPDATE_ROWS, [back])]
    events += [made.rows_event(f.DELETE_ROWS, [((b"1111",),)])] * 2 + [
        made.rows_event(f.WRITE_ROWS, [((b"1111",),)])
    ] * 2
    (block,) = in_order([[as_rows(made, events, [1] * 6)]], frozenset([("d", "t")]))
    assert [len(rows_of(e.data, made.widths)) for e in events_in(block) if e.type in f.ROWS] == [1, 1, 1, 1, 2]


def test_images_of_other_columns_are_not_put_into_one_event() -> None:
    made = Made((4, 4, -1), (0,))
    row = ((b"1111", b"2222", b"x"),)
    events = [made.rows_event(f.WRITE_ROWS, [row], present=present) for present in ((0, 1), (0, 1), (0, 2), (0, 1, 2))]
    (block,) = in_order([[as_rows(made, events, [1] * 4, full=False)]], frozenset())
    assert [len(rows_of(e.data, made.widths)) for e in events_in(block) if e.type in f.ROWS] == [2, 1, 1]


def test_rows_that_name_their_partition_are_not_put_into_one_event_with_others() -> None:
    made = Made((4,), (0,))
    rows = [((bytes([n] * 4),),) for n in range(4)]
    extras = (b"\1\0\0", b"\1\0\0", b"\1\1\0", b"")
    events = [made.rows_event(f.WRITE_ROWS, [r], extra=extra) for r, extra in zip(rows, extras, strict=True)]
    (block,) = in_order([[as_rows(made, events, [1] * 4)]], frozenset())
    found = [e for e in events_in(block) if e.type in f.ROWS]
    assert [len(rows_of(e.data, made.widths)) for e in found] == [2, 1, 1]
    assert [c[3] for c in changes([block])] == rows


def test_checks_that_were_off_at_the_source_are_off_for_those_rows_only(rows: list[Rows]) -> None:
    mine = [one for one in rows if one.table.name[1] in ("child", "parent")]
    logged = [
        flags(memoryview(one.data[start + f.HEADER_SIZE : start + f.HEADER_SIZE + 8].tobytes())) & ~f.STATEMENT_END
        for one in mine for start in one.starts
    ]  # fmt: skip
    usual, relaxed = f.USE_SQL_FOREIGN_KEY, f.NO_FOREIGN_KEY_CHECKS | f.RELAXED_UNIQUE_CHECKS
    assert sorted(logged) == [usual, usual, usual | relaxed], "the log does not hold what this is about"
    blocks = composed(together(mine))
    sent = [flags(events_in(block)[-1].body) & ~f.STATEMENT_END for block in blocks]
    no_checks = f.USE_SQL_FOREIGN_KEY | f.NO_FOREIGN_KEY_CHECKS
    assert sent == [no_checks, no_checks | f.RELAXED_UNIQUE_CHECKS, no_checks]


def test_a_source_that_cascades_inside_its_engine_leaves_keys_to_be_checked() -> None:
    made = Made((4,), (0,))
    events = [made.rows_event(f.DELETE_ROWS, [((b"1111",),)], flags=its) for its in (0, 0, f.NO_FOREIGN_KEY_CHECKS)]
    blocks = list(in_order([[as_rows(made, events, [1] * 3, cascades_logged=False)]], frozenset()))
    assert [flags(events_in(block)[-1].body) for block in blocks] == [
        f.STATEMENT_END, f.STATEMENT_END | f.NO_FOREIGN_KEY_CHECKS,
    ]  # fmt: skip


def test_nothing_composed_is_no_block() -> None:
    assert composed([]) == []


def test_an_event_that_does_not_fit_names_its_table() -> None:
    good, bad = Made((4,), (0,), name="good"), Made((4, 4), (0,), name="bad")
    fine, wrong = good.rows_event(f.WRITE_ROWS, [((b"1111",),)]), good.rows_event(f.WRITE_ROWS, [((b"1111",),)])
    group = [as_rows(good, [fine], [1], places=[1]), as_rows(bad, [wrong], [1], places=[2])]
    with pytest.raises(CorruptEvent, match=r"d\.bad\): an event does not fit its table"):
        list(in_order([group], frozenset()))


@pytest.mark.parametrize("grouped", [apart, together])
@pytest.mark.parametrize("limit", [300, NO_LIMIT])
def test_a_server_that_is_sent_the_blocks_ends_with_the_same_rows(
    written: Path, rows: list[Rows], module_servers: Servers, limit: int, grouped: type
) -> None:
    with module_servers.connect(module_servers.made[0]) as source:
        expected = checksums(source)
    with module_servers.connect(module_servers.make(f"onto-{grouped.__name__}-{limit}")) as session:
        create_everything(session)
        for statement in FAMILY:
            session.run(statement)
        send(session, written, composed(grouped(rows), limit))
        assert checksums(session) == expected


def send(session: Session, log: Path, blocks: list[bytes]) -> None:
    with open_log(log) as opened:
        first = opened.format.plain
    session.run("SET SESSION sql_log_bin = 0")
    session.run(b"BINLOG '" + base64.b64encode(first) + b"'")
    session.run("SET SESSION gtid_next = 'AUTOMATIC'")
    session.run("BEGIN")
    for block in blocks:
        session.run(b"BINLOG '" + base64.b64encode(block) + b"'")
    session.run("COMMIT")
