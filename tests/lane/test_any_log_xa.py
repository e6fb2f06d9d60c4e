"""Replay is right on logs with XA transactions."""

from __future__ import annotations

import pytest

from relight.server.session import Session
from tests.support.twins import Twins

BASE = (
    "CREATE DATABASE a",
    "CREATE DATABASE b",
    "CREATE TABLE a.t (id INT PRIMARY KEY, v VARCHAR(30), KEY (v))",
    "CREATE TABLE b.t (id INT PRIMARY KEY, v VARCHAR(30))",
    "CREATE TABLE b.bag (v VARCHAR(30), KEY (v))",
    "INSERT INTO a.t VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    "INSERT INTO b.t VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    "INSERT INTO b.bag VALUES ('one'), ('one'), ('two')",
)


def xa(session: Session, xid: str, *statements: str, end: str = "") -> None:
    """An XA transaction up to its PREPARE, or to ``end``."""
    session.run(f"XA START {xid}")
    for statement in statements:
        session.run(statement)
    session.run(f"XA END {xid}")
    session.run(end or f"XA PREPARE {xid}")


@pytest.mark.parametrize(
    "settings",
    [
        "binlog_row_image = FULL", "binlog_row_image = MINIMAL", "binlog_transaction_compression = ON",
        "gtid_next = 'AUTOMATIC:a_tag'", "xa_detach_on_prepare = OFF",
    ],
)  # fmt: skip
def test_xa_transactions_that_are_settled_in_the_log(twins: Twins, settings: str) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        session.run(f"SET SESSION {settings}")
        session.run("INSERT INTO a.t VALUES (4, 'before')")
        xa(session, "'kept'", "INSERT INTO a.t VALUES (10, 'xa'), (11, 'xa')", "UPDATE b.t SET v = 'xa' WHERE id = 1")
        session.run("XA COMMIT 'kept'")
        xa(session, "'gone', 'branch', 7", "DELETE FROM a.t WHERE id = 2", "INSERT INTO b.bag VALUES ('gone')")
        session.run("XA ROLLBACK 'gone', 'branch', 7")
        xa(session, "X'00ff27'", "INSERT INTO a.t VALUES (20, 'one phase')", "DELETE FROM b.bag WHERE v = 'one' LIMIT 1",
           end="XA COMMIT X'00ff27' ONE PHASE")  # fmt: skip
        xa(session, "'nothing changed'", end="XA COMMIT 'nothing changed' ONE PHASE")
        session.run("UPDATE a.t SET v = 'after' WHERE id = 10")
    twins.replay()


def test_an_xa_transaction_stays_prepared_while_others_commit(twins: Twins) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session, twins.servers.connect(twins.source) as other:
        xa(session, "'first'", "UPDATE a.t SET v = 'first' WHERE id = 1", "INSERT INTO b.bag VALUES ('first')")
        other.run("UPDATE a.t SET v = 'other' WHERE id = 2")
        xa(session, "'second'", "DELETE FROM b.t WHERE id = 3", "INSERT INTO a.t VALUES (5, 'second')")
        other.run("INSERT INTO b.bag VALUES ('other')")
        other.run("CREATE TABLE b.made (id INT PRIMARY KEY)")
        session.run("XA COMMIT 'second'")
        other.run("UPDATE a.t SET v = 'again' WHERE id = 5")
        session.run("XA ROLLBACK 'first'")
        other.run("UPDATE a.t SET v = 'again' WHERE id = 1")
    twins.replay()


def test_settled_in_a_later_file_than_prepared(twins: Twins) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        xa(session, "'kept'", "INSERT INTO a.t VALUES (10, 'xa')", "DELETE FROM b.t WHERE id = 1")
        session.run("FLUSH BINARY LOGS")
        xa(session, "'gone'", "DELETE FROM a.t WHERE id = 3")
        session.run("INSERT INTO b.t VALUES (7, 'between')")
        session.run("FLUSH BINARY LOGS")
        session.run("XA ROLLBACK 'gone'")
        session.run("XA COMMIT 'kept'")
    assert len(twins.logs) == 3
    twins.replay()


def test_what_is_prepared_at_the_end_can_be_settled_on_the_rebuilt_server(twins: Twins) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        xa(session, "'waits', 'b', 3", "INSERT INTO a.t VALUES (10, 'xa')", "DELETE FROM b.bag WHERE v = 'two'")
        session.run("INSERT INTO a.t VALUES (11, 'other')")
    twins.replay()
    for server in twins.all:
        with twins.servers.connect(server) as session:
            assert [row[1:] for row in session.rows("XA RECOVER")] == [(5, 1, "waitsb")]
            session.run("XA COMMIT 'waits', 'b', 3")
            assert session.value("SELECT COUNT(*) FROM a.t") == 5
    twins.compare()


def test_prepared_before_the_log_begins_and_settled_in_it(twins: Twins) -> None:
    twins.prepare(*BASE)
    for server in twins.all:
        with twins.servers.connect(server) as session:
            xa(session, "'older'", "INSERT INTO a.t VALUES (10, 'xa')")
    with twins.writing() as session:
        session.run("XA COMMIT 'older'")
        session.run("UPDATE a.t SET v = 'after' WHERE id = 10")
    twins.replay(inconclusive=[("a", "t"), ("b", "bag"), ("b", "t")])


def test_statements_in_xa_transactions(twins: Twins) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        session.run("SET SESSION binlog_format = STATEMENT")
        session.run("SET @value = 'a variable', time_zone = '+03:00'")
        xa(session, "'two'", "INSERT INTO a.t VALUES (12, @value), (13, NOW())", "DELETE FROM b.bag LIMIT 1",
           "INSERT INTO a.t VALUES (14, RAND())")  # fmt: skip
        session.run("XA COMMIT 'two'")
        xa(session, "'gone'", "INSERT INTO a.t VALUES (15, @value)")
        session.run("XA ROLLBACK 'gone'")
        xa(session, "'one'", "INSERT INTO a.t VALUES (10, 'xa')", "UPDATE b.t SET v = CONCAT(v, '!')",
           end="XA COMMIT 'one' ONE PHASE")  # fmt: skip
    twins.replay(inconclusive=[("a", "t"), ("b", "bag"), ("b", "t")])
