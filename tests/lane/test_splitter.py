"""Splitting goes through whatever a server writes into one transaction, and ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from relight.binlog import format as f
from relight.binlog.reader import open_log
from relight.lane.split_log import split_log
from relight.lane.stream import StreamReader, chunks
from tests.support.replaying import logs_of, start_log
from tests.support.servers import Servers


@pytest.mark.timeout(60)
def test_a_table_whose_flags_change_within_a_transaction_does_not_make_the_split_endless(
    servers: Servers, tmp_path: Path
) -> None:
    with servers.connect(servers.make("source")) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.parent (id INT PRIMARY KEY)")
        session.run(
            "CREATE TABLE d.child (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES d.parent (id) ON DELETE CASCADE)"
        )
        start_log(session)
        session.run("BEGIN")
        session.run("INSERT INTO d.parent VALUES (1), (2), (3)")
        for number in (1, 2, 3):
            session.run("SET SESSION foreign_key_checks = %s", number % 2)
            session.run("INSERT INTO d.child VALUES (%s)", number)
        session.run("DELETE FROM d.parent WHERE id = 1")
        session.run("COMMIT")
        (log,) = logs_of(session)[:1]
    with open_log(log) as opened:
        maps = [event.body for event in opened.events() if event.type == f.TABLE_MAP]
    child = {bytes(body[6:8]) for body in maps if b"child" in bytes(body)}
    assert len(child) > 1, "the server wrote the same flags everywhere, so nothing is tested"
    result = split_log(log, 0, tmp_path)
    (chunk,) = chunks([StreamReader(tmp_path / stream.file) for stream in result.streams])
    assert {rows.table.name: rows.ends.size for rows in chunk.rows} == {("d", "parent"): 2, ("d", "child"): 4}


def test_more_tables_than_the_first_table_of_ids_holds_are_all_found(servers: Servers, tmp_path: Path) -> None:
    count = 700
    with servers.connect(servers.make("source")) as session:
        session.run("CREATE DATABASE d")
        session.run("SET SESSION sql_log_bin = 0")
        for number in range(count):
            session.run(f"CREATE TABLE d.t{number} (id INT PRIMARY KEY)")
        session.run("SET SESSION sql_log_bin = 1")
        start_log(session)
        session.run("BEGIN")
        for turn in (1, 2):
            for number in range(count):
                session.run(f"INSERT INTO d.t{number} VALUES ({turn})")
        session.run("COMMIT")
        (log,) = logs_of(session)[:1]
    result = split_log(log, 0, tmp_path)
    (chunk,) = chunks([StreamReader(tmp_path / stream.file) for stream in result.streams])
    assert len(chunk.rows) == count
    assert {rows.ends.size for rows in chunk.rows} == {2}
