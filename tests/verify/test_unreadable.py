"""One object that cannot be read, shown or dropped has a verdict of its own, and everything else is proved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.backups.manifest import Table
from relight.lab.mysql import MySQL
from relight.lab.template import Template
from relight.run_files import CheckResult, TableVerdict
from relight.server.schema import read_tables
from tests.conftest import make_servers
from tests.support.proving import base_definitions, prove
from tests.support.replaying import copy_of, logs_of, split_logs, start_log

BASE = (
    "CREATE DATABASE shop", "CREATE DATABASE `größe`", "CREATE DATABASE frozen", "USE shop",
    "CREATE TABLE gone (id INT AUTO_INCREMENT PRIMARY KEY, v INT)", "INSERT INTO gone (v) VALUES (1)",
    "CREATE TABLE child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES gone (id))",
    "CREATE TABLE good (id INT PRIMARY KEY, v INT)", "INSERT INTO good VALUES (1, 1)", "CREATE TABLE soon (id INT PRIMARY KEY)",
    "CREATE TABLE part (id INT) ENGINE=MyISAM", "CREATE TABLE merged (id INT) ENGINE=MERGE UNION=(part)",
    "ALTER TABLE part MODIFY id BIGINT", "CREATE TABLE below (id INT)", "CREATE VIEW broken AS SELECT id FROM below",
    "DROP TABLE below", "CREATE TABLE `größe`.`straße` (id INT PRIMARY KEY)", "CREATE TABLE frozen.t (id INT PRIMARY KEY)",
    "SET SESSION character_set_client = latin1, collation_connection = latin1_german1_ci",
    "CREATE VIEW seen AS SELECT 'x' AS y", "SET NAMES utf8mb4", "SET SESSION foreign_key_checks = OFF", "ALTER TABLE gone DISCARD TABLESPACE", "ALTER DATABASE frozen READ ONLY = 1",
)  # fmt: skip
LATIN1 = "SET SESSION character_set_client = latin1, character_set_results = latin1, collation_connection = latin1_german1_ci"
LOG = (
    "INSERT INTO shop.good VALUES (2, 2), (3, 3)", "UPDATE shop.good SET v = 5 WHERE id = 1",
    "CREATE TABLE shop.made (id INT PRIMARY KEY)", "ALTER TABLE shop.soon DISCARD TABLESPACE",
    "CREATE TABLE shop.other (seen INT PRIMARY KEY)", "USE `größe`", "CREATE TABLE übung (id INT PRIMARY KEY)", "ALTER TABLE übung ADD COLUMN maß INT",
    "INSERT INTO übung VALUES (1, 2)",
    "ALTER DATABASE frozen READ ONLY = 0", "USE frozen", "CREATE TABLE frozen.u (id INT PRIMARY KEY)", "ALTER DATABASE frozen READ ONLY = 1",
)  # fmt: skip

Proved = tuple[tuple[Table, ...], dict[str, TableVerdict], dict[tuple[str, str], CheckResult]]


@pytest.fixture(scope="module")
def proved(
    watched: Path, mysql: MySQL, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proved]:
    for servers in make_servers(watched, mysql, template):
        source = servers.make("source")
        with servers.connect(source) as session:
            for statement in BASE:
                session.run(statement)
            tables, base = read_tables(session, lambda _: None), base_definitions(session)
        copy = copy_of(servers, source, "copy")
        with servers.connect(source) as session:
            start_log(session)
            session.run(LATIN1)
            for statement in LOG:
                session.run(statement.encode("latin1"))
            session.run("SET NAMES utf8mb4")
            logs = logs_of(session)
        replayed = split_logs(logs, copy, servers.admin, tmp_path_factory.mktemp("split"), tables=tables)
        replayed.all()
        empty = servers.make("empty")
        verdicts, checks = prove(replayed, tables, base, empty=empty)
        with servers.connect(empty) as session:
            left = [str(name) for (name,) in session.rows("SHOW DATABASES")]
        assert not {"shop", "größe", "frozen"} & set(left), "the witness did not clean up"
        yield tables, {f"{v.database}.{v.table}": v for v in verdicts}, {(c.on, c.check): c for c in checks}


def test_a_backup_says_what_the_source_itself_cannot_read_and_goes_on(proved: Proved) -> None:
    tables, _, _ = proved
    unreadable = {table.name: table.unreadable for table in tables if table.unreadable}
    assert unreadable.keys() == {"gone", "merged"}
    assert "discarded" in unreadable["gone"]
    assert {table.name: table.rows for table in tables}["good"] == 1


@pytest.mark.parametrize("name", ["shop.gone", "shop.merged", "shop.soon"])
def test_what_cannot_be_read_is_inconclusive_by_name(name: str, proved: Proved) -> None:
    _, verdicts, _ = proved
    assert (verdicts[name].verdict, verdicts[name].counted) == ("inconclusive", None)
    assert "cannot be read" in verdicts[name].reason


def test_everything_else_is_proved(proved: Proved) -> None:
    _, verdicts, checks = proved
    others = {name: v.verdict for name, v in verdicts.items() if name not in ("shop.gone", "shop.merged", "shop.soon")}
    assert others == dict.fromkeys(
        (
            "shop.good",
            "shop.child",
            "shop.part",
            "shop.made",
            "shop.other",
            "größe.straße",
            "größe.übung",
            "frozen.t",
            "frozen.u",
        ),
        "match",
    )
    assert verdicts["shop.good"].compared == 3
    assert {where: c.findings for where, c in checks.items() if c.verdict == "mismatch"} == {}
    told = " ".join(checks["shop", "definitions"].findings)
    assert "merged" in told
    assert checks["shop", "definitions"].verdict == "inconclusive"
    assert "gone" in " ".join(checks["shop", "foreign keys"].findings), "what could not be looked up is said"


@pytest.mark.parametrize("database", ["größe", "frozen"])
def test_names_that_only_some_character_sets_can_write_and_read_only_databases_are_compared_too(
    database: str, proved: Proved
) -> None:
    _, _, checks = proved
    structure = checks[database, "definitions"]
    assert (structure.verdict, structure.findings, structure.notes) == ("match", (), ())
    assert structure.checked >= 3
