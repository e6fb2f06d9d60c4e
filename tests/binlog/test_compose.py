"""What is sent as one ``BINLOG``: table maps first, ids of their own, one end of the statement, one set of flags."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from relight.binlog import format as f
from relight.binlog.compose import Composer, as_log_file
from relight.binlog.reader import Event, open_log
from relight.binlog.rows import TableMap, flags, read_table_map, table_id
from relight.binlog.transactions import transactions
from relight.server.session import Session
from relight.server.table_checksums import checksums
from tests.support.binlogs import create_everything, write_everything
from tests.support.replaying import logs_of, start_log
from tests.support.servers import Servers

NO_LIMIT = 2**40


@dataclass(frozen=True)
class Change:
    table: TableMap
    map_event: bytes
    rows_event: bytes


@pytest.fixture(scope="module")
def written(module_servers: Servers) -> Path:
    """A log of changes to tables of every column type, all of which were empty before."""
    with module_servers.connect(module_servers.make("writer")) as session:
        create_everything(session)
        session.run("CREATE TABLE kinds.parent (id INT PRIMARY KEY)")
        session.run("CREATE TABLE kinds.child (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES kinds.parent (id))")
        start_log(session)
        write_everything(session)
        session.run("INSERT INTO kinds.parent VALUES (1), (2)")
        session.run("SET SESSION foreign_key_checks = 0, unique_checks = 0")
        session.run("INSERT INTO kinds.child VALUES (1), (9)")
        session.run("SET SESSION foreign_key_checks = 1, unique_checks = 1")
        session.run("INSERT INTO kinds.child VALUES (2)")
        return logs_of(session)[0]


@pytest.fixture(scope="module")
def changes(written: Path) -> list[Change]:
    return list(changes_in(written))


def changes_in(path: Path) -> Iterator[Change]:
    with open_log(path) as log:
        for transaction in transactions(log):
            maps: dict[bytes, Change] = {}
            for event in transaction.events:
                if event.type == f.TABLE_MAP:
                    table = read_table_map(event.body)
                    maps[table.table_id] = Change(table, event.data, b"")
                elif event.type in f.ROWS:
                    known = maps[table_id(event.body)]
                    yield Change(known.table, known.map_event, event.data)


def composed(changes: list[Change], limit: int = NO_LIMIT) -> list[bytes]:
    composer = Composer(limit)
    for change in changes:
        composer.add(change.table, change.map_event, change.rows_event)
    blocks = composer.take()
    assert composer.take() == []
    return blocks


def events_in(block: bytes) -> list[Event]:
    found, position = [], 0
    while position < len(block):
        timestamp, kind, _, length, _, its_flags = f.HEADER.unpack_from(block, position)
        found.append(Event(position, kind, timestamp, its_flags, block[position : position + length]))
        position += length
    assert position == len(block), "the lengths in the headers do not add up"
    return found


@pytest.mark.parametrize("limit", [1, 500, 20_000, NO_LIMIT])
def test_every_block_is_one_statement(changes: list[Change], limit: int) -> None:
    for block in composed(changes, limit):
        events = events_in(block)
        kinds = [event.type == f.TABLE_MAP for event in events]
        assert kinds == sorted(kinds, reverse=True), "a table map behind a rows event"
        maps = [read_table_map(event.body) for event in events if event.type == f.TABLE_MAP]
        rows = [event for event in events if event.type in f.ROWS]
        assert len({table.table_id for table in maps}) == len(maps), "two tables with one id"
        assert len({table.identity for table in maps}) == len(maps), "a table is mapped twice"
        assert {table_id(event.body) for event in rows} == {table.table_id for table in maps}
        ends = [bool(flags(event.body) & f.STATEMENT_END) for event in rows]
        assert ends == [False] * (len(rows) - 1) + [True]
        assert len({flags(event.body) & ~f.STATEMENT_END for event in rows}) == 1


@pytest.mark.parametrize("limit", [1, 5_000, NO_LIMIT])
def test_nothing_is_lost_changed_or_put_in_another_order(changes: list[Change], limit: int) -> None:
    sent = []
    for block in composed(changes, limit):
        events = events_in(block)
        tables = {table_id(e.body): read_table_map(e.body) for e in events if e.type == f.TABLE_MAP}
        for event in events:
            if event.type in f.ROWS:
                table = tables[table_id(event.body)]
                sent.append((table.database, table.table, event.type, bytes(event.body[8:])))
    assert sent == [
        (one.table.database, one.table.table, one.rows_event[4], one.rows_event[f.HEADER_SIZE + 8 :]) for one in changes
    ]


@pytest.mark.parametrize("limit", [2_000, 50_000])
def test_a_block_passes_the_limit_only_if_one_event_and_its_map_do(changes: list[Change], limit: int) -> None:
    blocks = composed(changes, limit)
    assert len(blocks) > 1
    for block in blocks:
        rows = [event for event in events_in(block) if event.type in f.ROWS]
        maps = sum(len(event.data) for event in events_in(block) if event.type == f.TABLE_MAP)
        assert len(block) - maps <= limit or len(rows) == 1


def test_checks_that_were_off_at_the_source_are_off_for_those_rows_only(changes: list[Change]) -> None:
    children = [one for one in changes if one.table.table in ("child", "parent")]
    own = [flags(memoryview(one.rows_event)[f.HEADER_SIZE :]) & f.NO_FOREIGN_KEY_CHECKS for one in children]
    assert own == [0, f.NO_FOREIGN_KEY_CHECKS, 0], "the log does not hold what this is about"
    unique = {flags(events_in(block)[-1].body) & ~f.STATEMENT_END for block in composed(children)}
    assert len(unique) == len(composed(children)) - 1 == 2


def test_nothing_composed_is_no_block() -> None:
    assert composed([]) == []


@pytest.mark.parametrize("limit", [300, NO_LIMIT])
def test_a_server_that_is_sent_the_blocks_ends_with_the_same_rows(
    written: Path, changes: list[Change], module_servers: Servers, limit: int
) -> None:
    with module_servers.connect(module_servers.made[0]) as source:
        expected = checksums(source)
    with module_servers.connect(module_servers.make(f"onto-{limit}")) as session:
        create_everything(session)
        session.run("CREATE TABLE kinds.parent (id INT PRIMARY KEY)")
        session.run("CREATE TABLE kinds.child (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES kinds.parent (id))")
        send(session, written, composed(changes, limit))
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


def test_any_events_make_a_log_file_that_is_read_back(written: Path, tmp_path: Path) -> None:
    with open_log(written) as log:
        first, events = log.format.plain, [event.data for event in log.events()]
    chosen = random.Random(3).sample(events, 20)
    path = tmp_path / "some"
    path.write_bytes(as_log_file(first, chosen))
    with open_log(path) as log:
        assert log.format.plain == first
        read = list(log.events())
    for one, other in zip(read, chosen, strict=True):
        assert one.data[f.HEADER_SIZE :] == other[f.HEADER_SIZE :]
        _, kind, _, length, end, _ = f.HEADER.unpack_from(one.data)
        assert (kind, length, end) == (other[4], len(other), one.position + len(other))
