"""A column that the server computes with the settings of the session that writes: no log says what these were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from relight.lab.mysql import MySQL
from relight.lab.template import Template
from relight.run_files import CheckResult, TableVerdict
from relight.server.schema import read_tables
from relight.server.session import Session
from tests.conftest import make_servers
from tests.support.proving import base_definitions, prove
from tests.support.replaying import copy_of, logs_of, split_logs, start_log

COLUMNS = {
    "hour": ("ts TIMESTAMP(3) NULL, g INT AS (HOUR(ts)) STORED", "'2026-01-01 10:00:00.5'", "SET SESSION time_zone = '+05:30'"),
    "day": ("ts TIMESTAMP NULL, g DATE AS (DATE(ts)) STORED", "'2026-01-01 03:00:00'", "SET SESSION time_zone = '+05:30'"),
    "words": ("ts TIMESTAMP NULL, g VARCHAR(40) AS (CONCAT(ts, ' it''s \\\\')) STORED", "'2026-01-01 03:00:00'",
              "SET SESSION time_zone = '-08:00'"),
    "shown": ("ts TIMESTAMP NULL, g VARCHAR(40) AS (CONCAT('at ', ts)) VIRTUAL", "'2026-01-01 03:00:00'", "SET SESSION time_zone = '-08:00'"),
    "twice": ("ts TIMESTAMP NULL, v DATETIME AS (ts) VIRTUAL, g DATETIME AS (v) STORED", "'2026-01-01 03:00:00'",
              "SET SESSION time_zone = '-08:00'"),
    "mode": ("ts VARCHAR(20), g DATE AS (CAST(ts AS DATE)) STORED", "'2026-00-00'", "SET SESSION sql_mode = ''"),
    "month": ("ts DATE, g VARCHAR(20) AS (DATE_FORMAT(ts, '%M')) STORED", "'2026-05-01'", "SET SESSION lc_time_names = 'de_DE'"),
    "third": ("ts INT, g DECIMAL(20,10) AS (ts / 3) STORED", "7", "SET SESSION div_precision_increment = 9"),
}  # fmt: skip
"""What a table has, what is written, and in what session."""
INVARIANT = {"sum": ("ts INT, g INT AS (ts + 1) STORED", "7", "SET SESSION time_zone = '+05:30'")}

Proved = tuple[Session, Callable[[], tuple[list[TableVerdict], list[CheckResult]]]]


@pytest.fixture(scope="module")
def rebuilt(
    watched: Path, mysql: MySQL, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proved]:
    for servers in make_servers(watched, mysql, template):
        source = servers.make("source")
        with servers.connect(source) as session:
            session.run("CREATE DATABASE a")
            for table, (columns, _, _) in {**COLUMNS, **INVARIANT}.items():
                session.run(f"CREATE TABLE a.{table} (id INT PRIMARY KEY, {columns})")
                session.run(f"CREATE TABLE a.{table}_bag (id INT, {columns})")
            tables, base = read_tables(session, lambda _: None), base_definitions(session)
        copy = copy_of(servers, source, "copy")
        with servers.connect(source) as session:
            start_log(session)
            for table, (_, value, setting) in {**COLUMNS, **INVARIANT}.items():
                session.as_usual()
                session.run("SET SESSION time_zone = DEFAULT, div_precision_increment = DEFAULT")
                session.run(setting)
                session.run(f"INSERT INTO a.{table} (id, ts) VALUES (1, {value}), (2, NULL)")
                session.run(f"INSERT INTO a.{table}_bag (id, ts) VALUES (1, {value}), (1, {value}), (2, NULL)")
            logs = logs_of(session)
        replayed = split_logs(logs, copy, servers.admin, tmp_path_factory.mktemp("split"), tables=tables)
        replayed.all()
        with servers.connect(copy) as session:
            session.run("SET SESSION sql_log_bin = 0")
            yield session, partial(prove, replayed, tables, base)


def test_what_only_the_session_could_tell_is_inconclusive_by_name(rebuilt: Proved) -> None:
    _, proof = rebuilt
    verdicts, checks = proof()
    expected = {f"{table}{kind}": "inconclusive" for table in COLUMNS for kind in ("", "_bag")}
    assert [f for c in checks for f in c.findings if c.verdict == "mismatch"] == []
    # Of a row without a key with a value that cannot be told nothing is said but that.
    expected["mode_bag"] = "match"
    assert {v.table: v.verdict for v in verdicts} == {**expected, "sum": "match", "sum_bag": "match"}
    content = next(c for c in checks if c.check == "row content")
    assert "a.mode_bag: of 1 rows not every value can be told" in content.notes
    assert content.verdict == "inconclusive"
    for v in verdicts:
        if v.verdict == "inconclusive":
            assert "session" in v.reason
            assert any(f"a.{v.table}:" in finding for finding in content.findings)


@pytest.mark.parametrize("kind", ["", "_bag"])
@pytest.mark.parametrize(
    ("table", "damage", "repair"),
    [
        ("hour", "UPDATE a.{} SET ts = '2026-01-01 04:30:00.501' WHERE id = 1", "UPDATE a.{} SET ts = '2026-01-01 04:30:00.5' WHERE id = 1"),
        ("sum", "ALTER TABLE a.{} MODIFY g INT AS (ts + 2) STORED", "ALTER TABLE a.{} MODIFY g INT AS (ts + 1) STORED"),
        ("words", "DELETE FROM a.{} WHERE id = 1", "INSERT INTO a.{0} (id, ts) SELECT id, ts FROM a.saved"),
    ],
)  # fmt: skip
def test_anything_else_that_is_wrong_with_such_a_table_is_a_mismatch(
    table: str, damage: str, repair: str, kind: str, rebuilt: Proved
) -> None:
    session, proof = rebuilt
    session.run("SET SESSION time_zone = '+00:00'")
    name = f"{table}{kind}"
    session.run(f"CREATE TEMPORARY TABLE a.saved AS SELECT id, ts FROM a.{name} WHERE id = 1")
    try:
        session.run(damage.format(name))
        verdicts, checks = proof()
    finally:
        session.run(repair.format(name))
        session.run("DROP TEMPORARY TABLE a.saved")
    assert next(v.verdict for v in verdicts if v.table == name) == "mismatch"
    content = next(c for c in checks if c.check == "row content")
    assert content.verdict == "mismatch"
    assert any(f"a.{name} " in finding for finding in content.findings)
