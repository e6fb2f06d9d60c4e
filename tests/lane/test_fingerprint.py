"""A fence sees whether its DDL has happened, and looks at nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from relight.lane.fingerprint import fingerprint
from relight.lane.statement import tables_of
from relight.server.session import Session
from tests.support.servers import Servers

HOME = "it's \u00fc-1"
BASE = (
    f"CREATE DATABASE `{HOME}`", "CREATE DATABASE other", f"USE `{HOME}`",
    "CREATE TABLE t (id INT PRIMARY KEY, n INT, v VARCHAR(20), KEY by_n (n))", "CREATE TABLE `t#P#\u00e9` (id INT PRIMARY KEY)",
    "CREATE TABLE parted (id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10),"
    " PARTITION p1 VALUES LESS THAN (20))", "CREATE TABLE plain (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1, 1, 'a')",
)  # fmt: skip


@pytest.fixture(scope="module")
def lasting_session(module_servers: Servers) -> Iterator[Session]:
    with module_servers.connect(module_servers.make("one")) as session:
        yield session


@pytest.fixture
def session(lasting_session: Session) -> Iterator[Session]:
    for statement in BASE:
        lasting_session.run(statement)
    yield lasting_session
    for database in (HOME, "other"):
        lasting_session.run(f"DROP DATABASE `{database}`")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE made (id INT)", "CREATE TABLE other.made LIKE t", "CREATE TABLE made SELECT * FROM t", "DROP TABLE t",
        "DROP TABLE IF EXISTS nothing, `t#P#\u00e9`", "TRUNCATE t", "TRUNCATE TABLE `t#P#\u00e9`", "RENAME TABLE t TO other.u",
        "RENAME TABLE t TO x, plain TO t, x TO plain", "ALTER TABLE t RENAME other.u", "ALTER TABLE t ADD COLUMN more INT",
        "ALTER TABLE t DROP COLUMN n", "ALTER TABLE t RENAME COLUMN n TO m", "ALTER TABLE t MODIFY v VARCHAR(21)",
        "ALTER TABLE t ALTER n SET DEFAULT 5", "ALTER TABLE t ADD INDEX (v)", "ALTER TABLE t RENAME INDEX by_n TO others",
        "ALTER TABLE t ALTER INDEX by_n INVISIBLE", "ALTER TABLE t DROP PRIMARY KEY", "CREATE UNIQUE INDEX u ON t (v)",
        "DROP INDEX by_n ON t", "ALTER TABLE t COMMENT 'x'", "ALTER TABLE t CONVERT TO CHARACTER SET latin1", "ALTER TABLE t ENGINE=MyISAM",
        "ALTER TABLE t ENGINE=InnoDB", "ALTER TABLE t ADD FOREIGN KEY (n) REFERENCES plain (id)", "ALTER TABLE t ADD CHECK (n > 0)",
        "ALTER TABLE t ROW_FORMAT=COMPACT", "ALTER TABLE parted ADD PARTITION (PARTITION p2 VALUES LESS THAN (30))",
        "ALTER TABLE parted DROP PARTITION p0", "ALTER TABLE parted TRUNCATE PARTITION p1",
        "ALTER TABLE parted EXCHANGE PARTITION p1 WITH TABLE plain", "ALTER TABLE parted REMOVE PARTITIONING",
        "ALTER TABLE t ADD COLUMN g INT AS (n + 1) STORED", "OPTIMIZE TABLE t",
    ],
)  # fmt: skip
def test_whatever_a_ddl_changes_shows_in_its_own_tables(session: Session, sql: str) -> None:
    tables = sorted(tables_of(sql, HOME))
    assert tables
    session.run(f"USE `{HOME}`")
    if "FOREIGN KEY" in sql:
        session.run("SET foreign_key_checks = 0")
    before = fingerprint(session, [HOME, "other"], tables)
    assert fingerprint(session, [HOME, "other"], tables) == before
    session.rows(sql)
    assert fingerprint(session, [HOME, "other"], tables) != before
    session.run("SET foreign_key_checks = 1")


def test_what_happens_to_other_tables_does_not_show(session: Session) -> None:
    before = fingerprint(session, [HOME, "other"], [(HOME, "t")])
    session.run(f"CREATE TABLE `{HOME}`.u LIKE `{HOME}`.t")
    session.run("CREATE TABLE other.t (id INT)")
    assert fingerprint(session, [HOME, "other"], [(HOME, "t")]) == before
    assert fingerprint(session, [HOME, "other"]) != before


@pytest.mark.parametrize(
    "sql",
    ["CREATE VIEW v AS SELECT 1", "CREATE DATABASE d", "DROP DATABASE d", "GRANT SELECT ON t TO u", "CREATE USER u",
     "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.n = 1", "DROP TABLE 'a", "ALTER EVENT e DISABLE",
     "CREATE TABLESPACE s ADD DATAFILE 's.ibd'", "ALTER DATABASE CHARACTER SET latin1", "DROP VIEW v", "ALTER INSTANCE RELOAD TLS"],
)  # fmt: skip
def test_a_ddl_that_is_about_more_than_tables_is_looked_for_everywhere(sql: str) -> None:
    assert not tables_of(sql, HOME)
