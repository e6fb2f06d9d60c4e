"""Replay is right on any log that a server writes: forms of transactions, events and files."""

from __future__ import annotations

import random

import pytest

from relight.server.session import Session
from tests.support.twins import Twins

BASE = (
    "CREATE DATABASE a",
    "CREATE DATABASE b",
    "CREATE TABLE a.keyed (id INT AUTO_INCREMENT PRIMARY KEY, n INT, name VARCHAR(60), note TEXT, doc JSON,"
    " at TIMESTAMP(3) NULL, twice INT AS (n * 2) VIRTUAL, UNIQUE KEY (name, id))",
    "CREATE TABLE a.bag (n INT, name VARCHAR(300))",
    "CREATE TABLE b.keyed (k VARCHAR(40) PRIMARY KEY, n INT, raw BLOB)",
    "INSERT INTO a.keyed (n, name, doc) VALUES (1, 'one', '{\"a\": 1}'), (2, 'two', NULL), (3, 'three', '[]')",
    "INSERT INTO a.bag VALUES (1, 'x'), (1, 'x'), (2, NULL), (2, NULL)",
    "INSERT INTO b.keyed VALUES ('k1', 1, x'00ff'), ('k2', 2, NULL)",
)

CHANGES = (
    "INSERT INTO a.keyed (n, name, note, doc, at) VALUES ({n}, 'name {n}', REPEAT('ab', {n}),"
    ' \'{{"a": [{n}, "some longer text"], "b": {{"c": {n}}}}}\', \'2026-11-22 19:02:11.{n}\')',
    "INSERT INTO a.keyed (n) VALUES ({n}), ({n} + 1)",
    "UPDATE a.keyed SET n = n + 1, note = CONCAT(IFNULL(note, ''), 'z') WHERE id % 5 = {n} % 5",
    "UPDATE a.keyed SET doc = JSON_SET(doc, '$.a', {n}, '$.new', 'x') WHERE doc IS NOT NULL LIMIT 5",
    "UPDATE a.keyed SET doc = JSON_REMOVE(doc, '$.b'), name = 'changed {n}' WHERE id = {n}",
    "UPDATE IGNORE a.keyed SET id = id + 5000 WHERE id = {n} % 30",
    "DELETE FROM a.keyed WHERE id % 7 = {n} % 7 LIMIT 3",
    "INSERT INTO a.bag VALUES ({n} % 3, 'same'), ({n} % 3, 'same'), ({n}, NULL)",
    "UPDATE a.bag SET name = CONCAT(IFNULL(name, '-'), '.') WHERE n = {n} % 3 LIMIT 2",
    "DELETE FROM a.bag WHERE n = {n} % 3 LIMIT 1",
    "REPLACE INTO b.keyed VALUES ('k{n}', {n}, REPEAT(x'00', {n}))",
    "UPDATE b.keyed SET n = n + 1 WHERE k LIKE 'k1%'",
    "DELETE FROM b.keyed WHERE n % 9 = {n} % 9",
)


def change(session: Session, seed: int = 1, transactions: int = 60) -> None:
    """Transactions of all kinds of row changes over two databases."""
    draw = random.Random(seed)
    for _ in range(transactions):
        session.run("BEGIN")
        for _ in range(draw.randint(1, 4)):
            session.run(draw.choice(CHANGES).format(n=draw.randint(1, 100)))
        session.run("ROLLBACK" if draw.random() < 0.1 else "COMMIT")
    # What a rollback took from the automatic values is in no log.
    session.run("INSERT INTO a.keyed (name) VALUES ('the last one')")


@pytest.mark.parametrize(
    "settings",
    [
        "binlog_row_image = FULL",
        "binlog_row_image = MINIMAL",
        "binlog_row_image = NOBLOB",
        "binlog_row_value_options = PARTIAL_JSON",
        "binlog_row_image = MINIMAL, binlog_row_value_options = PARTIAL_JSON",
        "binlog_transaction_compression = ON",
        "binlog_transaction_compression = ON, binlog_row_image = MINIMAL, binlog_row_value_options = PARTIAL_JSON",
        "binlog_rows_query_log_events = ON",
        "binlog_rows_query_log_events = ON, binlog_transaction_compression = ON",
        "gtid_next = 'AUTOMATIC:night_job'",
        "gtid_next = 'AUTOMATIC:night_job', binlog_transaction_compression = ON",
    ],
)
def test_whatever_a_session_logs_is_replayed(twins: Twins, settings: str) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        session.run(f"SET SESSION {settings}")
        change(session)
    twins.replay()


def test_settings_may_change_from_one_transaction_to_the_next(twins: Twins) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        for seed, settings in enumerate(
            [
                "binlog_row_image = MINIMAL", "binlog_transaction_compression = ON", "binlog_row_image = FULL",
                "binlog_transaction_compression = OFF", "binlog_row_value_options = PARTIAL_JSON",
                "binlog_row_value_options = ''", "gtid_next = 'AUTOMATIC:a_tag'", "gtid_next = 'AUTOMATIC'",
                "binlog_rows_query_log_events = ON",
            ]
        ):  # fmt: skip
            session.run(f"SET SESSION {settings}")
            change(session, seed, 12)
    twins.replay()


@pytest.mark.parametrize("metadata", ["MINIMAL", "FULL"])
@pytest.mark.parametrize("checksum", ["NONE", "CRC32"])
def test_files_with_and_without_checksums_and_metadata(twins: Twins, metadata: str, checksum: str) -> None:
    twins.prepare(*BASE)
    twins.run_on_source(f"SET GLOBAL binlog_row_metadata = {metadata}", f"SET GLOBAL binlog_checksum = {checksum}")
    with twins.writing() as session:
        change(session)
        session.run("SET SESSION binlog_transaction_compression = ON")
        change(session, 2, 10)
    twins.replay()


def test_metadata_and_checksums_that_are_switched_in_the_middle(twins: Twins) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        for seed, setting in enumerate(
            (
                "binlog_row_metadata = MINIMAL",
                "binlog_checksum = NONE",
                "binlog_row_metadata = FULL",
                "binlog_checksum = CRC32",
            )
        ):
            session.run(f"SET GLOBAL {setting}")
            change(session, seed, 15)
    assert len(twins.logs) == 3, "a change of the checksum begins a new file"
    twins.replay()


@pytest.mark.parametrize("modes", [("ON_PERMISSIVE", "OFF_PERMISSIVE"), ("ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF")])
def test_transactions_without_gtid_are_taken(twins: Twins, modes: tuple[str, ...]) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        change(session, 1, 10)
        for seed, mode in enumerate(modes):
            session.run(f"SET GLOBAL gtid_mode = {mode}")
            change(session, seed, 20)
        session.run("ALTER TABLE a.keyed ADD COLUMN more INT DEFAULT 4")
        session.run("SET SESSION binlog_transaction_compression = ON")
        change(session, 5, 10)
    splits = twins.replay()
    assert any("" in split.sources for split in splits)


def test_a_file_per_transaction(twins: Twins) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        for seed in range(12):
            change(session, seed, 1)
            session.run("FLUSH BINARY LOGS")
    twins.replay()


def test_large_rows_and_large_compressed_transactions(twins: Twins) -> None:
    twins.prepare("CREATE DATABASE a", "CREATE TABLE a.t (id INT PRIMARY KEY, raw LONGBLOB, n INT)",
                  "CREATE TABLE a.bag (raw LONGBLOB)")  # fmt: skip
    with twins.writing() as session:
        session.run("INSERT INTO a.t VALUES (1, REPEAT('0123456789abcdef', 1100000), 1), (2, 'small', 2)")
        session.run("UPDATE a.t SET n = n + 1")
        session.run("INSERT INTO a.bag SELECT raw FROM a.t WHERE id = 2")
        session.run("SET SESSION binlog_transaction_compression = ON")
        session.run("BEGIN")
        for number in range(3, 6):
            session.run(f"INSERT INTO a.t VALUES ({number}, REPEAT('{number} text ', 400000), 0)")
        session.run("UPDATE a.t SET n = n + 1")
        session.run("COMMIT")
        session.run("DELETE FROM a.bag WHERE raw = 'small'")
    twins.replay()
