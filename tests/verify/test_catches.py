"""Whatever is wrong with a rebuilt server is found, by the check that is meant to find it, and said in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from relight.backups.manifest import Definition, Table
from relight.fleet import Server
from relight.lab.mysql import MySQL
from relight.lab.template import Template
from relight.run_files import CheckResult, TableVerdict
from relight.server.schema import read_tables
from relight.server.session import Session, connect
from tests.conftest import make_servers
from tests.support.proving import base_definitions, prove
from tests.support.replaying import Replayed, copy_of, logs_of, split_logs, start_log
from tests.support.servers import Servers

BASE = """
CREATE DATABASE shop
CREATE TABLE shop.parent (id INT PRIMARY KEY, name VARCHAR(20), KEY by_name (name))
CREATE TABLE shop.child (id INT AUTO_INCREMENT PRIMARY KEY, parent INT, note VARCHAR(20),
 CONSTRAINT belongs FOREIGN KEY (parent) REFERENCES parent (id))
CREATE TABLE shop.bag (n INT)
CREATE VIEW shop.names AS SELECT name FROM shop.parent
CREATE PROCEDURE shop.nothing() SELECT 1
CREATE TRIGGER shop.shout BEFORE INSERT ON shop.bag FOR EACH ROW SET NEW.n = NEW.n + 1
CREATE EVENT shop.never ON SCHEDULE EVERY 1 YEAR STARTS '2040-01-01' DISABLE DO DELETE FROM shop.bag
INSERT INTO shop.parent VALUES (1, 'one'), (2, 'two'), (3, 'three')
INSERT INTO shop.child (parent, note) VALUES (1, 'a'), (2, 'b'), (3, 'c')
"""
LOG = """
CREATE OR REPLACE VIEW shop.names AS SELECT name, id FROM shop.parent
DROP PROCEDURE shop.nothing
CREATE PROCEDURE shop.nothing() SELECT 2
UPDATE shop.parent SET name = 'zwei' WHERE id = 2
INSERT INTO shop.parent VALUES (4, 'four'), (5, 'five')
INSERT INTO shop.child (parent, note) VALUES (4, 'd'), (5, 'e'), (4, 'f')
DELETE FROM shop.child WHERE note = 'a'
INSERT INTO shop.bag VALUES (1), (1), (2)
CREATE TABLE shop.made (id INT PRIMARY KEY, n INT)
ALTER TABLE shop.made ADD KEY by_n (n)
INSERT INTO shop.made VALUES (7, 1)
"""


@dataclass
class Rebuilt:
    """A server that was replayed, and what is known of its base."""

    replayed: Replayed
    tables: tuple[Table, ...]
    base: tuple[Definition, ...]
    empty: Server

    def prove(self) -> tuple[list[TableVerdict], list[CheckResult]]:
        return prove(self.replayed, self.tables, self.base, empty=self.empty)

    def session(self) -> Session:
        session = connect(self.replayed.server, self.replayed.admin)
        session.run("SET SESSION sql_log_bin = 0, foreign_key_checks = 0")
        return session


def lines(text: str) -> list[str]:
    return [line for line in text.strip().replace(",\n ", ", ").splitlines() if line]


@pytest.fixture(scope="module")
def rebuilt(
    watched: Path, mysql: MySQL, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rebuilt]:
    for servers in make_servers(watched, mysql, template):
        yield _rebuilt(servers, tmp_path_factory.mktemp("split"))


def _rebuilt(servers: Servers, folder: Path) -> Rebuilt:
    source = servers.make("source", options={"event-scheduler": "OFF"})
    with servers.connect(source) as session:
        for statement in lines(BASE):
            session.run(statement)
        tables = read_tables(session, lambda _: None)
        base = base_definitions(session)
    copy = copy_of(servers, source, "copy", **{"event-scheduler": "OFF"})
    with servers.connect(source) as session:
        start_log(session)
        for statement in lines(LOG):
            session.run(statement)
        logs = logs_of(session)
    replayed = split_logs(logs, copy, servers.admin, folder, tables=tables)
    replayed.all()
    return Rebuilt(replayed, tables, base, servers.make("empty"))


def test_nothing_is_found_where_nothing_is_wrong(rebuilt: Rebuilt) -> None:
    verdicts, checks = rebuilt.prove()
    assert {v.table: v.verdict for v in verdicts} == dict.fromkeys(("parent", "child", "bag", "made"), "match")
    assert {c.check: c.verdict for c in checks} == dict.fromkeys(
        ("row counts", "row content", "definitions", "damage", "auto-increment", "foreign keys"), "match"
    )
    compared = {v.table: v.compared for v in verdicts}
    assert compared == {"parent": 3, "child": 4, "bag": 2, "made": 1}, (
        "every row that the log touched, deleted ones too"
    )
    content = next(c for c in checks if c.check == "row content")
    assert content.notes == ()
    structure = next(c for c in checks if c.check == "definitions")
    assert structure.notes == (), "what the log has defined is compared too"


WRONG = {
    "an index that the log made is missing": (
        "ALTER TABLE shop.made DROP KEY by_n", "ALTER TABLE shop.made ADD KEY by_n (n)",
        {"definitions": "table shop.made lacks: KEY `by_n` (`n`)"},
    ),
    "a view is not the one that the log made of it": (
        "CREATE OR REPLACE VIEW shop.names AS SELECT name FROM shop.parent",
        "CREATE OR REPLACE VIEW shop.names AS SELECT name, id FROM shop.parent",
        {"definitions": "view shop.names"},
    ),
    "a procedure that the log made again is missing": (
        "DROP PROCEDURE shop.nothing", "CREATE PROCEDURE shop.nothing() SELECT 2",
        {"definitions": "procedure shop.nothing is missing"},
    ),
    "a row was dropped": (
        "DELETE FROM shop.parent WHERE id = 5", "INSERT INTO shop.parent VALUES (5, 'five')",
        {"row counts": "shop.parent: -1 rows", "row content": "id=5: it is missing",
         "foreign keys": "shop.child: parent = 5 is not in shop.parent (belongs)"},
    ),
    "a value was changed": (
        "UPDATE shop.parent SET name = 'Zwei' WHERE id = 2", "UPDATE shop.parent SET name = 'zwei' WHERE id = 2",
        {"row content": "shop.parent id=2: name is 'Zwei' and should be 'zwei' (last written by "},
    ),
    "a row of a table without a key was changed": (
        "UPDATE shop.bag SET n = 9 WHERE n = 3", "UPDATE shop.bag SET n = 3 WHERE n = 9",
        {"row content": "shop.bag n=3: there are 0, and the log says at least 1 (last written by "},
    ),
    "two rows swapped values": (
        "UPDATE shop.parent SET name = IF(id = 4, 'five', 'four') WHERE id IN (4, 5)",
        "UPDATE shop.parent SET name = IF(id = 4, 'four', 'five') WHERE id IN (4, 5)",
        {"row content": "shop.parent id=4: name is 'five' and should be 'four'"},
    ),
    "a transaction was left out": (
        "INSERT INTO shop.child (id, parent, note) VALUES (1, 1, 'a')", "DELETE FROM shop.child WHERE id = 1",
        {"row counts": "shop.child: +1 rows", "row content": "shop.child id=1: it is there, although it was deleted"},
    ),
    "a transaction was replayed twice": (
        "INSERT INTO shop.bag VALUES (0), (0), (1)", "DELETE FROM shop.bag WHERE n IN (1, 2) ORDER BY n LIMIT 3",
        {"row counts": "shop.bag: +3 rows"},
    ),
    "an index was dropped": (
        "ALTER TABLE shop.parent DROP KEY by_name", "ALTER TABLE shop.parent ADD KEY by_name (name)",
        {"definitions": "table shop.parent lacks: KEY `by_name` (`name`)"},
    ),
    "a column was changed": (
        "ALTER TABLE shop.child MODIFY note VARCHAR(21)", "ALTER TABLE shop.child MODIFY note VARCHAR(20)",
        {"definitions": "table shop.child lacks: `note` varchar(20) DEFAULT NULL; has instead: `note` varchar(21)"},
    ),
    "a view is missing": (
        "DROP VIEW shop.names", "CREATE VIEW shop.names AS SELECT name, id FROM shop.parent",
        {"definitions": "view shop.names is missing"},
    ),
    "a trigger is missing": (
        "DROP TRIGGER shop.shout",
        "CREATE TRIGGER shop.shout BEFORE INSERT ON shop.bag FOR EACH ROW SET NEW.n = NEW.n + 1",
        {"definitions": "trigger shop.shout is missing"},
    ),
    "there is a table too many": (
        "CREATE TABLE shop.extra (id INT)", "DROP TABLE shop.extra",
        {"row counts": "shop.extra: the table should not exist",
         "definitions": "table shop.extra was not in the snapshot, and no statement of the log made it"},
    ),
    "a table is missing": (
        "RENAME TABLE shop.bag TO shop.sack", "RENAME TABLE shop.sack TO shop.bag",
        {"row counts": "shop.bag: the table is missing", "definitions": "table shop.bag is missing"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_it_is_caught_when(what: str, rebuilt: Rebuilt) -> None:
    damage, repair, wanted = WRONG[what]
    with rebuilt.session() as session:
        session.run(damage)
        try:
            _, checks = rebuilt.prove()
        finally:
            session.run(repair)
    found = {c.check: " | ".join(c.findings) for c in checks if c.verdict != "match"}
    assert set(found) == set(wanted), found
    for check, parts in wanted.items():
        for part in parts.split("|"):
            assert part in found[check]
    assert {c.verdict for c in checks if c.check == "foreign keys"} <= {"match", "inconclusive"}
