"""Replay is right on logs with statements in them: statement format, mixed format, DDL, temporary tables."""

from __future__ import annotations

from pathlib import Path

import pymysql
import pytest
from pymysql.connections import Connection

from relight.accounting import TableName
from relight.errors import LaneBlocked, ReplayError
from relight.server.session import Session
from tests.lane.test_any_log import BASE, change
from tests.support.older_logs import replaced_text, rewritten
from tests.support.replaying import split_logs
from tests.support.twins import Twins, replay_lanes

ALL: tuple[TableName, ...] = (("a", "bag"), ("a", "keyed"), ("b", "keyed"))


def run(session: Session, *statements: str) -> None:
    for statement in statements:
        session.run(statement)


@pytest.mark.parametrize("binlog_format", ["STATEMENT", "MIXED"])
@pytest.mark.parametrize("gtid_mode", ["ON", "OFF"])
def test_statements_whose_result_depends_on_their_context(twins: Twins, binlog_format: str, gtid_mode: str) -> None:
    twins.prepare(
        *BASE,
        "CREATE FUNCTION a.plus(x INT) RETURNS INT DETERMINISTIC RETURN x + 1",
        "CREATE TABLE a.noted (id INT AUTO_INCREMENT PRIMARY KEY, n INT, by_whom VARCHAR(60))",
        "CREATE TRIGGER a.notes AFTER INSERT ON a.bag FOR EACH ROW INSERT INTO a.noted (n, by_whom) VALUES (NEW.n, DATABASE())",
        "CREATE PROCEDURE b.fill(x INT) BEGIN INSERT INTO b.keyed VALUES (CONCAT('p', x), x, NULL); UPDATE a.bag SET n = x LIMIT 1; END",
    )
    with twins.writing() as session:
        if gtid_mode == "OFF":
            run(session, *(f"SET GLOBAL gtid_mode = {mode}" for mode in ("ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF")))
        run(
            session, f"SET SESSION binlog_format = {binlog_format}",
            f"INSERT INTO a.keyed (n, name) VALUES (RAND() * 1000, {'UUID()' if binlog_format == 'MIXED' else 1})",
            "INSERT INTO a.bag (n) VALUES (LAST_INSERT_ID())",
            "UPDATE a.keyed SET n = RAND(7) * 100, at = NOW(3)",
            "SET @text = _latin1 x'e9', @number = -12345678901, @decimal = 1.25, @nothing = NULL, @bytes = x'00ff27'",
            "INSERT INTO b.keyed VALUES (@text, @number % 1000, @bytes), (CONCAT('d', @decimal), @nothing, @nothing)",
            "SET time_zone = '+05:30', timestamp = 1700000000.123456, lc_time_names = 'de_DE'",
            "INSERT INTO a.keyed (name, at, note) VALUES (DATE_FORMAT(NOW(), '%W'), NOW(3), @@lc_time_names)",
            "SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT', auto_increment_increment = 10, auto_increment_offset = 3",
            "INSERT INTO \"a\".\"keyed\" (name, note) VALUES ('a' || 'b', 'it''s; -- no comment'), ('x', '/* no */')",
            # Without more the table's next value would differ, as on a replica: the log has no steps of ten.
            "SET auto_increment_increment = 1, auto_increment_offset = 1", "INSERT INTO a.keyed (n) VALUES (1)",
            "SET sql_mode = DEFAULT, timestamp = DEFAULT, time_zone = DEFAULT",
            "INSERT INTO a.bag VALUES (a.plus(41), 'fire \U0001f525\nDELIMITER ;\n# at 4\n/*!*/;')",
            "CALL b.fill(7)",
            "USE b",
            "BEGIN", "DELETE FROM keyed WHERE k = 'k1'", "INSERT INTO a.bag VALUES (9, 'in b')", "COMMIT",
            "SET NAMES latin1",
            "INSERT INTO a.bag VALUES (10, CONVERT('\u00e9\u00e8' USING latin1))",
            "SET NAMES utf8mb4", "SET foreign_key_checks = 0, unique_checks = 0, autocommit = 0",
            "INSERT INTO a.bag VALUES (11, 'no autocommit')", "UPDATE a.bag SET n = 12 WHERE n = 11", "COMMIT",
            "SET autocommit = 1", "INSERT INTO a.bag VALUES (13, 'autocommit')",
            "REPLACE INTO b.keyed SELECT name, n, NULL FROM a.keyed WHERE n > 100",
            "SET SESSION binlog_format = ROW", "INSERT INTO a.bag VALUES (14, 'a row')",
        )  # fmt: skip
    twins.replay(inconclusive=[*ALL, ("a", "noted")])


def load_data(twins: Twins, binlog_format: str, *statements: str) -> None:
    """Send LOAD DATA LOCAL as an application would."""
    source = twins.source
    connection: Connection[pymysql.cursors.Cursor] = pymysql.connect(
        host=source.host, port=source.port, user=twins.servers.admin.user, password=twins.servers.admin.password,
        local_infile=True, autocommit=True, charset="utf8mb4", ssl={"verify_mode": "none"},
    )  # fmt: skip
    with connection, connection.cursor() as cursor:
        cursor.execute(f"SET SESSION binlog_format = {binlog_format}")
        for statement in statements:
            cursor.execute(statement)


@pytest.mark.parametrize("binlog_format", ["STATEMENT", "MIXED", "ROW"])
def test_load_data(twins: Twins, tmp_path: Path, binlog_format: str) -> None:
    twins.prepare(*BASE)
    twins.run_on_source("SET GLOBAL local_infile = ON")
    large, small = tmp_path / "it's large.txt", tmp_path / "small.csv"
    large.write_text("".join(f"{n}\tline {n} {'x' * 200}\n" for n in range(4000)), encoding="utf-8")
    small.write_text("id,skipped\r\n100;'a \u2603';5\r\n2;'b';6\r\n", encoding="utf-8")
    large_name = str(large).replace("'", "''")
    with twins.writing() as session:
        load_data(
            twins, binlog_format,
            f"LOAD DATA LOCAL INFILE '{large_name}' INTO TABLE a.bag",
            f"LOAD DATA LOCAL INFILE '{small}' REPLACE INTO TABLE a.keyed CHARACTER SET utf8mb4 FIELDS TERMINATED BY ';'"
            " ENCLOSED BY '''' LINES TERMINATED BY '\\r\\n' IGNORE 1 LINES (id, name, @n) SET n = @n * 2, note = 'loaded'",
            f"LOAD DATA INFILE '{small}' IGNORE INTO TABLE b.keyed FIELDS TERMINATED BY ';' LINES TERMINATED BY '\\r\\n' (k, n)",
            "BEGIN", "INSERT INTO a.bag VALUES (-1, 'same transaction')",
            f"LOAD DATA LOCAL INFILE '{small}' INTO TABLE a.bag IGNORE 1 LINES (name)",
            "USE b", f"LOAD DATA LOCAL INFILE '{small}' IGNORE INTO TABLE keyed (k)", "COMMIT",
        )  # fmt: skip
        session.run("INSERT INTO a.bag VALUES (1, 'after')")
    twins.replay(inconclusive={"STATEMENT": ALL, "MIXED": ALL[:2], "ROW": ()}[binlog_format])
    for server in (twins.planned, twins.ordered):
        with twins.servers.connect(server) as session:
            assert session.value("SELECT @@GLOBAL.local_infile") == 0, "left open to clients' files"


@pytest.mark.parametrize("engine", ["InnoDB", "MyISAM", "MEMORY"])
def test_temporary_tables_of_several_sessions(twins: Twins, engine: str) -> None:
    twins.prepare(*BASE)
    with twins.writing() as one, twins.servers.connect(twins.source) as other:
        for number, session in enumerate((one, other)):
            session.run("SET SESSION binlog_format = STATEMENT")
            session.run("USE a")
            session.run(f"/* an application's */ CREATE TEMPORARY TABLE tmp (n INT, v VARCHAR(30)) ENGINE={engine}")
            session.run(f"INSERT INTO tmp VALUES ({number}, 'of session {number}')")
        run(one, "INSERT INTO a.bag SELECT * FROM tmp", "ALTER TABLE tmp ADD COLUMN more INT DEFAULT 3")
        run(other, "INSERT INTO a.bag SELECT n, CONCAT(v, '!') FROM tmp", "UPDATE tmp SET n = 77")
        run(one, "INSERT INTO a.bag SELECT more, v FROM tmp", "DROP TEMPORARY TABLE tmp")
        run(other, "INSERT INTO a.bag SELECT n, v FROM tmp", "CREATE TEMPORARY TABLE b.second LIKE b.keyed",
            "INSERT INTO b.second SELECT * FROM b.keyed", "INSERT INTO a.bag SELECT n, k FROM b.second")  # fmt: skip
        one.run("CREATE TABLE a.made AS SELECT * FROM a.bag")
        one.run("FLUSH BINARY LOGS")
        other.run("INSERT INTO a.bag SELECT n, v FROM tmp")
        other.close()  # which drops what it has
        one.run("INSERT INTO a.bag VALUES (0, 'the end')")
    twins.replay(inconclusive=[*ALL, ("a", "made")])


@pytest.mark.parametrize("binlog_format", ["MIXED", "ROW"])
def test_temporary_tables_that_are_not_in_the_log(twins: Twins, binlog_format: str) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        run(
            session, f"SET SESSION binlog_format = {binlog_format}", "CREATE TEMPORARY TABLE a.tmp (n INT)",
            "INSERT INTO a.tmp VALUES (5), (6)", "INSERT INTO a.bag SELECT n, 'from tmp' FROM a.tmp",
            "DROP TEMPORARY TABLE a.tmp", "CREATE TEMPORARY TABLE a.bag (n INT)", "INSERT INTO a.bag VALUES (1)",
            "DROP TABLE a.bag", "INSERT INTO a.bag VALUES (8, 'the real one')",
        )  # fmt: skip
    twins.replay(inconclusive=ALL[:2] if binlog_format == "MIXED" else ())


def test_savepoints(twins: Twins) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        for image in ("FULL", "MINIMAL"):
            run(
                session, f"SET SESSION binlog_row_image = {image}", "BEGIN", "INSERT INTO a.bag VALUES (1, 'kept')",
                "SAVEPOINT `a ``b`", "INSERT INTO a.bag VALUES (2, 'gone')", "UPDATE b.keyed SET n = 99",
                "ROLLBACK TO `a ``b`", "INSERT INTO b.keyed VALUES ('kept {image}', 3, NULL)".replace("{image}", image),
                "SAVEPOINT second", "DELETE FROM a.bag LIMIT 1", "RELEASE SAVEPOINT second", "COMMIT",
            )  # fmt: skip
    twins.replay()


@pytest.mark.parametrize("binlog_format", ["ROW", "MIXED", "STATEMENT"])
def test_a_rollback_to_a_savepoint_behind_which_a_table_that_cannot_roll_back_was_changed(
    twins: Twins, binlog_format: str
) -> None:
    """It is in the log in statement format; in row format the table's change is a transaction of its own."""
    twins.prepare(*BASE, "CREATE TABLE a.loose (n INT) ENGINE=MyISAM")
    with twins.writing() as session:
        run(session, f"SET SESSION binlog_format = {binlog_format}")
        run(session, *(f"SET GLOBAL gtid_mode = {mode}" for mode in ("ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF")),
            "SET GLOBAL enforce_gtid_consistency = OFF")  # fmt: skip
        run(
            session, "BEGIN", "INSERT INTO a.bag VALUES (1, 'kept')", "SAVEPOINT sp", "INSERT INTO a.bag VALUES (2, UUID())",
            "INSERT INTO a.loose VALUES (1)", "INSERT INTO a.loose SELECT n FROM a.bag", "ROLLBACK TO sp",
            "INSERT INTO b.keyed VALUES ('kept', 3, NULL)", "COMMIT",
        )  # fmt: skip
    twins.replay(inconclusive=() if binlog_format == "ROW" else [*ALL, ("a", "loose")])


def test_transactions_that_were_rolled_back_and_are_in_the_log(twins: Twins) -> None:
    """Since a table that cannot roll back, or a temporary table, was changed in them."""
    twins.prepare(*BASE, "CREATE TABLE a.loose (n INT) ENGINE=MyISAM")
    with twins.writing() as session:
        run(session, *(f"SET GLOBAL gtid_mode = {mode}" for mode in ("ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF")),
            "SET GLOBAL enforce_gtid_consistency = OFF", "SET SESSION binlog_format = STATEMENT")  # fmt: skip
        mixed = ("INSERT INTO a.bag VALUES (77, 'gone')", "INSERT INTO a.loose SELECT n FROM a.bag")
        run(
            session, "BEGIN", *mixed, "ROLLBACK", "XA START 'x'", *mixed, "XA END 'x'", "XA ROLLBACK 'x'",
            "XA START 'y'", *mixed, "XA END 'y'", "XA PREPARE 'y'", "XA ROLLBACK 'y'",
            "BEGIN", "INSERT INTO b.keyed VALUES ('gone', 1, NULL)", "CREATE TEMPORARY TABLE a.tmp (n INT)", "ROLLBACK",
            "INSERT INTO a.tmp VALUES (5)", "INSERT INTO a.bag SELECT n, 'of tmp' FROM a.tmp",
            "DROP TEMPORARY TABLE a.tmp", "SET SESSION binlog_format = MIXED", "BEGIN", "INSERT INTO a.bag VALUES (78, UUID())", mixed[1], "ROLLBACK",
        )  # fmt: skip
    assert any(b"ROLLBACK" in log.read_bytes() for log in twins.logs)
    twins.replay(inconclusive=[*ALL, ("a", "loose")])


def test_rows_that_were_rolled_back_and_are_in_the_log(twins: Twins, tmp_path: Path) -> None:
    twins.prepare(*BASE, "CREATE TABLE a.loose (n INT) ENGINE=MyISAM")
    with twins.writing() as session:
        run(
            session,
            "INSERT INTO a.loose VALUES (1), (2)",
            "UPDATE a.loose SET n = 5 WHERE n = 1",
            "INSERT INTO a.bag VALUES (1, 'x')",
        )
    twins.replay(
        [rewritten(twins.logs[0], tmp_path / "new", replaced_text(b"COMMIT", b"ROLLBACK"))],
        inconclusive=[("a", "loose")],
    )


def test_a_lane_that_ends_in_a_transaction_with_a_table_that_cannot_roll_back_is_not_resumed(twins: Twins) -> None:
    twins.prepare(*BASE, "CREATE TABLE a.loose (n INT) ENGINE=MyISAM")
    with twins.writing() as session:
        session.run("SET SESSION binlog_format = STATEMENT")
        session.run("INSERT INTO a.loose SELECT n FROM b.keyed")
    with twins.servers.connect(twins.planned) as session:
        session.run("DROP TABLE b.keyed")
    replayed = split_logs(twins.logs, twins.planned, twins.servers.admin, twins.folder)
    with pytest.raises(LaneBlocked):
        replay_lanes(replayed)
    with pytest.raises(ReplayError, match=r"a lane cannot be resumed .*cannot roll back"):
        replay_lanes(replayed)


def test_ddl_between_rows(twins: Twins) -> None:
    twins.prepare(*BASE, "CREATE DATABASE `it's \u00fc`", "CREATE TABLE a.old (id INT PRIMARY KEY, v INT)",
                  "INSERT INTO a.old VALUES (1, 1), (2, 2)")  # fmt: skip
    with twins.writing() as session:
        change(session, 1, 10)
        run(
            session,
            "CREATE TABLE b.made LIKE a.keyed", "INSERT INTO b.made (n, name) SELECT n, name FROM a.keyed", "INSERT INTO b.made (n) VALUES (1)",
            "CREATE TABLE a.copied (PRIMARY KEY (id)) SELECT id, n, name FROM a.keyed",
            "CREATE TABLE IF NOT EXISTS a.copied SELECT 1 AS one", "UPDATE a.copied SET n = 5",
            "RENAME TABLE a.old TO b.renamed, b.made TO a.old", "INSERT INTO b.renamed VALUES (3, 3)", "DELETE FROM a.old LIMIT 2",
            "TRUNCATE TABLE a.bag", "INSERT INTO a.bag VALUES (5, 'behind it')",
            "ALTER TABLE b.renamed DROP PRIMARY KEY, ADD COLUMN other BIGINT AUTO_INCREMENT PRIMARY KEY FIRST",
            "UPDATE b.renamed SET id = 9 WHERE id = 1", "INSERT INTO b.renamed (id, v) VALUES (1, 1), (1, 2)",
            "ALTER TABLE b.renamed MODIFY v VARCHAR(20), MODIFY id BIGINT UNSIGNED FIRST",
            "UPDATE b.renamed SET v = CONCAT(v, ' changed') WHERE id = 1",
            "ALTER TABLE b.renamed DROP PRIMARY KEY, DROP COLUMN other", "INSERT INTO b.renamed VALUES (1, 'a'), (1, 'a')",
            "DELETE FROM b.renamed WHERE v = 'a' LIMIT 1",
            "CREATE DATABASE c", "CREATE TABLE c.t (id INT PRIMARY KEY)", "INSERT INTO c.t VALUES (1)", "DROP DATABASE c",
            "CREATE DATABASE c DEFAULT CHARACTER SET latin1", "CREATE TABLE c.t (v VARCHAR(5))", "INSERT INTO c.t VALUES ('\u00e9')",
            "CREATE TABLE `it's \u00fc`.`t``x` (`a b` INT)", "INSERT INTO `it's \u00fc`.`t``x` VALUES (1), (2)",
            "DROP TABLE IF EXISTS a.nothing, a.copied", "DROP TABLE IF EXISTS a.nothing",
            "CREATE INDEX by_n ON a.keyed (n)", "ALTER TABLE a.keyed RENAME COLUMN note TO remark, ALGORITHM=INSTANT",
            "ALTER TABLE a.keyed ADD COLUMN early INT DEFAULT 8 FIRST, ALGORITHM=INSTANT", "UPDATE a.keyed SET early = 9 LIMIT 2",
            "CREATE VIEW b.v AS SELECT k, n FROM b.keyed", "CREATE EVENT a.e ON SCHEDULE EVERY 1 DAY DO DELETE FROM a.bag",
            "CREATE TRIGGER b.tr BEFORE INSERT ON b.keyed FOR EACH ROW SET NEW.n = IFNULL(NEW.n, 0) + 1",
            "INSERT INTO b.keyed VALUES ('through the trigger', 1, NULL)",
            "CREATE PROCEDURE a.p() BEGIN DELETE FROM a.bag LIMIT 1; SELECT 'DELIMITER ;'; END", "CALL a.p()",
            "ALTER TABLE c.t ADD COLUMN id INT AUTO_INCREMENT PRIMARY KEY, CONVERT TO CHARACTER SET utf8mb4",
            "ANALYZE TABLE a.keyed", "OPTIMIZE TABLE a.bag", "DROP VIEW b.v", "ALTER DATABASE c COLLATE utf8mb4_bin",
        )  # fmt: skip
    twins.replay()


def test_accounts_roles_and_grants(twins: Twins) -> None:
    twins.prepare(*BASE)
    with twins.writing() as session:
        run(
            session, "USE a",
            "CREATE USER one@'%' IDENTIFIED BY 'se''cret', 'two'@localhost IDENTIFIED BY 'x' ACCOUNT LOCK", "CREATE ROLE reading, writing",
            "GRANT SELECT ON a.* TO reading", "GRANT INSERT, UPDATE (n) ON b.keyed TO writing", "GRANT reading, writing TO one@'%'",
            "SET DEFAULT ROLE reading TO one@'%'", "GRANT CREATE ROUTINE ON b.* TO 'two'@localhost WITH GRANT OPTION",
            "CREATE TABLE b.made (id INT)", "GRANT BACKUP_ADMIN ON *.* TO one@'%'", "GRANT SELECT ON b.made TO one@'%'",
            "ALTER USER one@'%' IDENTIFIED BY 'other' REQUIRE SSL WITH MAX_USER_CONNECTIONS 5", "REVOKE writing FROM one@'%'",
            "RENAME USER 'two'@localhost TO 'three'@localhost", "CREATE USER gone", "DROP USER gone", "SET PASSWORD FOR one@'%' = 'again'",
            "CREATE DEFINER=one@'%' VIEW a.v AS SELECT n FROM b.keyed", "INSERT INTO b.keyed VALUES ('last', 1, NULL)",
        )  # fmt: skip
    twins.replay()


def test_only_what_a_statement_writes_is_inconclusive(twins: Twins) -> None:
    """As pt-table-checksum does it, and as it is where a trigger or a foreign key leads further."""
    twins.prepare(
        *BASE, "CREATE DATABASE percona", "CREATE TABLE percona.checksums (tbl VARCHAR(64) PRIMARY KEY, n INT, crc VARCHAR(40))",
        "CREATE TABLE a.noted (n INT)", "CREATE TABLE b.parent (id INT PRIMARY KEY)", "INSERT INTO b.parent VALUES (1)",
        "CREATE TABLE b.child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES b.parent (id) ON DELETE CASCADE)",
        "CREATE TABLE b.child_of_it (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES b.child (id) ON DELETE SET NULL)",
    )  # fmt: skip
    with twins.writing() as session:
        run(
            session, "SET SESSION binlog_format = STATEMENT",
            "REPLACE INTO `percona`.`checksums` (tbl, n, crc) SELECT 'a.keyed', COUNT(*) AS cnt, COALESCE(LOWER(CONV(BIT_XOR("
            "CAST(CRC32(CONCAT_WS('#', `id`, `n`)) AS UNSIGNED)), 10, 16)), 0) AS crc FROM `a`.`keyed` FORCE INDEX(`PRIMARY`)"
            " /*checksum chunk*/",
            "REPLACE INTO percona.checksums SELECT 'b', COUNT(*), 1 FROM b.keyed JOIN a.bag",
        )  # fmt: skip
    splits = twins.apply(twins.logs)
    twins.compare()
    assert twins.doubted(splits) == {("percona", "checksums")}
    with twins.writing() as session:
        run(
            session, "CREATE TRIGGER a.tr AFTER INSERT ON a.bag FOR EACH ROW INSERT INTO noted VALUES (1)",
            "CREATE FUNCTION a.writes() RETURNS INT DETERMINISTIC MODIFIES SQL DATA BEGIN UPDATE b.keyed SET n = 1; RETURN 1; END",
            "CREATE VIEW b.v AS SELECT a.writes() AS one",
            "SET SESSION binlog_format = STATEMENT", "INSERT INTO a.bag (n) SELECT n FROM a.keyed", "DELETE FROM b.parent",
        )  # fmt: skip
    splits = twins.apply(twins.logs)
    assert twins.doubted(splits) == {
        ("a", "bag"), ("a", "noted"), ("b", "parent"), ("b", "child"), ("b", "child_of_it"),
    }  # fmt: skip
    with twins.writing() as session:
        run(session, "SET SESSION binlog_format = STATEMENT", "INSERT INTO percona.checksums SELECT one, 1, 1 FROM b.v")
    doubted = twins.doubted(twins.apply(twins.logs))
    assert ("b", "keyed") in doubted
    assert ("a", "keyed") not in doubted
