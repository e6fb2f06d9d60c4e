"""Replay is right on the logs of older servers, made from the logs of this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from relight.binlog import format as f
from relight.lane import tables
from relight.server.session import Session
from tests.lane.test_any_log import BASE, change
from tests.lane.test_any_log_xa import xa
from tests.support.older_logs import (
    Change,
    bare_table_maps,
    by_server,
    no_gtid_events,
    read,
    replaced_text,
    rewritten,
    rows_v1,
    short_gtids,
)
from tests.support.twins import Twins

CREATE_SELECT_OF_OLD = replaced_text(b" START TRANSACTION", b"")
"""CREATE TABLE ... SELECT as it was logged before 8.0.21: a plain CREATE TABLE, inside the transaction."""

OLDER: dict[str, tuple[Change, ...]] = {
    "5.6, rows events of version 1": (by_server("5.6.51"), short_gtids(25), bare_table_maps, rows_v1),
    "5.6": (by_server("5.6.51"), short_gtids(25), bare_table_maps),
    "5.7": (by_server("5.7.44"), short_gtids(42), bare_table_maps),
    "8.0, GTIDs with commit times only": (by_server("8.0.20"), short_gtids(49)),
    "version 1 and metadata": (rows_v1,),
}


def write_a_bit_of_all(session: Session) -> None:
    """Rows, DDL, statements and CREATE ... SELECT."""
    change(session, 1, 20)
    session.run("CREATE TABLE b.made (id INT PRIMARY KEY, v VARCHAR(20))")
    session.run("INSERT INTO b.made VALUES (1, 'a'), (2, 'b')")
    session.run("CREATE TABLE b.copied SELECT * FROM b.made")
    session.run("INSERT INTO b.copied VALUES (3, 'c')")
    session.run("SET SESSION binlog_row_image = MINIMAL")
    change(session, 2, 20)
    session.run("SET SESSION binlog_row_image = DEFAULT, binlog_format = STATEMENT")
    session.run("INSERT INTO b.made VALUES (3 + RAND(), @@time_zone)")
    session.run("SET SESSION binlog_format = ROW")
    change(session, 3, 5)


@pytest.mark.parametrize("changes", OLDER.values(), ids=OLDER)
@pytest.mark.parametrize("checksums", [True, False], ids=["checksums", "no checksums"])
def test_logs_with_gtids_of_older_servers(
    twins: Twins, tmp_path: Path, changes: tuple[Change, ...], checksums: bool
) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        write_a_bit_of_all(session)
    twins.replay(
        [rewritten(log, tmp_path / "older", *changes, CREATE_SELECT_OF_OLD, checksums=checksums) for log in twins.logs],
        inconclusive=[("b", "made"), ("b", "copied"), ("b", "keyed")],
    )


@pytest.mark.parametrize("version", ["5.6.51", "5.7.44"])
def test_logs_with_nothing_in_front_of_a_transaction(twins: Twins, tmp_path: Path, version: str) -> None:
    """5.6 without GTIDs."""
    twins.prepare(*BASE, "CREATE TABLE a.loose (n INT) ENGINE=MyISAM")
    with twins.writing() as session:
        write_a_bit_of_all(session)
        session.run("INSERT INTO a.loose VALUES (1), (2)")
        session.run("SET SESSION binlog_format = STATEMENT")
        session.run("UPDATE a.loose SET n = n + 1")
        session.run("CREATE TABLE a.last (id INT PRIMARY KEY)")
        session.run("SET SESSION binlog_format = ROW")
        session.run("FLUSH BINARY LOGS")
        session.run("INSERT INTO a.last VALUES (1)")
    changes = (by_server(version), bare_table_maps, no_gtid_events, CREATE_SELECT_OF_OLD)
    logs = [rewritten(log, tmp_path / "older", *changes) for log in twins.logs]
    assert not any(event.type in (f.GTID, f.ANONYMOUS_GTID) for log in logs for event in read(log))
    split, _ = twins.replay(
        logs,
        inconclusive=[("b", "made"), ("b", "copied"), ("b", "keyed"), ("a", "keyed"), ("a", "bag"), ("a", "loose")],
    )
    assert split.sources == ("",)
    assert split.transactions > 40


def test_create_select_of_an_engine_that_cannot_roll_back(twins: Twins, tmp_path: Path) -> None:
    """Before GTIDs it was one transaction too."""
    twins.prepare(*BASE)
    with twins.writing() as session:
        session.run("CREATE TABLE b.copied SELECT * FROM a.bag")
    by_myisam = replaced_text(b" START TRANSACTION", b" ENGINE=MyISAM")
    log = rewritten(twins.logs[0], tmp_path / "older", no_gtid_events, by_myisam)
    twins.run_on_source("ALTER TABLE b.copied ENGINE=MyISAM")
    twins.replay([log], inconclusive=[("b", "keyed")])


@pytest.mark.parametrize(
    "changes",
    [(by_server("5.7.44"), short_gtids(42), bare_table_maps), (no_gtid_events, rows_v1)],
    ids=["GTIDs", "none"],
)
def test_xa_transactions_of_older_servers(twins: Twins, tmp_path: Path, changes: tuple[Change, ...]) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        xa(session, "'kept'", "INSERT INTO a.bag VALUES (10, 'xa')", "DELETE FROM b.keyed WHERE k = 'k1'")
        session.run("INSERT INTO a.bag VALUES (11, 'between')")
        session.run("XA COMMIT 'kept'")
        xa(session, "'one'", "INSERT INTO a.bag VALUES (12, 'xa')", end="XA COMMIT 'one' ONE PHASE")
    twins.replay([rewritten(log, tmp_path / "older", *changes) for log in twins.logs])


def test_more_tables_than_there_was_room_for(twins: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_IDS", 4)
    twins.prepare("CREATE DATABASE a", *(f"CREATE TABLE a.t{n} (id INT PRIMARY KEY)" for n in range(12)))
    with twins.writing() as session:
        for number in range(3):
            session.run("BEGIN")
            for n in range(12):
                session.run(f"INSERT INTO a.t{n} VALUES ({number})")
            session.run("COMMIT")
    twins.replay()
