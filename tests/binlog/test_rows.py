"""Rows are counted without being decoded: a second opinion decodes them."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.binlog import format as f
from relight.binlog.reader import Event, open_log
from relight.binlog.rows import TableMap, count_rows, flags, read_table_map, table_id
from tests.support.binlogs import COLUMNS, Written, rows_read_by_another, write_logs
from tests.support.replaying import logs_of
from tests.support.servers import Servers
from tests.support.slow_log import transactions

COUNTED = {f.WRITE_ROWS: "inserted", f.DELETE_ROWS: "deleted"}


@pytest.fixture(scope="module")
def written(module_servers: Servers) -> Written:
    server = module_servers.make("writer")
    with module_servers.connect(server) as session:
        return write_logs(server, module_servers.admin, session)


def rows_events(path: Path) -> Iterator[tuple[Event, TableMap]]:
    with open_log(path) as log:
        for transaction in transactions(log):
            maps = {}
            for event in transaction.events:
                if event.type == f.TABLE_MAP:
                    table = read_table_map(event.body)
                    maps[table.table_id] = table
                elif event.type in f.ROWS:
                    yield event, maps[table_id(event.body)]


def counted(path: Path) -> Counter[tuple[str, str, str]]:
    """Rows per database, table and kind of change."""
    found: Counter[tuple[str, str, str]] = Counter()
    for event, table in rows_events(path):
        if event.type in COUNTED:
            found[table.database, table.table, COUNTED[event.type]] += count_rows(event.type, event.body, table)
    return found


def test_every_column_type_is_counted_as_another_reader_decodes_it(written: Written) -> None:
    other = rows_read_by_another(written, written.plain)
    assert {key for key in other if key[2] == "updated"}, "the log has no updates: the other reader reads nothing"
    mine = counted(written.plain)
    assert mine == Counter({key: count for key, count in other.items() if key[2] != "updated"})
    tables = {table for database, table, _ in mine if database == "kinds"}
    assert tables == {"everything", *(f"one {name}" for name in COLUMNS)}


def test_compressed_transactions_hold_the_same_rows(written: Written) -> None:
    assert written.compressed.stat().st_size < written.plain.stat().st_size / 2, "nothing was compressed"
    assert counted(written.compressed) == counted(written.plain)


def test_table_maps_name_tables_as_the_server_does(written: Written, module_servers: Servers) -> None:
    maps = {(table.database, table.table): table for _, table in rows_events(written.plain)}
    with module_servers.connect(written.server) as session:
        columns: dict[tuple[str, str], int] = {}
        for database, table, count in session.rows(
            "SELECT table_schema, table_name, COUNT(*) FROM information_schema.columns"
            " WHERE table_schema IN ('kinds', 'other d') GROUP BY 1, 2"
        ):
            columns[database, table] = count
    assert {name: len(table.widths) for name, table in maps.items()} == columns


def test_the_same_table_has_the_same_identity_and_another_definition_another(
    written: Written, module_servers: Servers
) -> None:
    identities: dict[tuple[str, str], set[bytes]] = {}
    for _, table in rows_events(written.plain):
        identities.setdefault((table.database, table.table), set()).add(table.shape)
    assert all(len(one) == 1 for one in identities.values())
    assert len(set.union(*identities.values())) == len(identities)


def first(written: Written, kind: int, table: str) -> tuple[Event, TableMap]:
    return next((e, t) for e, t in rows_events(written.plain) if e.type == kind and t.table == table)


def test_rows_that_do_not_fit_their_table_are_refused(written: Written) -> None:
    event, table = first(written, f.WRITE_ROWS, "everything")
    _, other = first(written, f.WRITE_ROWS, "plain")
    with pytest.raises(ValueError, match="columns in the rows, 2 in the table"):
        count_rows(event.type, event.body, other)
    whole = count_rows(event.type, event.body, table)
    assert whole >= 1
    for cut in range(1, 60):
        with pytest.raises((ValueError, IndexError, struct.error)):
            count_rows(event.type, event.body[:-cut], table)


def test_a_malformed_table_map_never_passes_for_another(written: Written) -> None:
    with open_log(written.plain) as log:
        body = next(e.body for t in transactions(log) for e in t.events if e.type == f.TABLE_MAP)
    whole = read_table_map(body)
    for cut in range(1, len(body)):
        try:
            found = read_table_map(body[:cut])
        except (ValueError, IndexError, struct.error):
            continue
        assert found.widths == whole.widths, f"cut to {cut} bytes it is read as something else"
    unknown = bytearray(body)
    unknown[8 + 1 + len(whole.database) + 1 + 1 + len(whole.table) + 1 + 1] = 200
    with pytest.raises(ValueError, match="unknown column type 200"):
        read_table_map(memoryview(unknown))


def test_the_end_of_a_statement_and_its_checks_are_told_by_flags(written: Written) -> None:
    per_statement = [flags(event.body) for event, table in rows_events(written.plain) if table.table == "one tiny"]
    assert per_statement
    assert all(value & f.STATEMENT_END for value in per_statement)


def test_vectors_which_the_other_reader_does_not_know_are_counted(written: Written, module_servers: Servers) -> None:
    with module_servers.connect(written.server) as session:
        session.run("CREATE TABLE kinds.vectors (v VECTOR(3), w VECTOR(2000))")
        session.run("INSERT INTO kinds.vectors VALUES (STRING_TO_VECTOR('[1,2,3]'), NULL), (NULL, NULL)")
        session.run("INSERT INTO kinds.vectors VALUES (NULL, STRING_TO_VECTOR('[1]'))")
        log = logs_of(session)[-1]
    assert counted(log) == {("kinds", "vectors", "inserted"): 3}
