"""Replay is right with foreign keys, whether the log holds what cascades did or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.lab.mysql import MySQL
from relight.lab.template import Template
from relight.server.session import Session
from tests.conftest import make_servers
from tests.support.twins import Twins

BASE = (
    "CREATE DATABASE a",
    "CREATE DATABASE b",
    "CREATE TABLE a.parent (id INT PRIMARY KEY, name VARCHAR(20) COLLATE utf8mb4_0900_ai_ci UNIQUE)",
    "CREATE TABLE a.child (id INT PRIMARY KEY, p INT, v INT,"
    " FOREIGN KEY (p) REFERENCES a.parent (id) ON DELETE CASCADE ON UPDATE CASCADE)",
    "CREATE TABLE a.grandchild (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES a.child (id) ON DELETE SET NULL ON UPDATE CASCADE)",
    "CREATE TABLE b.abroad (p INT, v INT, FOREIGN KEY (p) REFERENCES a.parent (id) ON DELETE CASCADE ON UPDATE SET NULL)",
    "CREATE TABLE b.named (id INT PRIMARY KEY, name VARCHAR(20) COLLATE utf8mb4_0900_ai_ci,"
    " FOREIGN KEY (name) REFERENCES a.parent (name) ON UPDATE CASCADE ON DELETE SET NULL)",
    "CREATE TABLE a.tree (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES a.tree (id) ON DELETE CASCADE)",
    "CREATE TABLE a.strict (id INT PRIMARY KEY, p INT NOT NULL, FOREIGN KEY (p) REFERENCES a.parent (id))",
    "CREATE TABLE a.alone (id INT PRIMARY KEY, v INT)",
    "INSERT INTO a.parent VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four'), (5, NULL)",
    "INSERT INTO a.child VALUES (10, 1, 0), (11, 1, 0), (20, 2, 0), (30, 3, 0), (40, NULL, 0)",
    "INSERT INTO a.grandchild VALUES (100, 10), (110, 11), (200, 20)",
    "INSERT INTO b.abroad VALUES (1, 1), (1, 1), (2, 2), (3, 3), (NULL, 4)",
    "INSERT INTO b.named VALUES (1, 'ONE'), (2, 'two'), (3, NULL)",
    "INSERT INTO a.tree VALUES (1, NULL), (2, 1), (3, 2), (4, 2), (5, 5)",
    "INSERT INTO a.strict VALUES (1, 4), (2, 5)",
)
CHANGES = (
    "UPDATE a.child SET v = v + 1", "DELETE FROM a.parent WHERE id = 1", "INSERT INTO a.parent VALUES (1, 'one again')",
    "INSERT INTO a.child VALUES (12, 1, 5)", "INSERT INTO a.grandchild VALUES (120, 12)", "UPDATE a.child SET id = 13 WHERE id = 12",
    "UPDATE a.parent SET id = 6 WHERE id = 2", "UPDATE a.parent SET name = UPPER(name)", "UPDATE a.parent SET name = 'zwei' WHERE id = 6",
    "DELETE FROM a.tree WHERE id = 2", "INSERT INTO a.tree VALUES (6, 1), (7, 6)", "UPDATE a.tree SET up = 1 WHERE id = 7",
    "DELETE FROM a.tree WHERE id = 5", "INSERT INTO b.abroad VALUES (6, 9)", "DELETE FROM a.child WHERE id = 13",
    "INSERT INTO a.alone VALUES (1, 1)", "UPDATE a.alone SET v = 2", "DELETE FROM a.strict WHERE p = 4", "DELETE FROM a.parent WHERE id = 4",
    "REPLACE INTO a.parent VALUES (3, 'replaced')", "SET foreign_key_checks = 0", "INSERT INTO a.strict VALUES (9, 999)",
    "DELETE FROM a.parent WHERE id = 5", "SET foreign_key_checks = 1", "INSERT INTO b.named VALUES (4, 'zwei')",
)  # fmt: skip


def write(session: Session, image: str) -> None:
    """All changes, some of them together in one transaction."""
    session.run(f"SET SESSION binlog_row_image = {image}")
    for number, statement in enumerate(CHANGES):
        if number % 6 == 0 and number:
            session.run("COMMIT")
        if number % 6 == 0 and number < 18:
            session.run("BEGIN")
        session.run(statement)
    session.run("COMMIT")


@pytest.fixture(scope="module")
def lasting_native_twins(watched: Path, mysql: MySQL, template: Template) -> Iterator[Twins]:
    """Servers whose InnoDB cascades by itself, as 8.4 and older ones do."""
    for servers in make_servers(watched, mysql, template):
        yield Twins.start(servers, **{"innodb-native-foreign-keys": "ON"})


@pytest.fixture
def native_twins(lasting_native_twins: Twins, tmp_path: Path) -> Iterator[Twins]:
    """The same, empty."""
    lasting_native_twins.begin(tmp_path)
    yield lasting_native_twins
    lasting_native_twins.clean()


@pytest.mark.parametrize("image", ["FULL", "MINIMAL"])
def test_cascades_that_are_in_the_log(twins: Twins, image: str) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        write(session, image)
    twins.replay()


@pytest.mark.parametrize("image", ["FULL", "MINIMAL"])
def test_cascades_that_are_not_in_the_log(native_twins: Twins, image: str) -> None:
    native_twins.prepare(*BASE)
    with native_twins.writing() as session:
        write(session, image)
    native_twins.replay(inconclusive=[("a", "child"), ("a", "tree"), ("b", "abroad")])


def test_keys_that_come_and_go_in_the_log(twins: Twins) -> None:
    twins.prepare(
        "CREATE DATABASE a",
        "CREATE DATABASE b",
        "CREATE TABLE a.p (id INT PRIMARY KEY)",
        "CREATE TABLE b.c (id INT PRIMARY KEY, p INT)",
    )
    with twins.writing() as session:
        for statement in (
            "INSERT INTO a.p VALUES (1), (2), (3)", "INSERT INTO b.c VALUES (1, 1), (2, 2), (3, 3)",
            "ALTER TABLE b.c ADD CONSTRAINT k FOREIGN KEY (p) REFERENCES a.p (id) ON DELETE CASCADE", "DELETE FROM a.p WHERE id = 1",
            "ALTER TABLE b.c DROP FOREIGN KEY k", "DELETE FROM a.p WHERE id = 2", "ALTER TABLE a.p MODIFY id BIGINT",
            "CREATE TABLE a.late (p BIGINT, FOREIGN KEY (p) REFERENCES a.p (id) ON UPDATE CASCADE)", "INSERT INTO a.late VALUES (3), (3)",
            "UPDATE a.p SET id = 30", "DROP TABLE a.late, a.p",
        ):  # fmt: skip
            session.run(statement)
    twins.replay()
