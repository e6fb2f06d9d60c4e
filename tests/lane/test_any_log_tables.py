"""Replay is right for tables of every shape: keys, types, partitions, engines, foreign keys."""

from __future__ import annotations

import pytest

from relight.server.session import Session
from tests.support.binlogs import COLUMNS, create_everything, write_everything
from tests.support.twins import Twins


def run(session: Session, *statements: str) -> None:
    for statement in statements:
        session.run(statement)


@pytest.mark.parametrize("image", ["FULL", "MINIMAL", "NOBLOB"])
def test_every_column_type(twins: Twins, image: str) -> None:
    for server in twins.all:
        with twins.servers.connect(server) as session:
            create_everything(session)
    with twins.writing() as session:
        session.run(f"SET SESSION binlog_row_image = {image}")
        write_everything(session)
        for name in COLUMNS:
            session.run(f"UPDATE kinds.`one {name}` SET v = NULL LIMIT 1")
        # What a rollback took from the automatic values is in no log.
        run(
            session, "INSERT INTO kinds.everything (id) VALUES (1000)", "INSERT INTO `other d`.plain VALUES (1000, 'x')"
        )
    twins.replay()


def test_types_of_which_only_some_servers_know(twins: Twins) -> None:
    twins.prepare("CREATE DATABASE a", "CREATE TABLE a.t (id INT PRIMARY KEY, v VECTOR(3), srid GEOMETRY SRID 4326, z YEAR)",
                  "CREATE TABLE a.bag (v VECTOR(3), f FLOAT, d DOUBLE)")  # fmt: skip
    with twins.writing() as session:
        run(
            session, "INSERT INTO a.t VALUES (1, TO_VECTOR('[1,2.5,-3]'), ST_SRID(POINT(1, 2), 4326), 0), (2, NULL, NULL, NULL)",
            "UPDATE a.t SET v = TO_VECTOR('[4,5]') WHERE id = 2", "INSERT INTO a.bag SELECT v, -0.0, 1e-308 FROM a.t",
            "INSERT INTO a.bag VALUES (NULL, 0.0, -0.0), (NULL, -0.0, 0.0)", "DELETE FROM a.bag WHERE v IS NULL LIMIT 1",
            "UPDATE a.bag SET f = f + 1.1, d = NULL LIMIT 2",
        )  # fmt: skip
    twins.replay()


KEYS = {
    "no key": "id INT, n INT, v VARCHAR(40)",
    "an ordinary key": "id INT, n INT, v VARCHAR(40), KEY (n)",
    "a nullable unique key": "id INT, n INT, v VARCHAR(40), UNIQUE KEY (id)",
    "a unique key that is as good as primary": "id INT NOT NULL, n INT, v VARCHAR(40), UNIQUE KEY (id)",
    "a primary key of several columns in another order": "id INT, n INT DEFAULT 0, v VARCHAR(40) DEFAULT '', PRIMARY KEY (v, id)",
    "a primary key over a prefix": "id INT, n INT, v VARCHAR(40), w VARCHAR(40) DEFAULT 'w', PRIMARY KEY (id, w(3))",
    "more unique keys": "id INT PRIMARY KEY, n INT, v VARCHAR(40), UNIQUE KEY (v), UNIQUE KEY (n, id)",
    "a functional index": "id INT PRIMARY KEY, n INT, v VARCHAR(40), KEY ((n + 1)), UNIQUE KEY ((CONCAT(v, id)))",
    "a functional index and no primary key": "id INT, n INT, v VARCHAR(40), KEY ((n + 1))",
    "an index over the members of an array": "id INT PRIMARY KEY, n INT, v VARCHAR(40), doc JSON, KEY ((CAST(doc->'$.a' AS UNSIGNED ARRAY)))",
    "an invisible column and key": "id INT PRIMARY KEY, n INT, v VARCHAR(40), hidden INT INVISIBLE DEFAULT 3, KEY (n) INVISIBLE",
    "an invisible primary key": "id INT, n INT, v VARCHAR(40), hidden BIGINT AUTO_INCREMENT PRIMARY KEY INVISIBLE",
    "generated columns": "id INT PRIMARY KEY, n INT, v VARCHAR(40), twice INT AS (n * 2) STORED, low VARCHAR(40) AS (LOWER(v)) VIRTUAL, KEY (low)",
    "a generated primary key": "id INT, n INT, v VARCHAR(40), k VARCHAR(60) AS (CONCAT(id, '-x')) STORED PRIMARY KEY",
    "generated columns and no key": "id INT, n INT, v VARCHAR(40), low VARCHAR(40) AS (LOWER(v)) VIRTUAL, twice INT AS (n * 2) STORED",
    "a collation for which many are equal": "id INT, n INT, v VARCHAR(40) COLLATE utf8mb4_0900_ai_ci, PRIMARY KEY (v, id), UNIQUE KEY (id, v)",
    "an automatic value that is not the key": "id INT PRIMARY KEY, n INT, v VARCHAR(40), auto INT AUTO_INCREMENT UNIQUE",
    "a default that is an expression": "id INT PRIMARY KEY, n INT, v VARCHAR(40), u VARCHAR(40) DEFAULT (UUID()), CHECK (id > 0)",
    "a partition for each of 4 hashes": "id INT PRIMARY KEY, n INT, v VARCHAR(40)) PARTITION BY HASH (id) PARTITIONS 4 /*",
    "partitions and no key": "id INT, n INT, v VARCHAR(40)) PARTITION BY RANGE (n) (PARTITION a VALUES LESS THAN (10), PARTITION b VALUES LESS THAN (1000), PARTITION c VALUES LESS THAN MAXVALUE) /*",
    "subpartitions": "id INT, n INT DEFAULT 0, v VARCHAR(40), PRIMARY KEY (id, n)) PARTITION BY RANGE (n) SUBPARTITION BY HASH (id) SUBPARTITIONS 2 (PARTITION a VALUES LESS THAN (50), PARTITION b VALUES LESS THAN MAXVALUE) /*",
    "compressed rows": "id INT PRIMARY KEY, n INT, v VARCHAR(40)) ROW_FORMAT=COMPRESSED /*",
}


@pytest.mark.parametrize("image", ["FULL", "MINIMAL"])
def test_every_kind_of_key(twins: Twins, image: str) -> None:
    tables = {f"t{number}": columns for number, columns in enumerate(KEYS.values())}
    definitions = [f"CREATE TABLE a.{name} ({columns})".replace("/*)", "") for name, columns in tables.items()]
    gipk = ("SET SESSION sql_generate_invisible_primary_key = ON", "CREATE TABLE a.gipk (id INT, n INT, v VARCHAR(40))")
    twins.prepare("CREATE DATABASE a", *definitions, *gipk)
    with twins.writing() as session:
        session.run(f"SET SESSION binlog_row_image = {image}")
        for name in (*tables, "gipk"):
            write_rows(
                session, f"a.{name}", unique="UNIQUE" in tables.get(name, "") or "PRIMARY" in tables.get(name, "")
            )
    twins.replay()


def write_rows(session: Session, table: str, *, unique: bool) -> None:
    """The same changes for all; what a unique key forbids is left out by IGNORE."""
    insert = f"INSERT IGNORE INTO {table} (id, n, v) VALUES"
    run(
        session, *(f"{insert} ({n}, {n * 7 % 11}, 'Value {n}')" for n in range(1, 25)),
        f"{insert} (100, 900, '\u00e4'), (101, 900, 'A'), (102, 901, 'b'), (103, 5, '')",
        f"UPDATE {table} SET n = n + 100 WHERE id % 3 = 0", f"UPDATE {table} SET v = UPPER(v) WHERE n < 5",
        f"UPDATE IGNORE {table} SET id = id + 1000 WHERE id BETWEEN 4 AND 9", f"DELETE FROM {table} WHERE id IN (10, 11, 1005)",
        f"{insert} (10, 3, 'back again'), (11, 4, 'a')", f"UPDATE IGNORE {table} SET v = CONCAT(v, 'x'), n = -n WHERE id > 100",
    )  # fmt: skip
    if not unique:
        run(
            session, f"{insert} (7, 7, 'same'), (7, 7, 'same'), (7, 7, 'same'), (NULL, NULL, NULL), (NULL, NULL, NULL)",
            f"UPDATE {table} SET n = 8 WHERE v = 'same' LIMIT 2", f"DELETE FROM {table} WHERE v = 'same' LIMIT 1",
            f"DELETE FROM {table} WHERE id IS NULL LIMIT 1", f"INSERT INTO {table} (id, n, v) SELECT id, n, v FROM {table}",
            f"UPDATE {table} SET n = n + 1, v = 'all'", f"DELETE FROM {table} WHERE n > 100 LIMIT 7",
        )  # fmt: skip
    # Bring automatic values up to what was given out for rows that were ignored.
    run(session, f"{insert} (5000, 5000, 'late 1')", f"{insert} (5001, 5001, 'late 2')")


def test_nullable_unique_keys_with_many_nulls(twins: Twins) -> None:
    twins.prepare("CREATE DATABASE a", "CREATE TABLE a.t (a INT, b INT, v VARCHAR(20), UNIQUE KEY (a, b))",
                  "CREATE TABLE a.keyed (id INT PRIMARY KEY, a INT, UNIQUE KEY (a))")  # fmt: skip
    with twins.writing() as session:
        run(
            session, "INSERT INTO a.t VALUES (1, NULL, 'x'), (1, NULL, 'x'), (NULL, NULL, 'y'), (NULL, NULL, 'y'), (1, 1, 'z')",
            "UPDATE a.t SET v = 'changed' WHERE a = 1 AND b IS NULL LIMIT 1", "DELETE FROM a.t WHERE a IS NULL LIMIT 1",
            "UPDATE a.t SET a = 2 WHERE a = 1 AND b = 1", "INSERT INTO a.t VALUES (1, 1, 'new')",
            "INSERT INTO a.keyed VALUES (1, 10), (2, 20), (3, NULL), (4, NULL)",
            "UPDATE a.keyed SET a = NULL WHERE id = 1", "UPDATE a.keyed SET a = 10 WHERE id = 2", "UPDATE a.keyed SET a = 20 WHERE id = 3",
        )  # fmt: skip
    twins.replay()


@pytest.mark.parametrize("key", ["id INT PRIMARY KEY", "id INT"])
def test_very_wide_tables_and_rows_of_nulls(twins: Twins, key: str) -> None:
    kinds = ("INT", "VARCHAR(20)", "DATETIME(3)", "DECIMAL(9,2)", "BIT(5)")
    columns = ", ".join(f"c{n} {kinds[n % 5]}" for n in range(300))
    twins.prepare("CREATE DATABASE a", f"CREATE TABLE a.wide ({key}, {columns})")
    with twins.writing() as session:
        for image in ("FULL", "MINIMAL"):
            first = 100 * (image == "MINIMAL")
            run(
                session, f"SET SESSION binlog_row_image = {image}",
                f"INSERT INTO a.wide (id) VALUES ({first + 1}), ({first + 2}), ({first + 3})",
                f"INSERT INTO a.wide (id, c0, c1, c255, c256, c299) VALUES ({first + 9}, 1, 'one', 2, 'two', b'101')",
                f"UPDATE a.wide SET c250 = 1, c251 = 'x', c7 = '2026-11-22 01:02:03.004' WHERE id = {first + 2}",
                f"UPDATE a.wide SET c299 = NULL, c0 = 5 WHERE id = {first + 9}", f"DELETE FROM a.wide WHERE id = {first + 3}",
            )  # fmt: skip
    twins.replay()


def test_rows_that_move_between_partitions(twins: Twins) -> None:
    twins.prepare(
        "CREATE DATABASE a",
        "CREATE TABLE a.keyed (id INT, n INT, v VARCHAR(20), PRIMARY KEY (id, n)) PARTITION BY RANGE (n)"
        " (PARTITION low VALUES LESS THAN (100), PARTITION high VALUES LESS THAN MAXVALUE)",
        "CREATE TABLE a.bag (n INT, v VARCHAR(20)) PARTITION BY LIST COLUMNS (v)"
        " (PARTITION one VALUES IN ('a', 'b'), PARTITION two VALUES IN ('c', 'd'))",
        "CREATE TABLE a.single (n INT, v VARCHAR(20))",
    )
    with twins.writing() as session:
        run(
            session, "INSERT INTO a.keyed VALUES (1, 1, 'x'), (2, 99, 'y'), (3, 100, 'z'), (4, 500, 'w')",
            "UPDATE a.keyed SET n = n + 50", "UPDATE a.keyed SET n = 3 WHERE id = 4", "DELETE FROM a.keyed WHERE id = 2",
            "INSERT INTO a.bag VALUES (1, 'a'), (1, 'a'), (2, 'c'), (3, 'd')", "UPDATE a.bag SET v = 'd' WHERE n = 1 LIMIT 1",
            "UPDATE a.bag SET v = IF(v IN ('c', 'd'), 'a', 'c')", "DELETE FROM a.bag WHERE v = 'c' LIMIT 1",
            "ALTER TABLE a.keyed REORGANIZE PARTITION high INTO (PARTITION mid VALUES LESS THAN (300), PARTITION top VALUES LESS THAN MAXVALUE)",
            "INSERT INTO a.keyed VALUES (7, 299, 'mid'), (8, 301, 'top')", "UPDATE a.keyed SET n = 350 WHERE id = 7",
        )  # fmt: skip
    twins.replay()


def test_partitions_that_are_dropped_and_exchanged(twins: Twins) -> None:
    twins.prepare(
        "CREATE DATABASE a",
        "CREATE TABLE a.t (n INT) PARTITION BY RANGE (n) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20),"
        " PARTITION p2 VALUES LESS THAN MAXVALUE)",
        "CREATE TABLE a.single (n INT)",
    )
    with twins.writing() as session:
        run(
            session, "INSERT INTO a.t VALUES (1), (11), (12), (30)", "ALTER TABLE a.t DROP PARTITION p0", "INSERT INTO a.single VALUES (15)",
            "ALTER TABLE a.t EXCHANGE PARTITION p1 WITH TABLE a.single", "INSERT INTO a.t VALUES (13)",
            "ALTER TABLE a.t TRUNCATE PARTITION p2", "INSERT INTO a.t VALUES (99)",
        )  # fmt: skip
    twins.replay(inconclusive=[("a", "t"), ("a", "single")])


def test_tables_of_other_engines(twins: Twins) -> None:
    twins.prepare("CREATE DATABASE a", *(
        f"CREATE TABLE a.{engine} (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(20), n INT) ENGINE={engine}" for engine in ("MyISAM", "MEMORY")
    ), "CREATE TABLE a.keyless (v VARCHAR(20)) ENGINE=MyISAM", "CREATE TABLE a.InnoDB (id INT PRIMARY KEY)")  # fmt: skip
    with twins.writing() as session:
        for engine in ("MyISAM", "MEMORY"):
            run(
                session, f"INSERT INTO a.{engine} (v) VALUES ('a'), ('b'), ('c')", f"UPDATE a.{engine} SET n = id WHERE id > 1",
                f"DELETE FROM a.{engine} WHERE id = 1", "BEGIN", f"INSERT INTO a.{engine} (v) VALUES ('d')", "COMMIT",
            )  # fmt: skip
        run(session, "INSERT INTO a.keyless VALUES ('x'), ('x')", "UPDATE a.keyless SET v = 'y' LIMIT 1", "INSERT INTO a.InnoDB VALUES (1)",
            "ALTER TABLE a.MyISAM ENGINE=InnoDB", "UPDATE a.MyISAM SET n = 7", "CREATE TABLE a.late (id INT) ENGINE=MyISAM",
            "INSERT INTO a.late VALUES (1)")  # fmt: skip
    twins.replay()
