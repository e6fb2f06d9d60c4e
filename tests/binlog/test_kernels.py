"""The compiled loops against slow, obvious twins: rows that are walked, folded, and written again."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from relight.binlog import format as f
from relight.binlog import kernels as k
from relight.binlog.reader import open_log
from relight.binlog.rows import TableMap, count_rows, read_table_map, table_id
from relight.lane import net
from relight.lane.net import NetEffect, NetTable, NotProvable
from relight.lane.split_log import split_log
from relight.lane.stream import Rows, StreamReader, chunks
from relight.run_files import SplitResult
from tests.support.binlogs import Written, rows_read_by_another, write_logs
from tests.support.made_events import Image, Made, Row, Value, as_rows, log_file, rotate, transaction
from tests.support.replaying import logs_of, start_log
from tests.support.servers import Servers
from tests.support.slow_log import transactions
from tests.support.slow_rows import SlowTable, changes_in, events_in, rows_of

KIND = {
    **dict.fromkeys(f.INSERTS, "inserted"), **dict.fromkeys(f.UPDATES, "updated"), **dict.fromkeys(f.DELETES, "deleted"),
}  # fmt: skip
Counts = Counter[tuple[str, str, str]]
"""Rows per database, table and kind of change."""


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(0, 300))
def test_a_checksum_is_the_one_that_zlib_computes(data: bytes, one: int, other: int) -> None:
    start, end = sorted((min(one, len(data)), min(other, len(data))))
    assert k.crc32(np.frombuffer(data, dtype=np.uint8), start, end) == zlib.crc32(data[start:end])


# Walking


@pytest.fixture(scope="module")
def written(module_servers: Servers) -> Written:
    server = module_servers.make("writer")
    with module_servers.connect(server) as session:
        return write_logs(server, module_servers.admin, session)


@dataclass(frozen=True)
class Split:
    """A split log: what was found, and its rows in the order of the log."""

    result: SplitResult
    rows: list[Rows]


def split(log: Path, folder: Path) -> Split:
    folder.mkdir()
    result = split_log(log, 0, folder)
    readers = [StreamReader(folder / stream.file) for stream in result.streams]
    return Split(result, [rows for chunk in chunks(readers) for rows in chunk.rows])


def walked(rows: Sequence[Rows]) -> Counts:
    found: Counts = Counter()
    for one in rows:
        for kind, count in zip(one.data[one.starts + 4].tolist(), one.counts.tolist(), strict=True):
            found[*one.table.name, KIND[kind]] += count
    return found


def slowly_walked(log: Path) -> Iterator[tuple[TableMap, int, bytes]]:
    """Table, event type, event without checksum."""
    with open_log(log) as opened:
        for one in transactions(opened):
            maps: dict[bytes, TableMap] = {}
            for event in one.events:
                if event.type == f.TABLE_MAP:
                    table = read_table_map(event.body)
                    maps[table.table_id] = table
                elif event.type in f.ROWS:
                    yield maps[table_id(event.body)], event.type, event.data


def journalled(result: SplitResult) -> Counts:
    found: Counts = Counter()
    for one in result.operations:
        assert one.kind == "change"
        found[one.database, one.table, "inserted"] += one.inserted
        found[one.database, one.table, "deleted"] += one.deleted
    return +found


def test_rows_of_every_column_type_are_counted_as_another_reader_decodes_them(written: Written, tmp_path: Path) -> None:
    other = rows_read_by_another(written, written.plain)
    found = split(written.plain, tmp_path / "split")
    assert walked(found.rows) == other
    assert journalled(found.result) == Counter({key: n for key, n in other.items() if key[2] != "updated"})
    assert {key[2] for key in other} == {"inserted", "updated", "deleted"}


def test_rows_of_compressed_transactions_are_counted_the_same(written: Written, tmp_path: Path) -> None:
    plain, packed = split(written.plain, tmp_path / "plain"), split(written.compressed, tmp_path / "packed")
    assert journalled(packed.result) == journalled(plain.result)


def test_every_rows_event_comes_out_once_with_its_bytes_count_and_place(written: Written, tmp_path: Path) -> None:
    for log in (written.plain, written.compressed):
        slow: dict[tuple[str, str], list[tuple[bytes, int]]] = {}
        for table, kind, data in slowly_walked(log):
            count = len(rows_of(data, table.widths))
            assert kind in f.UPDATES or count == count_rows(kind, memoryview(data)[f.HEADER_SIZE :], table)
            slow.setdefault((table.database, table.table), []).append((data[f.HEADER_SIZE :], count))
        found = split(log, tmp_path / log.name)
        assert {one.table.name for one in found.rows} == set(slow)
        places = np.concatenate([one.places for one in found.rows])
        assert sorted(places.tolist()) == list(range(found.result.row_events))
        for one in found.rows:
            assert (np.diff(one.places) > 0).all()
            assert (np.diff(one.transactions) >= 0).all()
            assert one.full
            events = [
                (one.data[a + f.HEADER_SIZE : b].tobytes(), count)
                for a, b, count in zip(one.starts, one.ends, one.counts.tolist(), strict=True)
            ]  # fmt: skip
            assert events == slow[one.table.name]


def test_images_without_some_columns_are_counted_and_told_from_full_ones(
    written: Written, module_servers: Servers, tmp_path: Path
) -> None:
    with module_servers.connect(written.server) as session:
        session.run(
            "CREATE TABLE kinds.wide (id INT PRIMARY KEY, " + ", ".join(f"c{n} VARCHAR(9)" for n in range(70)) + ")"
        )
        session.run("CREATE TABLE kinds.defaults (a INT, b INT)")
        session.run("CREATE TABLE kinds.vectors (v VECTOR(3), w VECTOR(2000))")
        start_log(session)
        session.run("INSERT INTO kinds.wide (id, c3, c69) VALUES (1, 'x', 'y'), (2, NULL, 'z')")
        session.run("INSERT INTO kinds.vectors VALUES (STRING_TO_VECTOR('[1,2,3]'), NULL), (NULL, NULL)")
        session.run("SET SESSION binlog_row_image = MINIMAL")
        session.run("INSERT INTO kinds.wide (id, c8) VALUES (3, 'x'), (4, NULL)")
        session.run("UPDATE kinds.wide SET c9 = 'u', c64 = NULL")
        session.run("DELETE FROM kinds.wide WHERE id < 3")
        for _ in range(3):
            session.run("INSERT INTO kinds.defaults () VALUES ()")
        (log,) = logs_of(session)
    found = split(log, tmp_path / "split")
    assert walked(found.rows) == {
        ("kinds", "wide", "inserted"): 4, ("kinds", "wide", "updated"): 4, ("kinds", "wide", "deleted"): 2,
        ("kinds", "vectors", "inserted"): 2, ("kinds", "defaults", "inserted"): 3,
    }  # fmt: skip
    assert {one.table.name[1]: one.full for one in found.rows} == {"wide": False, "vectors": True, "defaults": False}
    slow = Counter(
        {name: sum(count_rows(kind, memoryview(data)[f.HEADER_SIZE :], table)
                   for table, kind, data in slowly_walked(log) if table.table == name and kind in f.INSERTS)
         for name in ("wide", "vectors", "defaults")}
    )  # fmt: skip
    assert slow == {"wide": 4, "vectors": 2, "defaults": 3}


def test_parts_of_documents_are_not_taken_for_full_images(
    written: Written, module_servers: Servers, tmp_path: Path
) -> None:
    with module_servers.connect(written.server) as session:
        session.run("CREATE TABLE kinds.documents (id INT PRIMARY KEY, j JSON)")
        session.run("INSERT INTO kinds.documents VALUES (1, JSON_OBJECT('k', 1, 'l', REPEAT('x', 500)))")
        start_log(session)
        session.run("SET SESSION binlog_row_value_options = PARTIAL_JSON")
        session.run("UPDATE kinds.documents SET j = JSON_SET(j, '$.k', 2)")
        session.run("INSERT INTO kinds.documents VALUES (2, '{}')")
        session.run("DELETE FROM kinds.documents WHERE id = 2")
        (log,) = logs_of(session)
    (rows,) = split(log, tmp_path / "split").rows
    assert not rows.full
    assert rows.counts.tolist() == [0, 1, 1], "an update's rows are counted by nobody"


def test_a_transaction_over_thousands_of_tables_is_walked_once(tmp_path: Path) -> None:
    """More tables than there is room for at first, each met for the first time in the middle of a transaction."""
    tables = [Made((4,), (0,), name=f"t{n}") for n in range(5000)]
    events = [
        one
        for n, made in enumerate(tables)
        for one in (made.map_event(n), made.rows_event(f.WRITE_ROWS, [((b"1111",),)], number=n))
    ]
    log = log_file(tmp_path / "log", [*transaction(1, events), *transaction(2, events), rotate()])
    found = split(log, tmp_path / "split")
    assert walked(found.rows) == {("d", made.name, "inserted"): 2 for made in tables}
    assert [one.transactions.tolist() for one in found.rows] == [[1, 2]] * 5000


def test_a_table_id_that_comes_to_mean_another_table_is_followed(tmp_path: Path) -> None:
    one, other = Made((4,), (0,), name="one"), Made((4, -1), (0,), name="other")
    first = [one.map_event(7), one.rows_event(f.WRITE_ROWS, [((b"1111",),)], number=7)]
    second = [other.map_event(7), other.rows_event(f.WRITE_ROWS, [((b"1111", b"x"),)] * 2, number=7)]
    log = log_file(
        tmp_path / "log", [*transaction(1, first), *transaction(2, second), *transaction(3, first), rotate()]
    )
    assert walked(split(log, tmp_path / "split").rows) == {("d", "one", "inserted"): 2, ("d", "other", "inserted"): 2}


def test_more_rows_events_than_were_expected_are_all_walked(tmp_path: Path) -> None:
    """There is room for one in 128 bytes of a chunk at first."""
    made = Made((1,), (0,))
    event = made.rows_event(f.WRITE_ROWS, [((b"x",),)])
    log = log_file(tmp_path / "log", [*transaction(1, [made.map_event(), *[event] * 150_000]), rotate()], checked=False)
    assert walked(split(log, tmp_path / "split").rows) == {("d", "t", "inserted"): 150_000}


# Folding


WIDTHS = st.lists(st.sampled_from([1, 2, 3, 4, 5, 8, 9, 16, -1, -2, -3, -4]), min_size=1, max_size=20)


@st.composite
def tables(draw: st.DrawFn, *, keyed: bool | None = None) -> tuple[Made, NetTable]:
    """Columns of any width, the key anywhere among them or nowhere."""
    widths = tuple(draw(WIDTHS))
    columns = range(len(widths))
    key: tuple[int, ...] = ()
    if draw(st.booleans()) if keyed is None else keyed:
        key = tuple(draw(st.lists(st.sampled_from(columns), min_size=1, max_size=4, unique=True)))
    fixed = [column for column in columns if 0 < widths[column] <= 8]
    automatic = draw(st.sampled_from([None, *fixed]))
    table = NetTable(len(widths), key, automatic, draw(st.booleans()), signed=draw(st.booleans()))
    return Made(widths, key), table


@dataclass
class History:
    """Rows that were there before, rows events, and what the table holds after them. Also the highest automatic value
    that any row was given meanwhile."""

    made: Made
    table: NetTable
    draw: random.Random
    keys: int = 12

    def __post_init__(self) -> None:
        self.before = SlowTable(self.made.key)
        for _ in range(self.draw.randint(0, 10)):
            image = self._image()
            if not self._is_there(self.before, image):
                self.before.apply(f.WRITE_ROWS, (image,))
        self.after = self.before.copy()
        self.events: list[bytes] = []
        self.counts: list[int] = []
        self.highest: int | None = None

    def go_on(self, events: int) -> None:
        """So many more rows events."""
        for _ in range(events):
            kind = self.draw.choice(
                [f.WRITE_ROWS, f.UPDATE_ROWS, f.DELETE_ROWS, f.WRITE_ROWS_V1, f.UPDATE_ROWS_V1, f.DELETE_ROWS_V1]
            )
            rows = [row for _ in range(self.draw.randint(1, 5)) for row in self._change(kind)]
            if rows:
                extra = self.draw.choice([b"", b"\1\5\0"]) if kind not in f.ROWS_V1 else b""
                flags = self.draw.choice([0, f.STATEMENT_END, f.USE_SQL_FOREIGN_KEY, f.NO_FOREIGN_KEY_CHECKS])
                self.events.append(self.made.rows_event(kind, rows, flags=flags, extra=extra))
                self.counts.append(len(rows))

    def _change(self, kind: int) -> Iterator[Row]:
        """A row that fits what is there, if one is found, which takes effect."""
        there = list(self.after.rows.values()) if self.made.key else list(self.after.bag)
        row: Row
        if kind in f.INSERTS:
            row = (self._image(),)
            fits = not self._is_there(self.after, row[0])
        elif not there:
            return
        else:
            row = (self.draw.choice(there),)
            fits = True
        if kind in f.UPDATES:
            image = self._image()
            if self.draw.random() < 0.6:  # most updates leave the key
                image = tuple(row[0][n] if n in self.made.key else value for n, value in enumerate(image))
            same = self.made.key and self.after.key_of(image) == self.after.key_of(row[0])
            fits = bool(same) or not self._is_there(self.after, image)
            row = (row[0], image)
        if fits:
            self.after.apply(kind, row)
            if kind not in f.DELETES:
                self._note(row[-1])
            yield row

    def _note(self, image: Image) -> None:
        value = self.value(image)
        if value is not None and value >= 0:
            self.highest = max(self.highest or 0, value)

    def value(self, image: Image) -> int | None:
        """The automatic column's."""
        column = self.table.auto_increment
        content = None if column is None else image[column]
        if content is None:
            return None
        number = int.from_bytes(content, "little", signed=self.table.signed)
        return None if number >= 1 << 63 else number

    def _is_there(self, table: SlowTable, image: Image) -> bool:
        return bool(self.made.key) and table.key_of(image) in table.rows

    def _image(self) -> Image:
        return tuple(self._value(column, width) for column, width in enumerate(self.made.widths))

    def _value(self, column: int, width: int) -> Value:
        if column not in self.made.key and self.draw.random() < 0.3:
            return None
        number = self.draw.randrange(self.keys)
        if width >= 0:
            return (
                (number.to_bytes(8, "little") + b"\xfe" * 16)[:width] if self.draw.random() < 0.9 else b"\xff" * width
            )
        long = 0 if column in self.made.key else self.draw.choice([0, 0, 1, 7, 200 if width == -1 else 900])
        return b"%d" % number + b"x" * long


@st.composite
def histories(draw: st.DrawFn, *, keyed: bool | None = None) -> History:
    made, table = draw(tables(keyed=keyed))
    history = History(made, table, random.Random(draw(st.integers(0, 2**32))), draw(st.sampled_from([2, 12, 200])))
    history.go_on(draw(st.integers(1, 60)))
    assume(history.events)
    return history


def net_effect(history: History, draw: random.Random) -> NetEffect:
    """It is given the events of the history several at a time."""
    effect = NetEffect(history.table, history.made.mapped())
    at = 0
    while at < len(history.events):
        end = at + draw.randint(1, 12)
        before = bytes(draw.randrange(256) for _ in range(draw.randint(0, 9)))
        effect.add(as_rows(history.made, history.events[at:end], history.counts[at:end], before=before))
        at = end
    return effect


def outcome(history: History, parts: Sequence[Iterator[bytes]]) -> tuple[SlowTable, int | None, int]:
    """What a strict server has after these blocks, the highest automatic value it has seen, and how many rows it was
    sent."""
    server = history.before.copy()
    highest, rows = None, 0
    for part in parts:
        for block in part:
            for table, kind, row in changes_in(block):
                assert table.widths == history.made.widths
                server.apply(kind, _whole(server, kind, row))
                rows += 1
                value = history.value(row[-1]) if kind not in f.DELETES else None
                highest = highest if value is None else max(highest or 0, value)
    return server, highest, rows


def _whole(server: SlowTable, kind: int, row: Row) -> Row:
    """A row that is named by its key alone is found by it."""
    if server.key and kind not in f.INSERTS:
        return (server.rows[server.key_of(row[0])], *row[1:])
    return row


def highest_of(history: History, table: SlowTable) -> int:
    images = table.rows.values() if table.key else table.bag
    return max((value for image in images if (value := history.value(image)) is not None), default=-1)


@settings(max_examples=300)
@given(histories(), st.integers(0, 2**32))
def test_a_net_effect_leaves_the_table_as_the_whole_history_does(history: History, seed: int) -> None:
    effect = net_effect(history, random.Random(seed))
    server, highest, rows = outcome(history, effect.statements())
    assert server.contents() == history.after.contents()
    assert rows <= 2 * effect.keys + 2 if history.made.key else True
    if history.table.auto_increment is not None and history.highest is not None:
        seen = max(-1 if highest is None else highest, highest_of(history, history.before))
        assert seen >= history.highest, "an automatic value would be given out a second time"


def divisible(history: History) -> History:
    """With a table that several connections may write to."""
    counter = history.table.auto_increment if history.table.auto_increment in history.made.key else None
    history.table = replace(history.table, more_unique_keys=False, auto_increment=counter)
    return history


@settings(max_examples=100)
@given(histories(keyed=True), st.integers(2, 7), st.randoms(use_true_random=False))
def test_parts_of_a_phase_may_be_applied_in_any_order(history: History, count: int, order: random.Random) -> None:
    effect = net_effect(divisible(history), order)
    assert effect.divisible
    phases = effect.phases(count, again=False)
    assert [len(parts) for parts in phases] == [count, count]
    for parts in phases:
        order.shuffle(parts)
    server, highest, _ = outcome(history, [part for parts in phases for part in parts])
    assert server.contents() == history.after.contents()
    if history.table.auto_increment is not None and history.highest is not None:
        assert max(-1 if highest is None else highest, highest_of(history, history.before)) >= history.highest


@settings(max_examples=100)
@given(histories(keyed=True), st.integers(1, 5), st.randoms(use_true_random=False))
def test_parts_that_are_there_already_may_be_applied_again(history: History, count: int, order: random.Random) -> None:
    """Rows may be as they were at any moment meanwhile."""
    effect = net_effect(divisible(history), order)
    seen = [image for event in history.events for row in rows_of(event, history.made.widths) for image in row]
    server = history.before.copy()
    for image in order.sample(seen, order.randint(0, len(seen))):
        server.rows[server.key_of(image)] = image
    for image in order.sample(seen, order.randint(0, len(seen) // 2)):
        server.rows.pop(server.key_of(image), None)
    for parts in effect.phases(count, again=True):
        order.shuffle(parts)
        for block in (block for part in parts for block in part):
            for _, kind, row in changes_in(block):
                there = server.key_of(row[0]) in server.rows
                assert not (kind == f.WRITE_ROWS and there), "it was not deleted first"
                if kind == f.WRITE_ROWS or there:
                    server.apply(kind, _whole(server, kind, row))
    assert server.contents() == history.after.contents()


def test_tables_whose_rows_can_be_in_each_others_way_are_not_divided() -> None:
    made = Made((4, 4), (0,))
    tables = (
        (NetTable(2, (0,), None, more_unique_keys=False), True), (NetTable(2, (0,), 0, more_unique_keys=False), True),
        (NetTable(2, (0,), 1, more_unique_keys=False), False), (NetTable(2, (0,), None, more_unique_keys=True), False),
        (NetTable(2, (), None, more_unique_keys=False), False),
    )  # fmt: skip
    for table, expected in tables:
        assert NetEffect(table, made.mapped()).divisible == expected


@settings(max_examples=50)
@given(histories(keyed=False))
def test_of_equal_rows_only_the_difference_is_written(history: History) -> None:
    history.table = replace(history.table, auto_increment=None)
    _, _, rows = outcome(history, net_effect(history, random.Random(1)).statements())
    before, after = history.before.bag, history.after.bag
    assert rows == ((after - before) + (before - after)).total()


@settings(max_examples=50)
@given(histories(keyed=True), st.integers(0, 2**32))
def test_a_change_that_cannot_have_followed_the_others_is_noticed(history: History, seed: int) -> None:
    draw = random.Random(seed)
    changed = touched(history)
    there = [image for key, image in history.after.rows.items() if key in changed]
    gone = [image for key, image in changed.items() if key not in history.after.rows]
    wrong = [(f.WRITE_ROWS, (image,)) for image in there] + [(f.DELETE_ROWS, (image,)) for image in gone]
    wrong += [(f.UPDATE_ROWS, (image, image)) for image in gone]
    wrong += [(f.UPDATE_ROWS, (one, other)) for one in there for other in there if one != other]
    wrong = [(kind, row) for kind, row in wrong if kind != f.UPDATE_ROWS or row[0] in gone
             or history.after.key_of(row[0]) != history.after.key_of(row[1])]  # fmt: skip
    for kind, row in draw.sample(wrong, min(len(wrong), 3)):
        effect = net_effect(history, draw)
        with pytest.raises(NotProvable):
            effect.add(as_rows(history.made, [history.made.rows_event(kind, [row])], [1]))


def test_rows_with_growing_images_do_not_fill_the_memory_and_stay_right() -> None:
    """Room that an image leaves behind is found again, however often all of them move."""
    made = Made((4, -3), (0,))
    effect = NetEffect(NetTable(2, (0,), None, more_unique_keys=False), made.mapped())
    keys = [n.to_bytes(4, "little") for n in range(50)]
    last: dict[bytes, bytes] = {}
    for size in range(10, 3000, 30):
        rows = [((key, b"old"), (key, key * (size // 4))) for key in keys]
        effect.add(as_rows(made, [made.rows_event(f.UPDATE_ROWS, rows)], [len(rows)]))
        last = {key: key * (size // 4) for key in keys}
    assert effect.memory < 40 * sum(len(value) for value in last.values())
    assert effect._arena.size < 1 << 21
    found = {row[1][0]: row[1][1] for part in effect.statements() for block in part for _, _, row in changes_in(block)}
    assert found == last


def test_deleted_rows_give_their_room_back_and_can_come_again() -> None:
    made = Made((4, -2), (0,))
    effect = NetEffect(NetTable(2, (0,), None, more_unique_keys=False), made.mapped())
    keys = [n.to_bytes(4, "little") for n in range(20)]
    for turn in range(60):
        rows = [((key, b"%d" % turn * 500),) for key in keys]
        effect.add(as_rows(made, [made.rows_event(f.WRITE_ROWS, rows)], [len(rows)]))
        if turn < 59:
            effect.add(as_rows(made, [made.rows_event(f.DELETE_ROWS, rows)], [len(rows)]))
    assert effect.keys == 20
    assert effect.memory < 200_000
    found = [(kind, row[0]) for part in effect.statements() for block in part for _, kind, row in changes_in(block)]
    assert sorted(found) == sorted((f.WRITE_ROWS, (key, b"59" * 500)) for key in keys)


def test_many_keys_make_the_table_of_keys_grow_and_all_are_found_again() -> None:
    made = Made((8, 2), (0,))
    effect = NetEffect(NetTable(2, (0,), 0, more_unique_keys=False), made.mapped())
    keys = [n.to_bytes(8, "little") for n in random.Random(7).sample(range(10**9), 40_000)]
    for at in range(0, len(keys), 1000):
        rows = [((key, b"\0\0"),) for key in keys[at : at + 1000]]
        effect.add(as_rows(made, [made.rows_event(f.WRITE_ROWS, rows)], [1000]))
    for at in range(0, len(keys), 2000):
        rows = [((key, b"\0\0"), (key, b"\1\1")) for key in keys[at : at + 1000]]
        effect.add(as_rows(made, [made.rows_event(f.UPDATE_ROWS, rows)], [1000]))
    assert effect.keys == len(keys)
    found = [row[0] for part in effect.statements() for block in part for _, _, row in changes_in(block)]
    assert Counter(found) == Counter(
        (key, b"\1\1" if n // 1000 % 2 == 0 else b"\0\0") for n, key in enumerate(keys)
    )  # fmt: skip
    assert found == sorted(found, key=lambda image: int.from_bytes(image[0], "little")), (
        "the table is not written in order"
    )


def test_blocks_stay_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "_EVENT_BYTES", 1000)
    monkeypatch.setattr(net, "_STATEMENT_BYTES", 4000)
    made = Made((4, -2), (0,))
    effect = NetEffect(NetTable(2, (0,), None, more_unique_keys=True), made.mapped())
    rows = [((n.to_bytes(4, "little"), b"x" * (n % 300)), (n.to_bytes(4, "little"), b"y" * 90)) for n in range(500)]
    effect.add(as_rows(made, [made.rows_event(f.UPDATE_ROWS, rows)], [500]))
    blocks = [block for part in effect.statements() for block in part]
    assert len(blocks) > 10
    assert all(len(block) <= 4000 + 200 for block in blocks)
    assert all(len(event.data) <= 1000 + 200 for block in blocks for event in events_in(block))


@pytest.mark.parametrize(
    ("value", "signed", "expected"),
    [(b"\x05\0", True, True), (b"\xff\x7f", True, True), (b"\xff\xff", True, False), (b"\xff\xff", False, True),
     (b"\0\x80", True, False), (b"\0\x80", False, True)],
)  # fmt: skip
def test_only_a_value_that_can_be_automatic_uses_one_up(value: bytes, signed: bool, expected: bool) -> None:
    made = Made((2,), (0,))
    effect = NetEffect(NetTable(1, (0,), 0, more_unique_keys=False, signed=signed), made.mapped())
    for kind in (f.WRITE_ROWS, f.DELETE_ROWS):
        effect.add(as_rows(made, [made.rows_event(kind, [((value,),)])], [1]))
    sent = [(kind, row[0][0]) for part in effect.statements() for block in part for _, kind, row in changes_in(block)]
    assert sent == ([(f.WRITE_ROWS, value), (f.DELETE_ROWS, value)] if expected else [])


def test_a_negative_row_does_not_hide_the_highest_value_that_was_used_up() -> None:
    made = Made((4,), (0,))
    effect = NetEffect(NetTable(1, (0,), 0, more_unique_keys=False), made.mapped())
    high, negative = (500).to_bytes(4, "little"), (-1).to_bytes(4, "little", signed=True)
    for kind, value in ((f.WRITE_ROWS, high), (f.WRITE_ROWS, negative), (f.DELETE_ROWS, high)):
        effect.add(as_rows(made, [made.rows_event(kind, [((value,),)])], [1]))
    sent = [(kind, row[0][0]) for part in effect.statements() for block in part for _, kind, row in changes_in(block)]
    assert sent == [(f.WRITE_ROWS, high), (f.DELETE_ROWS, high), (f.WRITE_ROWS, negative)]


# Writing


@settings(max_examples=150)
@given(histories(), st.integers(200, 5000))
def test_events_that_are_put_together_read_back_as_what_went_in(history: History, limit: int) -> None:
    made, events = history.made, history.events
    filler = b"\xee" * 5
    rows = as_rows(made, events, history.counts, before=filler)
    state, found = np.zeros(2, dtype=np.int64), []
    numbers, mergeable = np.full(len(events), 3, dtype=np.int64), np.ones(len(events), dtype=np.int64)
    columns = np.full(len(events), len(made.widths), dtype=np.int64)
    largest = max((len(event) for event in events), default=0)
    while state[0] < len(events):
        first = int(state[0])
        into = np.full(limit + largest, 0xEE, dtype=np.uint8)
        size = k.put_events(rows.data, rows.starts, rows.ends, numbers, mergeable, columns, limit, into, state)
        assert size > 0
        assert state[0] > first
        assert (into[size:] == 0xEE).all()
        assert size <= limit or state[0] == first + 1
        sent = events_in(into[:size].tobytes())
        its_rows = [(event.type, row) for event in sent for row in rows_of(event.data, made.widths)]
        went_in = [(event[4], row) for event in events[first : int(state[0])] for row in rows_of(event, made.widths)]
        assert its_rows == went_in
        assert all(event.data[f.HEADER_SIZE : f.HEADER_SIZE + 6] == b"\3\0\0\0\0\0" for event in sent)
        found += its_rows
    assert found == [(event[4], row) for event in events for row in rows_of(event, made.widths)]


@given(histories(keyed=True))
def test_keys_and_images_are_put_as_a_minimal_image_has_them(history: History) -> None:
    made = history.made
    history.table = replace(history.table, more_unique_keys=False, auto_increment=None)
    present = tuple(sorted(made.key))
    expected = set()
    for key, image in touched(history).items():
        name, last = made.image(image, present), history.after.rows.get(key)
        if key in history.before.rows:
            expected.add((f.DELETE_ROWS, name) if last is None else (f.UPDATE_ROWS, name + made.image(last)))
        elif last is not None:
            expected.add((f.WRITE_ROWS, made.image(last)))
    blocks = [block for part in net_effect(history, random.Random(2)).statements() for block in part]
    events = [event for block in blocks for event in events_in(block) if event.type in f.ROWS]
    sent = [(event.type, row) for event in events for row in _written(event.data, made)]
    assert len(sent) == len(expected)
    assert set(sent) == expected


def touched(history: History) -> dict[Image, Image]:
    """An image of every key that was changed."""
    images = (image for e in history.events for row in rows_of(e, history.made.widths) for image in row)
    return {history.after.key_of(image): image for image in images}


def _written(event: bytes, made: Made) -> Iterator[bytes]:
    """The bytes of each row of an event, put together again from what was read."""
    present = tuple(sorted(made.key))
    columns = (None,) if event[4] == f.WRITE_ROWS else (present, None)
    for row in rows_of(event, made.widths):
        yield b"".join(made.image(image, its) for image, its in zip(row, columns, strict=False))


@given(histories())
def test_equal_keys_have_equal_hashes_and_others_have_not(history: History) -> None:
    made = history.made
    rows = as_rows(made, history.events, history.counts)
    is_key = np.zeros(len(made.widths), dtype=np.uint8)
    is_key[list(made.key)] = 1
    images = [
        (n, image) for n, event in enumerate(history.events) for row in rows_of(event, made.widths) for image in row
    ]  # fmt: skip
    hashes, events = (np.empty(len(images), dtype=np.int64) for _ in range(2))
    widths = np.array(made.widths, dtype=np.int64)
    assert k.key_hashes(rows.data, rows.starts, rows.ends, widths, is_key, hashes, events) == len(images)
    assert events.tolist() == [n for n, _ in images]
    names = [history.after.key_of(image) if made.key else image for _, image in images]
    assert len(set(zip(names, hashes.tolist(), strict=True))) == len(set(names)) == len(set(hashes.tolist()))
    if images:
        assert k.key_hashes(rows.data, rows.starts, rows.ends, widths, is_key, hashes[:-1], events[:-1]) == k.FULL


# Compiling

FIRST_USE = """
import zlib, numpy as np
from relight.binlog import kernels as k
data = np.arange(1000, dtype=np.int64).astype(np.uint8)
assert k.crc32(data, 3, 997) == zlib.crc32(data[3:997].tobytes())
into = np.zeros(30, dtype=np.uint8)
k.copy_runs(data, np.array([5, 100]), np.array([15, 120]), into)
assert into.tobytes() == data[5:15].tobytes() + data[100:120].tobytes()
state = np.array([0, 0, -1, -1])
assert k.scan(data, 0, 10, 4, True, np.empty((1, k.T_COLUMNS), dtype=np.int64), state) == k.CUT_HEADER
print("right")
"""


@pytest.mark.timeout(700)
def test_processes_that_compile_at_the_same_time_all_work(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_OPT": "1"}  # which is faster
    running = [
        subprocess.Popen([sys.executable, "-c", FIRST_USE], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]  # fmt: skip
    for process in running:
        out, problem = process.communicate(timeout=600)
        assert (process.returncode, out.strip()) == (0, b"right"), problem.decode()
    assert list(tmp_path.rglob("*.nbc")), "nothing was kept"
    again = subprocess.run(
        [sys.executable, "-c", FIRST_USE], env=environment, capture_output=True, check=True, timeout=60
    )
    assert again.stdout.strip() == b"right"
