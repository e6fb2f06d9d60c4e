"""Which tables are in doubt since the log does not say what their values were computed with: told by real logs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from relight.fleet import Server
from relight.lab.mysql import MySQL
from relight.lab.template import Template
from relight.lane.segments import LaneSegment, lane_segment
from relight.lane.split_log import split_log
from relight.lane.statement import written_anew
from relight.lane.values import computes_with
from relight.server.schema import read_tables
from relight.verify.computed import in_doubt
from relight.verify.images import LastImages
from relight.verify.log_images import Logged, read_images
from tests.conftest import make_servers
from tests.support.pair import clean
from tests.support.replaying import logs_of, start_log
from tests.support.servers import Servers

BASE = (
    "CREATE DATABASE d",
    "CREATE TABLE d.plain (id INT PRIMARY KEY, d DATETIME, n INT)",
    "INSERT INTO d.plain VALUES (1, '2026-01-03 10:00:00', 7)",
    "CREATE TABLE d.kept (id INT PRIMARY KEY, n INT, third DECIMAL(20, 10) AS (n / 3) STORED)",
    "INSERT INTO d.kept (id, n) VALUES (1, 7)",
    "CREATE TABLE d.shown (id INT PRIMARY KEY, n INT, third DECIMAL(20, 10) AS (n / 3) VIRTUAL)",
    "CREATE TABLE d.both (id INT PRIMARY KEY, n INT, third DECIMAL(20, 10) AS (n / 3) VIRTUAL, copy DECIMAL(20, 10) AS"
    " (third) STORED)",
)


@dataclass
class Source:
    servers: Servers
    server: Server

    def doubts(self, folder: Path, statements: tuple[str, ...], *, zone_is_right: bool = True) -> dict[str, str]:
        """The tables that are in doubt when these were logged, with the reason."""
        with self.servers.connect(self.server) as session:
            clean(session)
        with self.servers.connect(self.server) as session:
            for statement in BASE:
                session.run(statement)
            created = {(t.database, t.name): t.create for t in read_tables(session, lambda _: None)}
            session.run("SET SESSION time_zone = DEFAULT, sql_mode = DEFAULT")
            start_log(session)
            for statement in statements:
                session.run(statement)
            logs = logs_of(session)
        segments = []
        for number, log in enumerate(logs):
            (folder / str(number)).mkdir()
            split = split_log(log, number, folder / str(number))
            segments.append(lane_segment(folder / str(number), split, ("d", "e", "mysql")))
        found = in_doubt(logged_in(segments), created, lambda _: zone_is_right)
        return {".".join(name): why for name, why in found.items()}


def logged_in(segments: list[LaneSegment]) -> list[Logged]:
    images = LastImages(1, 1, 1 << 20)
    return read_images(segments, "d", {}, frozenset(), None, images).logged


@pytest.fixture(scope="module")
def source(watched: Path, mysql: MySQL, template: Template) -> Iterator[Source]:
    for servers in make_servers(watched, mysql, template):
        yield Source(servers, servers.make("source"))


WITH_SETTINGS: dict[tuple[str, ...], set[str]] = {
    ("ALTER TABLE d.plain ADD COLUMN w INT DEFAULT (WEEK('2026-01-03'))",): {"d.plain"},
    ("ALTER TABLE d.plain ADD COLUMN w INT AS (WEEK(d)) STORED",): {"d.plain"},
    ("ALTER TABLE d.plain ADD COLUMN w INT AS (WEEK(d, 3)) STORED",): set(),
    ("ALTER TABLE d.plain ADD COLUMN w INT AS (EXTRACT(WEEK FROM d)) STORED",): {"d.plain"},
    ("USE d", "/*!80000 ALTER */ TABLE plain ADD COLUMN x INT AS (n/2) STORED"): {"d.plain"},
    ("ALTER TABLE d.plain ADD COLUMN r VARCHAR(99) DEFAULT (CURRENT_ROLE())",): {"d.plain"},
    ("ALTER TABLE d.plain ADD COLUMN note VARCHAR(99) DEFAULT '1/3 WEEK(d)' COMMENT 'a / b', ADD COLUMN `a/b` INT",): set(),
    ("ALTER TABLE d.plain ADD COLUMN x INT DEFAULT (n DIV 2)", "ALTER TABLE d.plain ADD INDEX (n)"): set(),
    # Rows that are copied get their stored columns computed once more.
    ("ALTER TABLE d.kept ADD COLUMN x INT, ALGORITHM=COPY",): {"d.kept"},
    ("CREATE INDEX by_n ON d.kept (n)",): {"d.kept"},
    ("ALTER TABLE d.plain ADD KEY by_n (n)", "DROP INDEX by_n ON d.plain"): set(),
    ("ALTER TABLE d.both MODIFY n BIGINT",): {"d.both"},
    ("ALTER TABLE d.shown MODIFY id BIGINT",): set(),
    ("OPTIMIZE TABLE d.kept, d.plain",): {"d.kept"},
    # What becomes of them.
    ("ALTER TABLE d.kept MODIFY n BIGINT", "CREATE DATABASE e", "RENAME TABLE d.kept TO e.other"): {"e.other"},
    ("RENAME TABLE d.kept TO d.other", "ALTER TABLE d.other MODIFY n BIGINT"): {"d.other"},
    ("ALTER TABLE d.kept MODIFY n BIGINT", "TRUNCATE TABLE d.kept"): set(),
    ("ALTER TABLE d.kept MODIFY n BIGINT", "DROP TABLE d.kept"): set(),
    ("ALTER TABLE d.kept MODIFY n BIGINT", "DROP DATABASE d"): set(),
    ("DROP TABLE d.kept", "CREATE TABLE d.kept (n INT)", "ALTER TABLE d.kept MODIFY n BIGINT"): set(),
    ("CREATE TABLE d.made LIKE d.kept", "ALTER TABLE d.made MODIFY n BIGINT"): {"d.made"},
    ("CREATE TABLE d.made (n INT, x DECIMAL(9, 4) AS (n / 3) STORED)", "INSERT INTO d.made (n) VALUES (1)"): set(),
    ("CREATE TABLE d.made (n INT, x DECIMAL(9, 4) AS (n / 3) STORED)", "ALTER TABLE d.made MODIFY n BIGINT"): {"d.made"},
    ("INSERT INTO d.plain SELECT n / 3, d, n FROM d.plain",): set(),
    ("CREATE VIEW d.v AS SELECT n / 3, WEEK(d) FROM d.plain",): set(),
}  # fmt: skip


@pytest.mark.parametrize("statements", WITH_SETTINGS, ids=lambda found: found[-1][:60])
def test_what_a_session_may_have_set(statements: tuple[str, ...], source: Source, tmp_path: Path) -> None:
    assert set(source.doubts(tmp_path, statements)) == WITH_SETTINGS[statements]


IN_ZONE: dict[tuple[str, ...], set[str]] = {
    ("ALTER TABLE d.plain MODIFY d TIMESTAMP",): {"d.plain"},
    ("ALTER TABLE d.plain ADD COLUMN x TIMESTAMP DEFAULT '2026-01-03 10:00:00'",): {"d.plain"},
    ("ALTER TABLE d.plain ADD COLUMN x DATETIME DEFAULT (NOW())",): {"d.plain"},
    ("ALTER TABLE d.plain ADD COLUMN x DATETIME DEFAULT (CONVERT_TZ('2026-01-01', '+00:00', 'SYSTEM'))",): {"d.plain"},
    ("SET SESSION time_zone = '+05:30'", "ALTER TABLE d.plain MODIFY d TIMESTAMP"): set(),
    ("ALTER TABLE d.plain ADD COLUMN x INT",): set(),
    ("INSERT INTO d.plain VALUES (2, NOW(), 1)",): set(),
}


@pytest.mark.parametrize("statements", IN_ZONE, ids=lambda found: found[-1][:60])
def test_the_zone_of_the_system_matters_only_where_it_is_not_known(
    statements: tuple[str, ...], source: Source, tmp_path: Path
) -> None:
    known, unknown = tmp_path / "known", tmp_path / "unknown"
    known.mkdir()
    unknown.mkdir()
    assert set(source.doubts(unknown, statements, zone_is_right=False)) == IN_ZONE[statements]
    assert source.doubts(known, statements) == {}


def test_the_reason_names_the_transaction_and_the_setting(source: Source, tmp_path: Path) -> None:
    (why,) = source.doubts(tmp_path, ("ALTER TABLE d.plain ADD COLUMN x INT AS (n / 2) STORED",)).values()
    with source.servers.connect(source.server) as session:
        gtid = session.value("SELECT @@GLOBAL.gtid_executed")
    assert why.startswith(f"{gtid} has computed values of it with div_precision_increment, which no log carries")


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("ALTER TABLE t ADD x INT", [("home", "t")]), ("alter table `a``b`.`c d` force", [("a`b", "c d")]),
        ("OPTIMIZE NO_WRITE_TO_BINLOG TABLE t, d.u", [("home", "t"), ("d", "u")]), ("REPAIR TABLES d.t", [("d", "t")]),
        ("CREATE UNIQUE INDEX i USING BTREE ON d.t (a)", [("d", "t")]), ("CREATE INDEX `on` ON t (a)", [("home", "t")]),
        ("DROP INDEX i ON d.t", [("d", "t")]), ("CREATE TABLE t (a INT)", []), ("DROP TABLE t", []),
        ("CREATE FULLTEXT INDEX i ON t (a)", [("home", "t")]), ("ANALYZE TABLE t", []), ("ALTER TABLE 't", []),
        ("CREATE TRIGGER index_on BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1", []), ("", []),
    ],
)  # fmt: skip
def test_the_tables_that_a_statement_may_write_anew(sql: str, tables: list[tuple[str, str]]) -> None:
    assert list(written_anew(sql, "home")) == tables


@pytest.mark.parametrize(
    ("sql", "things"),
    [
        ("WEEK(d)", {"default_week_format"}), ("week (d)", {"default_week_format"}), ("WEEK(f(a, b))", {"default_week_format"}),
        ("WEEK(d, 1)", set()), ("WEEK(f(a), 1)", set()), ("week", set()), ("'WEEK(d)'", set()), ("`week`", set()),
        ("EXTRACT(WEEK FROM d)", {"default_week_format"}), ("EXTRACT(DAY FROM d)", set()), ("YEARWEEK(d)", set()),
        ("a/b", {"div_precision_increment"}), ("a /* or */ + b", set()), ("a DIV b", set()), ("'a/b'", set()),
        ("aes_encrypt(a, b)", {"block_encryption_mode"}), ("CONVERT_TZ(a, 'SYSTEM', '+00:00')", {"the time zone SYSTEM"}),
        ("CONVERT_TZ(a, '+01:00', '+00:00')", set()), ("WEEK(", {"default_week_format"}), ("'", {"something that cannot be read"}),
    ],
)  # fmt: skip
def test_what_a_text_computes_with(sql: str, things: set[str]) -> None:
    assert computes_with(sql) == things
