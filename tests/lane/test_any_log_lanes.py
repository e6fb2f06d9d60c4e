"""Replay is right although databases are replayed apart, on a server that is set up in its own way."""

from __future__ import annotations

import uuid

import pytest

from relight.server.session import Session
from tests.lane.test_any_log import BASE, change
from tests.support.twins import Twins


def run(session: Session, *statements: str) -> None:
    for statement in statements:
        session.run(statement)


def test_what_is_read_from_the_default_database_is_read_as_it_was_then(twins: Twins) -> None:
    """Lanes go in the order of their names: each of these would read what came later if it had a lane of its own."""
    twins.prepare(*BASE)
    with twins.writing() as session:
        run(
            session, "USE a", "CREATE TABLE b.shaped LIKE keyed", "CREATE VIEW b.seen AS SELECT * FROM bag",
            "ALTER TABLE keyed ADD COLUMN late INT", "ALTER TABLE bag ADD COLUMN late INT", "DELETE FROM bag",
            "INSERT INTO b.keyed VALUES ('last', 1, NULL)",
        )  # fmt: skip
    twins.replay()


def test_a_table_that_a_statement_makes_and_fills(twins: Twins) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        run(session, "SET binlog_format = STATEMENT", "USE a", "CREATE TABLE b.filled AS SELECT * FROM bag", "SET binlog_format = ROW",
            "DELETE FROM bag", "INSERT INTO b.filled VALUES (1, 'x')")  # fmt: skip
    twins.replay(inconclusive=[("b", "filled")])


def test_a_default_database_that_is_gone_at_the_end(twins: Twins) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        run(
            session, "CREATE DATABASE aside", "USE aside", "CREATE TABLE b.made (id INT PRIMARY KEY)", "ALTER TABLE b.made ADD COLUMN v INT",
            "CREATE USER someone", "GRANT SELECT ON b.* TO someone", "DROP DATABASE aside", "INSERT INTO b.made VALUES (2, 2)",
        )  # fmt: skip
    twins.replay()


def test_transactions_of_nothing_and_files_of_nothing(twins: Twins) -> None:
    twins.prepare(*BASE)
    elsewhere = uuid.uuid4()
    with twins.writing() as session:
        for number in (3, 1, 2):
            run(session, f"SET gtid_next = '{elsewhere}:{number}'", "BEGIN", "COMMIT", "SET gtid_next = 'AUTOMATIC'")
        run(session, "FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
        run(
            session,
            f"SET gtid_next = '{elsewhere}:4'",
            "INSERT INTO a.bag VALUES (1, 'from elsewhere')",
            "SET gtid_next = 'AUTOMATIC'",
        )
        change(session, 1, 5)
        run(session, "FLUSH TABLES", "FLUSH PRIVILEGES", "BEGIN", "COMMIT")
    splits = twins.replay()
    assert f"{elsewhere}:1-3" in str(splits[0].taken)
    assert splits[1].transactions == 0


def test_system_tables(twins: Twins) -> None:
    twins.prepare(*BASE)
    queries = ("SELECT * FROM mysql.time_zone_name ORDER BY 1",
               "SELECT * FROM sys.sys_config WHERE variable = 'relight.test'")  # fmt: skip
    with twins.writing() as session:
        run(
            session, "INSERT INTO mysql.time_zone_name VALUES ('Nowhere/East', 4711), ('Nowhere/West', 4712)",
            "DELETE FROM mysql.time_zone_name WHERE Name = 'Nowhere/West'",
            "INSERT INTO sys.sys_config (variable, value) VALUES ('relight.test', 'x')",
        )  # fmt: skip
    try:
        twins.replay()
        with twins.servers.connect(twins.source) as session:
            wanted = [session.rows(query) for query in queries]
        assert all(wanted)
        for server in (twins.planned, twins.ordered):
            with twins.servers.connect(server) as session:
                assert [session.rows(query) for query in queries] == wanted
    finally:
        twins.prepare(
            "DELETE FROM mysql.time_zone_name WHERE Time_zone_id > 4000",
            "DELETE FROM sys.sys_config WHERE variable = 'relight.test'",
        )  # fmt: skip


SETTINGS = {
    "sql_generate_invisible_primary_key": "ON", "sql_require_primary_key": "ON", "restrict_fk_on_non_standard_key": "ON",
    "default_table_encryption": "OFF", "sql_mode": "'ANSI,NO_AUTO_VALUE_ON_ZERO'", "explicit_defaults_for_timestamp": "OFF",
    "time_zone": "'-08:00'", "default_collation_for_utf8mb4": "utf8mb4_general_ci", "innodb_strict_mode": "ON", "autocommit": "OFF",
    "auto_increment_increment": "7", "auto_increment_offset": "5", "foreign_key_checks": "OFF", "unique_checks": "OFF", "character_set_server": "latin1",
    "xa_detach_on_prepare": "OFF", "collation_server": "latin1_bin", "binlog_row_image": "MINIMAL", "sql_safe_updates": "ON", "completion_type": "CHAIN",
    "transaction_read_only": "OFF", "transaction_isolation": "SERIALIZABLE", "big_tables": "ON", "lc_time_names": "'fr_FR'",
}  # fmt: skip


@pytest.mark.parametrize("binlog_format", ["ROW", "STATEMENT"])
def test_a_server_with_settings_of_its_own(twins: Twins, binlog_format: str) -> None:
    """What the source's sessions had is what counts."""
    twins.prepare(*BASE)
    usual = {}
    for server in (twins.planned, twins.ordered):
        with twins.servers.connect(server) as session:
            usual = {name: session.value(f"SELECT @@GLOBAL.{name}") for name in SETTINGS}
            for name, value in SETTINGS.items():
                session.run(f"SET GLOBAL {name} = {value}")
    try:
        with twins.writing() as session:
            run(
                session, "SET SESSION restrict_fk_on_non_standard_key = OFF", "CREATE TABLE a.keyless (n INT, v VARCHAR(20))",
                "INSERT INTO a.keyless VALUES (1, 'a'), (1, 'a')", "SET SESSION sql_generate_invisible_primary_key = ON",
                "CREATE TABLE a.generated (n INT, v VARCHAR(20))", "INSERT INTO a.generated VALUES (1, 'a'), (2, 'b')",
                "UPDATE a.generated SET n = 5", "SET SESSION sql_generate_invisible_primary_key = OFF",
                "CREATE TABLE a.pointed_at (id INT PRIMARY KEY, n INT, KEY (n))",
                "CREATE TABLE a.points (id INT PRIMARY KEY, n INT, FOREIGN KEY (n) REFERENCES a.pointed_at (n))",
                "CREATE TABLE a.stamped (id INT AUTO_INCREMENT PRIMARY KEY, at TIMESTAMP, v VARCHAR(9) DEFAULT 'x')",
                f"SET SESSION binlog_format = {binlog_format}", "INSERT INTO a.stamped (at) VALUES ('2026-11-22 12:00:00'), (NULL)",
                "INSERT INTO a.pointed_at VALUES (1, 7)", "INSERT INTO a.points VALUES (1, 7)", "BEGIN", "DELETE FROM a.keyless LIMIT 1",
                "UPDATE a.stamped SET v = 1 / 3", "COMMIT", "INSERT INTO a.keyless (v) VALUES (DATE_FORMAT('2026-11-22', '%M'))",
            )  # fmt: skip
            change(session, 1, 10)
        everything = [
            ("a", name) for name in ("keyless", "generated", "pointed_at", "points", "stamped", "keyed", "bag")
        ]
        twins.replay(inconclusive=[*everything, ("b", "keyed")] if binlog_format == "STATEMENT" else ())
    finally:
        for server in (twins.planned, twins.ordered):
            with twins.servers.connect(server) as session:
                for name, value in usual.items():
                    session.run(f"SET GLOBAL {name} = %s", value)
