"""Replay onto real servers: the copy must end as the source did."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from relight.accounting import expected_rows
from relight.errors import LaneBlocked, ReplayError
from relight.fleet import Server
from relight.lane import lane_progress
from relight.lane.fingerprint import fingerprint
from relight.lane.lane_progress import Fence, Position
from relight.lane.writers import MOST_CONNECTIONS, lock_name
from relight.server.schema import read_tables
from relight.server.session import Session
from relight.verify.counting import count_rows, doubt_silent_cascades
from tests.support.replaying import contents, copy_of, logs_of, split_logs, start_log
from tests.support.servers import Servers

TABLES = """
CREATE DATABASE shop
CREATE DATABASE people
CREATE TABLE shop.orders (id BIGINT AUTO_INCREMENT PRIMARY KEY, customer VARCHAR(40), total DECIMAL(12,3), doc JSON,
 at DATETIME(6), flags BIT(11), kind ENUM('a','b','c'), marks SET('x','y','z'), note TEXT, raw MEDIUMBLOB, y YEAR,
 t TIME(2), ts TIMESTAMP(3) NULL, f FLOAT, d DOUBLE, twice DECIMAL(14,3) AS (total * 2) STORED, half DECIMAL(14,3) AS (total / 2) VIRTUAL,
 UNIQUE KEY (customer, id))
CREATE TABLE shop.lines (order_id BIGINT, line INT, text CHAR(200) CHARACTER SET utf8mb4, PRIMARY KEY (order_id, line),
 FOREIGN KEY (order_id) REFERENCES shop.orders (id) ON DELETE CASCADE)
CREATE TABLE shop.no_key (a INT, b VARCHAR(300))
CREATE TABLE people.users (email VARCHAR(190) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY, n INT)
CREATE TABLE people.binary_key (id BINARY(16) PRIMARY KEY, n INT)
"""


@pytest.fixture
def pair(servers: Servers) -> tuple[Server, Server]:
    """A source and a copy of it, made before anything was logged."""
    source = servers.make("source")
    with servers.connect(source) as session:
        for statement in TABLES.strip().replace("\n ", " ").splitlines():
            session.run(statement)
    # As on a server that is being rebuilt: an event that ran there too would change the rows twice.
    rebuilt = copy_of(servers, source, "rebuilt", **{"event-scheduler": "OFF"})
    with servers.connect(source) as session:
        start_log(session)
    return source, rebuilt


def write_randomly(session: Session, seed: int, transactions: int) -> None:
    """Inserts, updates, deletes, key changes, cascades and rollbacks over all tables."""
    draw = random.Random(seed)
    for n in range(transactions):
        session.run("BEGIN")
        for _ in range(draw.randint(1, 4)):
            key = draw.randint(1, 200)
            session.run(draw.choice(CHANGES).format(key=key, n=n, other=draw.randint(1, 200)))
        session.run("ROLLBACK" if draw.random() < 0.1 else "COMMIT")


CHANGES = (
    "INSERT INTO shop.orders (customer, total, doc, at, flags, kind, marks, note, raw, y, t, ts, f, d) VALUES"
    " ('c{key}', {key}.125, '{{\"k\": [{n}, null, \"\u00e9\"]}}', NOW(6), {key}, 'b', 'x,z', REPEAT('\u2603', {key}),"
    " REPEAT(x'00ff', {n}), 1999, '-12:34:56.78', NOW(3), {n}.5, -{key}.25)",
    "INSERT INTO shop.orders (customer) VALUES (NULL), ('x{n}'), ('y{n}')",
    "UPDATE shop.orders SET total = total + 1, doc = JSON_SET(COALESCE(doc, '{{}}'), '$.u', {n}) WHERE id <= {key} LIMIT 9",
    "UPDATE shop.orders SET kind = NULL, raw = NULL WHERE id = {key}",
    "DELETE FROM shop.orders WHERE id = {key}",
    "INSERT IGNORE INTO shop.lines SELECT id, {n} % 7, 'line \U0001f525' FROM shop.orders WHERE id BETWEEN {key} AND {key} + 3",
    "INSERT INTO shop.no_key VALUES ({key}, 'row {key}'), ({key}, NULL)",
    "UPDATE shop.no_key SET b = CONCAT(b, '.') WHERE a = {key} AND LENGTH(b) < 200 LIMIT 1",
    "DELETE FROM shop.no_key WHERE a = {key} LIMIT 1",
    "INSERT IGNORE INTO people.users (email, n) VALUES ('User{key}@x', {n})",
    "UPDATE IGNORE people.users SET email = 'uSER{other}@X' WHERE email = 'user{key}@x'",
    "DELETE FROM people.users WHERE n % 11 = {n} % 11",
    "REPLACE INTO people.binary_key VALUES (UNHEX(LEFT(SHA2('{key}', 256), 32)), {n})",
)


def assert_equal(servers: Servers, source: Server, rebuilt: Server) -> None:
    with servers.connect(source) as one, servers.connect(rebuilt) as other:
        assert contents(other) == contents(one)


def test_random_transactions_over_two_databases_end_as_on_the_source(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, rebuilt = pair
    with servers.connect(source) as session:
        before = {n: c for d in ("shop", "people") for n, c in count_rows(session, d).items()}
        for part in range(3):
            write_randomly(session, part, 150)
            session.run("FLUSH BINARY LOGS")
        replayed = split_logs(logs_of(session), rebuilt, servers.admin, tmp_path)
        after = {n: c for d in ("shop", "people") for n, c in count_rows(session, d).items()}
    assert {lane.name for lane in replayed.lanes.lanes} == {"people", "shop"}
    replayed.all()
    assert_equal(servers, source, rebuilt)
    expected = expected_rows(before, [o for split in replayed.splits for o in split.operations])
    assert {name: e.rows for name, e in expected.items()} == after


def test_replay_leaves_no_trace_in_the_rebuilt_servers_own_log(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, rebuilt = pair
    with servers.connect(source) as session:
        write_randomly(session, 7, 50)
        session.run("CREATE TABLE people.later (id INT PRIMARY KEY)")
        logs = logs_of(session)
    with servers.connect(rebuilt) as session:
        before = session.value("SELECT @@GLOBAL.gtid_executed")
    split_logs(logs, rebuilt, servers.admin, tmp_path).all()
    with servers.connect(rebuilt) as session:
        assert session.value("SELECT @@GLOBAL.gtid_executed") == before


DDL = (
    "ALTER TABLE shop.orders ADD COLUMN extra INT NOT NULL DEFAULT 7, ADD INDEX (kind)",
    "CREATE TABLE shop.fresh (id INT PRIMARY KEY, v VARCHAR(10) COLLATE latin1_swedish_ci)",
    "INSERT INTO shop.fresh VALUES (1, 'a'), (2, 'b')",
    "RENAME TABLE shop.fresh TO shop.renamed",
    "INSERT INTO shop.renamed VALUES (3, 'c')",
    "TRUNCATE TABLE shop.no_key",
    "INSERT INTO shop.no_key VALUES (1, 'after truncate')",
    "CREATE TABLE people.copy AS SELECT * FROM people.users",
    "INSERT INTO people.copy VALUES ('new', 1)",
    "CREATE VIEW people.v AS SELECT email FROM people.users WHERE n > 3",
    "CREATE TRIGGER people.tr BEFORE INSERT ON people.users FOR EACH ROW SET NEW.n = NEW.n + 1",
    "INSERT IGNORE INTO people.users VALUES ('triggered', 1)",
    "CREATE PROCEDURE people.p() BEGIN INSERT INTO people.binary_key VALUES (UUID_TO_BIN(UUID()), 1); SELECT '; /*x*/'; END",
    "CALL people.p()",
    "CREATE EVENT shop.nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM shop.no_key",
    "CREATE DATABASE newborn",
    "CREATE TABLE newborn.t (id INT PRIMARY KEY)",
    "INSERT INTO newborn.t VALUES (1), (2)",
    "CREATE USER 'reader'@'%' IDENTIFIED BY 'secret'",
    "GRANT SELECT ON shop.* TO 'reader'@'%'",
    "GRANT SELECT ON newborn.t TO 'reader'@'%'",
    "DROP TABLE IF EXISTS shop.nothing",
    "CREATE TABLE shop.parted (id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10),"
    " PARTITION p1 VALUES LESS THAN MAXVALUE)",
    "INSERT INTO shop.parted VALUES (1), (20)",
    "ALTER TABLE shop.parted DROP PARTITION p0",
)


def test_ddl_of_every_kind_is_replayed_in_order_with_its_context(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, rebuilt = pair
    with servers.connect(source) as session:
        write_randomly(session, 1, 60)
        session.run("SET SESSION sql_mode = 'ANSI_QUOTES,NO_ZERO_DATE', time_zone = '+05:30'")
        session.run('CREATE TABLE "people"."quoted" (a TIMESTAMP DEFAULT \'2020-01-01 00:00:00\', b INT PRIMARY KEY)')
        session.run("SET SESSION sql_mode = DEFAULT, time_zone = DEFAULT")
        for statement in DDL:
            session.run(statement)
        write_randomly(session, 2, 60)
        logs = logs_of(session)
    replayed = split_logs(logs, rebuilt, servers.admin, tmp_path)
    replayed.all()
    assert_equal(servers, source, rebuilt)
    with servers.connect(source) as one, servers.connect(rebuilt) as other:
        for query in (
            "SELECT event_name, definer, status, sql_mode FROM information_schema.events",
            "SELECT routine_name, definer, routine_definition FROM information_schema.routines WHERE routine_schema = 'people'",
            "SHOW GRANTS FOR 'reader'@'%'",
            "SELECT authentication_string FROM mysql.user WHERE user = 'reader'",
            "SHOW CREATE VIEW people.v",
        ):
            assert other.rows(query) == one.rows(query), query


def test_a_statement_that_names_two_databases_ties_them_and_others_stay_apart(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, rebuilt = pair
    with servers.connect(source) as session:
        session.run("CREATE DATABASE alone")
        session.run("CREATE TABLE alone.t (id INT PRIMARY KEY)")
        session.run("CREATE TABLE people.child (id BIGINT PRIMARY KEY, FOREIGN KEY (id) REFERENCES shop.orders (id))")
        session.run("INSERT INTO shop.orders (id) VALUES (900)")
        session.run("BEGIN")
        session.run("INSERT INTO shop.orders (id) VALUES (901)")
        session.run("INSERT INTO people.child VALUES (900), (901)")
        session.run("INSERT INTO alone.t VALUES (1)")
        session.run("COMMIT")
        logs = logs_of(session)
    replayed = split_logs(logs, rebuilt, servers.admin, tmp_path)
    assert [lane.name for lane in replayed.lanes.lanes] == ["alone", "people+shop"]
    replayed.all()
    assert_equal(servers, source, rebuilt)


def test_statement_format_changes_are_replayed_and_make_counts_inconclusive(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, rebuilt = pair
    with servers.connect(source) as session:
        session.run("SET SESSION binlog_format = 'STATEMENT'")
        session.run("SET @v = 'user variable'")
        session.run("INSERT INTO people.users VALUES (@v, 5)")
        session.run("INSERT INTO shop.orders (customer) VALUES ('auto increment')")
        session.run("UPDATE people.users SET n = n + 1")
        session.run("SET SESSION binlog_format = 'ROW'")
        session.run("INSERT INTO people.users VALUES ('row', 6)")
        logs = logs_of(session)
    replayed = split_logs(logs, rebuilt, servers.admin, tmp_path)
    replayed.all()
    assert_equal(servers, source, rebuilt)
    expected = expected_rows({("people", "users"): 0}, [o for s in replayed.splits for o in s.operations])
    assert expected["people", "users"].rows is None
    assert "statement-format" in expected["people", "users"].reason


def test_rollback_to_a_savepoint_leaves_only_what_was_committed(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, rebuilt = pair
    with servers.connect(source) as session:
        for statement in ("BEGIN", "INSERT INTO people.users VALUES ('kept', 1)", "SAVEPOINT s",
                          "INSERT INTO people.users VALUES ('gone', 1)", "ROLLBACK TO s",
                          "INSERT INTO people.users VALUES ('kept too', 1)", "COMMIT"):  # fmt: skip
            session.run(statement)
        logs = logs_of(session)
    split_logs(logs, rebuilt, servers.admin, tmp_path).all()
    assert_equal(servers, source, rebuilt)


def test_compressed_transactions_and_tagged_gtids_are_replayed(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, rebuilt = pair
    with servers.connect(source) as session:
        session.run("SET SESSION binlog_transaction_compression = ON")
        session.run("SET SESSION gtid_next = 'AUTOMATIC:night_job'")
        write_randomly(session, 3, 80)
        logs = logs_of(session)
    replayed = split_logs(logs, rebuilt, servers.admin, tmp_path)
    assert ":night_job:" in str(replayed.lanes.end_gtids)
    replayed.all()
    assert_equal(servers, source, rebuilt)


def test_a_row_that_is_not_there_stops_the_lane_and_names_the_transaction(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, rebuilt = pair
    with servers.connect(source) as session:
        session.run("INSERT INTO people.users VALUES ('there', 1)")
        logs = logs_of(session)
    with servers.connect(rebuilt) as session:
        session.run("INSERT INTO people.users VALUES ('there', 2)")
    with pytest.raises(ReplayError, match=r"people, [0-9a-f-]{36}:1") as stopped:
        split_logs(logs, rebuilt, servers.admin, tmp_path).all()
    assert not stopped.value.retryable


def test_a_lane_that_misses_an_object_says_that_another_try_may_help(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, rebuilt = pair
    with servers.connect(source) as session:
        session.run("INSERT INTO people.users VALUES ('x', 1)")
        logs = logs_of(session)
    with servers.connect(rebuilt) as session:
        session.run("DROP TABLE people.users")
    with pytest.raises(LaneBlocked) as stopped:
        split_logs(logs, rebuilt, servers.admin, tmp_path).all()
    assert stopped.value.retryable


def test_a_parent_key_that_changes_in_case_only_and_cascades_is_replayed(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, rebuilt = pair
    with servers.connect(source) as session:
        for statement in (
            "CREATE TABLE shop.products (sku VARCHAR(20) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY)",
            "CREATE TABLE shop.uses (id INT PRIMARY KEY, sku VARCHAR(20) COLLATE utf8mb4_0900_ai_ci,"
            " FOREIGN KEY (sku) REFERENCES shop.products (sku) ON UPDATE CASCADE ON DELETE CASCADE)",
            "INSERT INTO shop.products VALUES ('abc'), ('def'), ('ghi')",
            "INSERT INTO shop.uses VALUES (1, 'abc'), (2, 'abc'), (3, 'DEF'), (4, NULL)",
            "UPDATE shop.products SET sku = UPPER(sku)",
            "UPDATE shop.products SET sku = 'xyz' WHERE sku = 'Abc'",
            "DELETE FROM shop.products WHERE sku = 'def'",
        ):
            session.run(statement)
        logs = logs_of(session)
    replayed = split_logs(logs, rebuilt, servers.admin, tmp_path)
    replayed.all()
    assert_equal(servers, source, rebuilt)
    expected = expected_rows({}, [o for split in replayed.splits for o in split.operations])
    assert expected["shop", "uses"].rows == 3


def test_an_interrupted_ddl_statement_is_run_again_only_if_it_had_not_happened(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, rebuilt = pair
    with servers.connect(source) as session:
        session.run("ALTER TABLE people.users ADD COLUMN late INT")
        session.run("INSERT INTO people.users VALUES ('x', 1, 2)")
        logs = logs_of(session)
    replayed = split_logs(logs, rebuilt, servers.admin, tmp_path)
    (lane,) = replayed.lanes.lanes
    with servers.connect(rebuilt) as session:
        lane_progress.create_table(session)
        lane_progress.enter(session, [lane])
        lane_progress.open_fence(session, lane.name, Fence(Position(0, 1), 0, fingerprint(session, lane.databases)))
        session.run("ALTER TABLE people.users ADD COLUMN late INT")
    replayed.all()  # fails with "duplicate column" if the statement is run a second time
    assert_equal(servers, source, rebuilt)


@pytest.mark.parametrize("what", ["rows-0", f"rows-{MOST_CONNECTIONS}"])
def test_a_retry_waits_until_the_killed_tasks_sessions_are_gone(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path, what: str
) -> None:
    source, rebuilt = pair
    with servers.connect(source) as session:
        write_randomly(session, 5, 30)
        logs = logs_of(session)
    replayed = split_logs(logs, rebuilt, servers.admin, tmp_path)
    lane = replayed.lanes.lanes[0]
    with servers.connect(rebuilt) as left_over, ThreadPoolExecutor() as pool:
        assert left_over.value("SELECT GET_LOCK(%s, 0)", lock_name(lane.name, what)) == 1
        retry = pool.submit(replayed.lane, lane)
        while not left_over.rows("SELECT 1 FROM performance_schema.processlist WHERE state = 'User lock'"):
            assert not retry.done()
            time.sleep(0.02)
        assert lane_progress.load(left_over, lane.name).position == lane_progress.START
        assert lane_progress.load_tables(left_over, lane.name) == {}
        left_over.run("DO RELEASE_ALL_LOCKS()")
        assert retry.result() == 0
    replayed.all()
    assert_equal(servers, source, rebuilt)


def test_a_finished_lane_is_not_replayed_again(servers: Servers, pair: tuple[Server, Server], tmp_path: Path) -> None:
    source, rebuilt = pair
    with servers.connect(source) as session:
        write_randomly(session, 5, 30)
        logs = logs_of(session)
    replayed = split_logs(logs, rebuilt, servers.admin, tmp_path)
    replayed.all()
    with servers.connect(rebuilt) as session:
        done = lane_progress.load_all(session)
        tables = [lane_progress.load_tables(session, state.lane) for state in done]
        assert all(state.finished and state.bytes_done == state.bytes_total for state in done)
        written = rows_written(session)
        assert written > 0
        replayed.all()
        # The lanes' own rows are entered, and marked as finished, whatever they say already.
        assert rows_written(session) - written <= len(done)
        assert lane_progress.load_all(session) == done
        assert [lane_progress.load_tables(session, state.lane) for state in done] == tables
    assert_equal(servers, source, rebuilt)


def rows_written(session: Session) -> int:
    """By anybody since the server started."""
    return sum(int(str(row[1])) for row in session.rows("SHOW GLOBAL STATUS LIKE 'Innodb_rows_%'")
               if row[0] in ("Innodb_rows_inserted", "Innodb_rows_updated", "Innodb_rows_deleted"))  # fmt: skip


def test_cascades_that_a_source_does_not_log_make_the_tables_below_inconclusive_and_replay_is_right(
    servers: Servers, tmp_path: Path
) -> None:
    """InnoDB runs cascades by itself, as in 8.0 and 8.4, where this option is all there is."""
    native = {"innodb-native-foreign-keys": "ON", "event-scheduler": "OFF"}
    source = servers.make("source", options=native)
    with servers.connect(source) as session:
        for statement in (
            "CREATE DATABASE d",
            "CREATE TABLE d.parent (id INT PRIMARY KEY)",
            "CREATE TABLE d.child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES d.parent (id) ON DELETE CASCADE)",
            "CREATE TABLE d.grandchild (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES d.child (id) ON DELETE CASCADE)",
            "CREATE TABLE d.other (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES d.parent (id) ON DELETE SET NULL)",
            "INSERT INTO d.parent VALUES (1), (2)",
            "INSERT INTO d.child VALUES (10, 1), (20, 2)",
            "INSERT INTO d.grandchild VALUES (100, 10), (200, 20)",
            "INSERT INTO d.other VALUES (1, 1), (2, 2)",
        ):
            session.run(statement)
        tables = read_tables(session, lambda _: None)
    rebuilt = copy_of(servers, source, "rebuilt", **native)
    with servers.connect(source) as session:
        start_log(session)
        session.run("DELETE FROM d.parent WHERE id = 1")
        session.run("INSERT INTO d.parent VALUES (3)")
        logs = logs_of(session)
    replayed = split_logs(logs, rebuilt, servers.admin, tmp_path)
    replayed.all()
    assert_equal(servers, source, rebuilt)
    expected = expected_rows(
        {(t.database, t.name): t.rows for t in tables}, [o for s in replayed.splits for o in s.operations]
    )
    doubted = doubt_silent_cascades(expected, tables, {n for s in replayed.splits for n in s.silent_cascades})
    found = {name[1]: one.rows for name, one in doubted.items()}
    assert found == {"parent": 2, "child": None, "grandchild": None, "other": 2}
