"""Whatever dies while a lane is replayed, every change is there once: on real servers, with real kills."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from relight.errors import LaneBlocked, ReplayError, ServerUnreachable, StatementFailed
from relight.fleet import Limits, Server
from relight.lab.addresses import PORT, free_addresses
from relight.lane import applier, lane_progress, pending, writers
from relight.lane.stream import Piece
from relight.lane.writers import Writers, lock_name
from relight.run_files import Lane
from relight.server import mysqld
from relight.server.session import Session
from tests.support.dying import Child, die
from tests.support.pair import Pair, clean
from tests.support.proxy import Proxy
from tests.support.replaying import Replayed
from tests.support.servers import DURABLE, Servers, kill

DEEP = bool(os.environ.get("RELIGHT_DEEP"))
KILLS = 500 if DEEP else 50


@pytest.fixture(scope="module")
def shared_pair(module_servers: Servers) -> Pair:
    source = module_servers.make("source")
    return Pair(module_servers, source, module_servers.make("rebuilt", options={"event-scheduler": "OFF", **DURABLE}))


@pytest.fixture
def pair(shared_pair: Pair) -> Pair:
    """Made for every test: a server that a test killed comes up with its options, else commits need not reach the disk."""
    with mysqld.start(shared_pair.rebuilt, shared_pair.servers.admin) as session:
        session.run("SET GLOBAL innodb_flush_log_at_trx_commit = 0")
        session.run("SET GLOBAL sync_binlog = 0")
    return shared_pair


BASE = (
    "CREATE DATABASE shop",
    "CREATE TABLE shop.accounts (id INT AUTO_INCREMENT PRIMARY KEY, n INT NOT NULL DEFAULT 0, note VARCHAR(60))",
    "CREATE TABLE shop.handles (id INT PRIMARY KEY, handle VARCHAR(40) UNIQUE, slot INT UNIQUE)",
    "CREATE TABLE shop.names (name VARCHAR(30) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY, n INT)",
    "CREATE TABLE shop.bag (a INT, b VARCHAR(30))",
    "CREATE TABLE shop.documents (a INT, doc JSON)",
    "CREATE TABLE shop.parents (id INT PRIMARY KEY, v INT)",
    "CREATE TABLE shop.children (id INT PRIMARY KEY, parent INT,"
    " FOREIGN KEY (parent) REFERENCES shop.parents (id) ON DELETE CASCADE ON UPDATE CASCADE)",
    "INSERT INTO shop.accounts (n) VALUES (0), (0), (0), (0)",
    "INSERT INTO shop.bag VALUES (1, 'x'), (1, 'x'), (2, NULL)",
)

CHANGES = (
    "UPDATE shop.accounts SET n = n + 1 WHERE id <= 4",
    "UPDATE shop.accounts SET note = CONCAT('at ', {n}) WHERE id = {k}",
    "INSERT INTO shop.accounts (n, note) VALUES ({n}, REPEAT('x', {k}))",
    "DELETE FROM shop.accounts WHERE id > 4 AND id % 5 = {k} % 5",
    "REPLACE INTO shop.accounts (id, n) VALUES ({k}, {n})",
    "INSERT INTO shop.handles VALUES ({k}, 'h{o}', {o})",
    "UPDATE shop.handles SET slot = NULL WHERE id = {k}",
    "UPDATE IGNORE shop.handles SET slot = {o}, handle = 'H{k}' WHERE id = {k}",
    "UPDATE shop.handles SET slot = slot + 100 ORDER BY slot DESC LIMIT 3",
    "DELETE FROM shop.handles WHERE id = {k}",
    "INSERT IGNORE INTO shop.names VALUES ('name{k}', {n})",
    "UPDATE shop.names SET name = UPPER(name), n = {n} WHERE name = 'name{k}'",
    "DELETE FROM shop.names WHERE name = 'NAME{k}'",
    "INSERT INTO shop.bag VALUES ({k} % 4, 'x'), ({k} % 4, 'x'), ({o} % 4, NULL)",
    "UPDATE shop.bag SET b = 'y' WHERE a = {k} % 4 LIMIT 2",
    "DELETE FROM shop.bag WHERE a = {k} % 4 LIMIT 3",
    "INSERT INTO shop.documents VALUES ({k} % 3, '[{n}]'), ({k} % 3, '{{}}')",
    "UPDATE shop.documents SET doc = JSON_SET(doc, '$.a', {o}) WHERE a = {k} % 3 LIMIT 2",
    "DELETE FROM shop.documents WHERE a = {k} % 3 LIMIT 2",
    "INSERT INTO shop.parents VALUES ({k}, {n})",
    "INSERT INTO shop.children VALUES ({o}, {k})",
    "UPDATE IGNORE shop.parents SET id = id + 50 WHERE id = {k}",
    "DELETE FROM shop.parents WHERE id % 7 = {k} % 7",
)

DEFINITIONS = (
    "ALTER TABLE shop.accounts ADD COLUMN c{n} INT DEFAULT {n}",
    "CREATE TABLE shop.side_{n} (id INT PRIMARY KEY, v VARCHAR(20))",
    "INSERT INTO shop.side_{n} VALUES (1, 'one'), (2, 'two')",
    "RENAME TABLE shop.side_{n} TO shop.aside_{n}",
    "INSERT INTO shop.aside_{n} VALUES (3, 'three')",
    "TRUNCATE TABLE shop.bag",
    "CREATE TABLE shop.made_{n} AS SELECT id, n FROM shop.accounts",
    "ALTER TABLE shop.accounts DROP COLUMN c{n}, ADD INDEX (n)",
    "DROP TABLE shop.aside_{n}, shop.made_{n}",
    "CREATE TABLE shop.new_bag LIKE shop.bag",
    "RENAME TABLE shop.bag TO shop.old_bag, shop.new_bag TO shop.bag",
    "DROP TABLE shop.old_bag",
    "ALTER TABLE shop.handles DROP INDEX handle, ADD UNIQUE KEY handle (handle)",
    "ALTER TABLE shop.accounts DROP INDEX n",
)


def write_history(session: Session, seed: int, transactions: int, *, ddl_every: int) -> None:
    """Transactions over all tables of BASE, with statements that change definitions between them."""
    draw = random.Random(seed)
    for n in range(transactions):
        session.run("BEGIN")
        for _ in range(draw.randint(1, 4)):
            statement = draw.choice(CHANGES).format(k=draw.randint(1, 30), o=draw.randint(1, 40), n=n)
            try:
                session.run(statement)
            except StatementFailed:
                pass  # a duplicate: the transaction goes on without it
        session.run("ROLLBACK" if draw.random() < 0.05 else "COMMIT")
        if n % ddl_every == ddl_every - 1:
            number = n // ddl_every
            session.run(DEFINITIONS[number % len(DEFINITIONS)].format(n=number // len(DEFINITIONS)))


def written(pair: Pair, folder: Path, seed: int, transactions: int, *, ddl_every: int = 60) -> tuple[Replayed, Lane]:
    """A history on BASE, and the one lane that it makes."""
    pair.start(BASE)
    with pair.servers.connect(pair.source) as session:
        write_history(session, seed, transactions, ddl_every=ddl_every)
    replayed = pair.split(folder)
    (lane,) = replayed.lanes.lanes
    assert lane.connections == 4
    enter(pair, lane)
    return replayed, lane


def enter(pair: Pair, *lanes: Lane) -> None:
    """As a restore does before it replays."""
    with pair.servers.connect(pair.rebuilt) as session:
        session.run("SET SESSION sql_log_bin = 0")
        lane_progress.create_table(session)
        lane_progress.enter(session, lanes)
        session.run("FLUSH LOCAL ENGINE LOGS")  # the base is on the disk, as after a restored snapshot


def standing(session: Session) -> tuple[object, ...]:
    """Changes with every commit of a lane."""
    return (
        *session.rows("SELECT segment, transaction, fence IS NULL FROM _relight.progress"),
        *session.rows("SELECT SUM(segment), SUM(transaction), COUNT(*) FROM _relight.table_progress"),
    )


def part_done(session: Session, replayed: Replayed) -> float:
    done = session.value("SELECT COALESCE(MAX(transaction), 0) FROM _relight.progress")
    return int(done) / replayed.splits[0].transactions


SMALL, LARGE = Limits(transactions_per_batch=3, batch_mib=1), Limits()


def test_fifty_times_sigkill_at_random_moments(pair: Pair, tmp_path: Path) -> None:
    replayed, lane = written(pair, tmp_path, 1, 30 * KILLS)
    draw = random.Random(2)
    kills = 0
    with pair.servers.connect(pair.rebuilt) as session:
        while kills < KILLS:
            # However fast this machine is, the lane is not through before it was killed often enough.
            ahead = part_done(session, replayed) > kills / (1.5 * KILLS)
            limits = SMALL if ahead or draw.random() < 0.7 else LARGE
            child = Child(replace(replayed, limits=limits), lane)
            before = standing(session)
            if ahead or draw.random() < 0.5:
                while child.alive and standing(session) == before:
                    time.sleep(0.001)
                time.sleep(draw.uniform(0, 0.01))
            else:
                child.wait(draw.uniform(0.005, 0.4))
            assert child.alive, "it was through, or failed, before it was killed often enough"
            child.kill()
            kills += 1
    assert Child(replayed, lane).end()
    pair.assert_finished()
    pair.assert_equal()


def replaying(replayed: Replayed, lane: Lane) -> Callable[[], object]:
    """Replays in this process; gives what went wrong where trying again helps, None when it is through."""

    def attempt() -> object:
        try:
            replayed.lane(lane)
        except ServerUnreachable as gone:
            return gone
        return None

    return attempt


def test_the_server_is_killed_and_started_again(pair: Pair, tmp_path: Path) -> None:
    replayed, lane = written(pair, tmp_path, 3, 100 * (80 if DEEP else 8), ddl_every=40)
    draw = random.Random(4)
    goal = 80 if DEEP else 8
    with ThreadPoolExecutor() as pool:
        for kills in range(goal):
            # As options have it, every commit is on the disk; as a restore has it, the last ones are lost.
            with pair.servers.connect(pair.rebuilt) as session:
                session.run(f"SET GLOBAL innodb_flush_log_at_trx_commit = {kills % 2}")
                ahead = part_done(session, replayed) > kills / (1.5 * goal)
                before = standing(session)
                limits = SMALL if ahead or draw.random() < 0.7 else Limits(transactions_per_batch=100)
                attempt = pool.submit(replaying(replace(replayed, limits=limits), lane))
                while not attempt.done() and standing(session) == before:
                    time.sleep(0.001)
                time.sleep(draw.uniform(0, 0.02 if ahead else 0.2))
            kill(pair.rebuilt)
            assert attempt.result() is not None, "it was through before the server was killed often enough"
            mysqld.start(pair.rebuilt, pair.servers.admin).close()
    assert replaying(replayed, lane)() is None
    pair.assert_finished()
    pair.assert_equal()


def through(server: Server, proxy: Proxy) -> Server:
    """The server as one that is reached by the proxy."""
    return server.model_copy(
        update={"host": proxy.host, "port": proxy.port, "socket": server.socket.with_name("none.sock")}
    )


def test_the_network_is_cut_also_between_a_commit_and_its_answer(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goal = 150 if DEEP else 16
    replayed, lane = written(pair, tmp_path, 5, 60 * goal, ddl_every=40)
    draw = random.Random(6)
    run, left = Session.run, [0]

    def run_and_cut(session: Session, statement: str | bytes, *values: object) -> int:
        if statement == "COMMIT":
            left[0] -= 1
            if left[0] == 0:
                proxy.cut_at_next_answer()
        return run(session, statement, *values)

    monkeypatch.setattr(Session, "run", run_and_cut)
    behind, before = (pair.rebuilt.host, PORT), (free_addresses(1)[0], PORT)
    with Proxy(behind, before) as proxy, pair.servers.connect(pair.rebuilt) as session:
        far = replace(replayed, server=through(pair.rebuilt, proxy))
        for cuts in range(goal):
            ahead = part_done(session, replayed) > cuts / (1.5 * goal)
            limits = SMALL if ahead or cuts % 3 else Limits(transactions_per_batch=50)
            left[0] = draw.randint(1, 6) if cuts % 2 else 0
            over = threading.Event()
            cutter = threading.Thread(target=cut_until, args=(proxy, over, draw.uniform(0.02, 0.2 if ahead else 0.8)))
            if not cuts % 2:
                cutter.start()
            gone = replaying(replace(far, limits=limits), lane)()
            over.set()
            assert isinstance(gone, ServerUnreachable), "it was through before it was cut often enough"
            assert gone.retryable
        assert replaying(far, lane)() is None
    pair.assert_finished()
    pair.assert_equal()


def cut_until(proxy: Proxy, over: threading.Event, seconds: float) -> None:
    """Cut again and again: the first time there may be nothing yet to be cut."""
    while not over.wait(seconds):
        proxy.cut()


# Where a process dies, arranged in the process itself.


def die_before_a_fenced_statement() -> None:
    opened = lane_progress.open_fence

    def open_fence(*args: object) -> None:
        opened(*args)  # type: ignore[arg-type] # passed on as they came
        die()

    lane_progress.open_fence = open_fence


def die_after_a_fenced_statement() -> None:
    opened, advance = lane_progress.open_fence, lane_progress.advance
    fenced: list[object] = []

    def open_fence(*args: object) -> None:
        opened(*args)  # type: ignore[arg-type] # passed on as they came
        fenced.append(args)

    def advance_or_die(*args: object, **named: object) -> None:
        if fenced:
            die()
        advance(*args, **named)  # type: ignore[arg-type] # passed on as they came

    lane_progress.open_fence, lane_progress.advance = open_fence, advance_or_die


def replay_with_deaths(pair: Pair, replayed: Replayed, lane: Lane, ways: list[Callable[[], None]]) -> int:
    """Replay a lane, dying in every way at every fence, in turns. Gives how often."""
    enter(pair, lane)
    deaths = 0
    while not Child(replayed, lane, ways[deaths % len(ways)]).end():
        deaths += 1
        assert deaths < 300, "the lane does not get on"
    return deaths


WAYS = [die_before_a_fenced_statement, die_after_a_fenced_statement]

ONCE_ONLY = (
    "CREATE TABLE shop.t (id INT PRIMARY KEY, v INT)",
    "INSERT INTO shop.t VALUES (1, 1)",
    "ALTER TABLE shop.t ADD COLUMN w INT, ADD UNIQUE KEY (w)",
    "ALTER TABLE shop.t RENAME COLUMN v TO w, RENAME COLUMN w TO v",
    "UPDATE shop.t SET v = 5, w = 6",
    "ALTER TABLE shop.t ADD CHECK (v > 0)",
    "ALTER TABLE shop.t ADD INDEX (v)",
    "CREATE TABLE shop.o LIKE shop.t",
    "INSERT INTO shop.o VALUES (2, 2, 2)",
    "RENAME TABLE shop.t TO shop.x, shop.o TO shop.t, shop.x TO shop.o",
    "TRUNCATE TABLE shop.o",
    "INSERT INTO shop.o VALUES (7, 7, 7)",
    "CREATE TABLE shop.made AS SELECT * FROM shop.t",
    "CREATE VIEW shop.v AS SELECT 1 AS a",
    "CREATE TRIGGER shop.tr BEFORE INSERT ON shop.t FOR EACH ROW SET NEW.v = 3",
    "CREATE PROCEDURE shop.p() SELECT 1",
    "CREATE FUNCTION shop.f() RETURNS INT DETERMINISTIC RETURN 1",
    "CREATE EVENT shop.e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
    "CREATE TABLE shop.parts (id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10))",
    "ALTER TABLE shop.parts ADD PARTITION (PARTITION p1 VALUES LESS THAN (20))",
    "ALTER TABLE shop.parts DROP PARTITION p0",
    "CREATE TABLE shop.plain (id INT PRIMARY KEY)",
    "INSERT INTO shop.plain VALUES (11)",
    "ALTER TABLE shop.parts EXCHANGE PARTITION p1 WITH TABLE shop.plain",
    "CREATE DATABASE newborn",
    "ALTER DATABASE newborn COLLATE latin1_swedish_ci",
    "CREATE TABLE newborn.n (id INT PRIMARY KEY)",
    "CREATE USER app_one",
    "GRANT SELECT ON shop.* TO app_one",
    "RENAME USER app_one TO app_two",
    "USE shop",
    "CREATE USER app_three",
    "CREATE ROLE app_role",
    "GRANT app_role TO app_three",
    "REVOKE app_role FROM app_three",
    "DROP USER app_two",
    "CREATE TABLESPACE space ADD DATAFILE 'space.ibd'",
    "ALTER TABLESPACE space RENAME TO other_space",
    "DROP TABLESPACE other_space",
    "CREATE SPATIAL REFERENCE SYSTEM 990001 NAME 'flat' DEFINITION '"
    'PROJCS["flat",GEOGCS["WGS 84",DATUM["World Geodetic System 1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.017453292519943278],AXIS["Lat",NORTH],AXIS["Lon",EAST]],'
    'PROJECTION["Popular Visualisation Pseudo Mercator"],PARAMETER["Latitude of natural origin",0],'
    'PARAMETER["Longitude of natural origin",0],PARAMETER["False easting",0],PARAMETER["False northing",0],'
    'UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]\'',
    "DROP SPATIAL REFERENCE SYSTEM 990001",
    "DROP TRIGGER shop.tr",
    "DROP PROCEDURE shop.p",
    "DROP EVENT shop.e",
    "DROP VIEW shop.v",
    "DROP DATABASE newborn",
)


def test_a_statement_that_commits_by_itself_is_run_once_wherever_replay_dies(pair: Pair, tmp_path: Path) -> None:
    pair.start(["CREATE DATABASE shop"])
    with pair.servers.connect(pair.source) as session:
        for statement in ONCE_ONLY:
            session.run(statement)
    replayed = pair.split(tmp_path)
    deaths = sum(replay_with_deaths(pair, replayed, lane, WAYS) for lane in replayed.lanes.lanes)
    fences = sum(not statement.startswith(("INSERT", "UPDATE", "USE")) for statement in ONCE_ONLY)
    assert deaths == 2 * fences
    pair.assert_finished()
    pair.assert_equal()
    with pair.on_both() as (source, rebuilt):
        for query in (
            "SELECT user, host FROM mysql.user ORDER BY user",
            "SELECT routine_name FROM information_schema.routines WHERE routine_schema = 'shop'",
            "SHOW GRANTS FOR app_three",
        ):
            assert rebuilt.rows(query) == source.rows(query)


def waiting_for_a_lock(session: Session) -> bool:
    """Whether a session of the server waits until another one is gone."""
    return bool(session.rows("SELECT 1 FROM performance_schema.processlist WHERE state = 'User lock'"))


def until(true: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_long_alter_goes_on_without_its_process_and_is_waited_for(pair: Pair, tmp_path: Path) -> None:
    pair.start((
        "CREATE DATABASE shop",
        "CREATE TABLE shop.big (id INT PRIMARY KEY, v VARCHAR(200))",
        "INSERT INTO shop.big WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 1000)"
        " SELECT a.n * 1000 + b.n, REPEAT('v', 100) FROM s AS a JOIN s AS b WHERE a.n <= 150",
    ))  # fmt: skip
    with pair.servers.connect(pair.source) as session:
        session.run("ALTER TABLE shop.big ADD COLUMN w INT DEFAULT 3, ALGORITHM=COPY")
        session.run("UPDATE shop.big SET w = 4 WHERE id < 2000")
    replayed = pair.split(tmp_path)
    (lane,) = replayed.lanes.lanes

    def altering() -> bool:
        return bool(session.rows("SELECT 1 FROM performance_schema.processlist WHERE info LIKE 'ALTER TABLE%%'"))

    with pair.servers.connect(pair.rebuilt) as session:
        first = Child(replayed, lane)
        until(altering)
        first.kill()
        second = Child(replayed, lane)
        until(lambda: waiting_for_a_lock(session))
        assert altering(), "the statement was over too soon for this test to mean anything"
        assert lane_progress.load(session, lane.name).fence is not None
        assert second.end()
    pair.assert_finished()
    pair.assert_equal()


XA = (
    "INSERT INTO shop.t VALUES (1, 1), (2, 2), (3, 3)",
    "XA START 'one'", "UPDATE shop.t SET n = n + 10 WHERE id = 1", "INSERT INTO shop.bag VALUES (1)", "XA END 'one'",
    "XA PREPARE 'one'",
    "UPDATE shop.t SET n = 5 WHERE id = 2",
    "XA START 'two', 'branch', 7", "DELETE FROM shop.t WHERE id = 3", "XA END 'two', 'branch', 7",
    "XA PREPARE 'two', 'branch', 7",
    "INSERT INTO shop.bag VALUES (2)",
    "XA COMMIT 'one'",
    "UPDATE shop.t SET n = n + 10 WHERE id = 1",
    "XA ROLLBACK 'two', 'branch', 7",
    "UPDATE shop.t SET n = 33 WHERE id = 3",
    "XA START 'one'", "INSERT INTO shop.t VALUES (8, 8)", "XA END 'one'", "XA PREPARE 'one'", "XA COMMIT 'one'",
    "XA START 'left'", "INSERT INTO shop.t VALUES (9, 9)", "XA END 'left'", "XA PREPARE 'left'",
)  # fmt: skip
XA_BASE = ("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, n INT)", "CREATE TABLE shop.bag (a INT)")


@pytest.fixture
def xa_lane(pair: Pair, tmp_path: Path) -> tuple[Replayed, Lane]:
    """A history with XA transactions, one of which is left prepared."""
    pair.start(XA_BASE)
    with pair.servers.connect(pair.source) as session:
        for statement in XA:
            session.run(statement)
    replayed = pair.split(tmp_path)
    (lane,) = replayed.lanes.lanes
    enter(pair, lane)
    return replayed, lane


def prepared(session: Session) -> list[str]:
    return sorted(str(row[3]) for row in session.rows("XA RECOVER"))


def test_xa_transactions_are_prepared_and_settled_once_wherever_replay_dies(
    pair: Pair, xa_lane: tuple[Replayed, Lane]
) -> None:
    assert replay_with_deaths(pair, *xa_lane, WAYS) == 2 * 7
    pair.assert_finished()
    with pair.on_both() as (source, rebuilt):
        assert prepared(rebuilt) == prepared(source) == ["left"]
    pair.assert_equal()


def test_a_prepared_xa_transaction_outlives_the_server(pair: Pair, xa_lane: tuple[Replayed, Lane]) -> None:
    while True:
        with pair.servers.connect(pair.rebuilt) as session:
            session.run("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
        if Child(*xa_lane, die_after_a_fenced_statement).end():
            break
        kill(pair.rebuilt)
        mysqld.start(pair.rebuilt, pair.servers.admin).close()
    pair.assert_finished()
    with pair.on_both() as (source, rebuilt):
        assert prepared(rebuilt) == prepared(source) == ["left"]
    pair.assert_equal()


# One table, written by several connections at once.


def divide_small_tables() -> None:
    pending._WORTH_DIVIDING = 1


def divide_and_die(parts: int) -> None:
    """Die when so many parts were committed."""
    divide_small_tables()
    part = Writers._part
    left = [parts]
    lock = threading.Lock()

    def part_or_die(*args: object, **named: object) -> None:
        part(*args, **named)  # type: ignore[arg-type] # passed on as they came
        with lock:
            left[0] -= 1
            if left[0] == 0:
                die()

    Writers._part = part_or_die  # type: ignore[method-assign, assignment] # that is the point


LARGE_TABLE = (
    "CREATE DATABASE shop",
    "CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, n INT, v VARCHAR(20), KEY (n))",
    "CREATE TABLE shop.names (name VARCHAR(30) COLLATE utf8mb4_0900_ai_ci, part CHAR(3) COLLATE utf8mb4_general_ci,"
    " n INT, PRIMARY KEY (name, part))",
    "INSERT INTO shop.t (id, n) WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 200) SELECT n, 0 FROM s",
    "INSERT INTO shop.names SELECT CONCAT('name', id % 50), id DIV 50, 0 FROM shop.t",
)


def change_large_table(session: Session, seed: int, transactions: int) -> None:
    draw = random.Random(seed)
    for n in range(transactions):
        low = draw.randint(1, 220)
        session.run(
            draw.choice(
                (
                    f"UPDATE shop.t SET n = {n} WHERE id BETWEEN {low} AND {low + 20}",
                    f"DELETE FROM shop.t WHERE id BETWEEN {low} AND {low + 5}",
                    f"REPLACE INTO shop.t VALUES ({low}, {n}, 'again'), ({low + 1}, {n}, NULL)",
                    "INSERT INTO shop.t (n) VALUES (1), (2)",
                    f"UPDATE IGNORE shop.t SET id = id + 1000 WHERE id BETWEEN {low} AND {low + 3}",
                    f"UPDATE IGNORE shop.t SET id = id - 1000 WHERE id > 1000 LIMIT {low % 9}",
                    f"UPDATE shop.names SET name = IF({n} % 2, UPPER(name), LOWER(name)), n = {n} WHERE n % 7 = {low % 7}",
                    f"DELETE FROM shop.names WHERE n % 11 = {low % 11} LIMIT 9",
                    f"INSERT IGNORE INTO shop.names VALUES ('Name{low % 50}', {low % 4}, {n})",
                )
            )
        )


def divided(pair: Pair, folder: Path, seed: int, transactions: int) -> tuple[Replayed, Lane]:
    pair.start(LARGE_TABLE)
    with pair.servers.connect(pair.source) as session:
        change_large_table(session, seed, transactions)
    replayed = pair.split(folder)
    (lane,) = replayed.lanes.lanes
    enter(pair, lane)
    return replayed, lane


def test_a_divided_table_is_right_although_replay_died_between_its_parts(pair: Pair, tmp_path: Path) -> None:
    draw = random.Random(9)
    for seed in range(30 if DEEP else 4):
        replayed, lane = divided(pair, tmp_path / str(seed), seed, 120)
        deaths = [draw.randint(1, 9) for _ in range(draw.randint(1, 6))]
        for parts in deaths:
            # Smaller batches than those that were being written: they reach less far than the division did.
            limits = Limits(transactions_per_batch=draw.choice([7, 40, 10_000]))
            if Child(replace(replayed, limits=limits), lane, partial(divide_and_die, parts)).end():
                break
        limits = Limits(transactions_per_batch=draw.choice([7, 10_000]))
        assert Child(replace(replayed, limits=limits), lane, draw.choice([None, divide_small_tables])).end()
        pair.assert_finished()
        pair.assert_equal()


def test_keys_that_change_in_case_only_are_divided_too(pair: Pair, tmp_path: Path) -> None:
    """The collation calls the old key and the new one equal, but they lie in different parts."""
    pair.start(LARGE_TABLE)
    with pair.servers.connect(pair.source) as session:
        session.run("UPDATE shop.names SET name = UPPER(name)")
        session.run("UPDATE shop.names SET n = 5 WHERE part = 2")
    replayed = pair.split(tmp_path)
    (lane,) = replayed.lanes.lanes
    for parts in (1, 3, 5, 7):
        if Child(replayed, lane, partial(divide_and_die, parts)).end():
            break
    assert Child(replayed, lane, divide_small_tables).end()
    pair.assert_finished()
    pair.assert_equal()


def test_a_divided_table_that_must_go_in_order_is_refused(pair: Pair, tmp_path: Path) -> None:
    replayed, lane = divided(pair, tmp_path, 5, 60)
    assert not Child(replayed, lane, partial(divide_and_die, 2)).end()
    with pytest.raises(ReplayError, match=r"a table cannot be resumed \(shop\.") as refused:
        replace(replayed, use_net=False).lane(lane)
    assert refused.value.hint == "start a new run: it restores the base again"
    assert not refused.value.retryable
    replayed.lane(lane)
    pair.assert_equal()


# What cannot be rolled back.


def die_after_sending(statements: int) -> None:
    """Die when so many BINLOG statements with rows were run, none of them committed."""
    sent = writers.send
    left = [statements]

    def send_and_die(session: Session, blocks: Iterator[bytes]) -> None:
        for block in blocks:
            sent(session, iter([block]))
            left[0] -= 1
            if left[0] == 0:
                die()

    writers.send = send_and_die


ENGINES = (
    "CREATE DATABASE shop",
    "CREATE TABLE shop.old (id INT PRIMARY KEY, n INT) ENGINE=MyISAM",
    "CREATE TABLE shop.t (id INT PRIMARY KEY, n INT)",
)


def torn(pair: Pair, lane: Lane) -> str:
    with pair.servers.connect(pair.rebuilt) as session:
        return lane_progress.load(session, lane.name).torn


def assert_not_resumed(pair: Pair, replayed: Replayed, lane: Lane, why: str) -> None:
    """Nothing is written any more, however often it is tried."""
    assert why in torn(pair, lane)
    with pair.servers.connect(pair.rebuilt) as session:
        before = standing(session)
        for _ in range(2):
            with pytest.raises(ReplayError, match=why) as refused:
                replayed.lane(lane)
            assert not refused.value.retryable
            assert "restores the base again" in refused.value.hint
        assert standing(session) == before


def test_a_batch_for_an_engine_without_transactions_cannot_be_resumed(pair: Pair, tmp_path: Path) -> None:
    pair.start(ENGINES)
    with pair.servers.connect(pair.source) as session:
        for n in range(20):
            session.run(f"INSERT INTO shop.old VALUES ({n}, 1)")
            session.run(f"INSERT INTO shop.t VALUES ({n}, 1)")
    replayed = pair.split(tmp_path)
    (lane,) = replayed.lanes.lanes
    assert not Child(replayed, lane, partial(die_after_sending, 2)).end()
    assert_not_resumed(pair, replayed, lane, "engine cannot roll back")


def test_a_batch_for_an_engine_without_transactions_is_torn_although_the_server_forgot_its_last_commits(
    pair: Pair, tmp_path: Path
) -> None:
    pair.start(ENGINES)
    with pair.servers.connect(pair.source) as session:
        session.run("INSERT INTO shop.old VALUES (1, 1)")
        session.run("UPDATE shop.old SET n = n + 1")
    replayed = pair.split(tmp_path)
    (lane,) = replayed.lanes.lanes
    enter(pair, lane)
    assert not Child(replayed, lane, partial(die_after_sending, 1)).end()
    kill(pair.rebuilt)
    mysqld.start(pair.rebuilt, pair.servers.admin).close()
    assert_not_resumed(pair, replayed, lane, "engine cannot roll back")


def test_a_statement_for_an_engine_without_transactions_cannot_be_resumed(pair: Pair, tmp_path: Path) -> None:
    pair.start(ENGINES)
    with pair.servers.connect(pair.source) as session:
        session.run("SET SESSION binlog_format = 'STATEMENT'")
        session.run("INSERT INTO shop.old VALUES (1, 1)")
        session.run("UPDATE shop.old SET n = n + 1")
    replayed = pair.split(tmp_path)
    (lane,) = replayed.lanes.lanes
    assert not Child(replayed, lane, die_behind_a_statement).end()
    assert_not_resumed(pair, replayed, lane, "engine cannot roll back")


def die_behind_a_statement() -> None:
    """Die when a transaction with statements was sent and not yet committed."""
    ran = applier.Statements.run

    def run(*args: object) -> None:
        ran(*args)  # type: ignore[arg-type] # passed on as they came
        die()

    applier.Statements.run = run  # type: ignore[method-assign, assignment] # that is the point


def test_temporary_tables_cannot_be_resumed_while_they_are_there(pair: Pair, tmp_path: Path) -> None:
    pair.start(["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, n INT)"])
    with pair.servers.connect(pair.source) as session:
        session.run("SET SESSION binlog_format = 'STATEMENT'")
        session.run("INSERT INTO shop.t VALUES (1, 1)")
        session.run("CREATE TEMPORARY TABLE shop.x (id INT, n INT)")
        session.run("INSERT INTO shop.x VALUES (2, 2)")
        session.run("INSERT INTO shop.t SELECT * FROM shop.x")
        session.run("DROP TEMPORARY TABLE shop.x")
        session.run("UPDATE shop.t SET n = n + 1")
    replayed = pair.split(tmp_path)
    (lane,) = replayed.lanes.lanes
    for transaction, resumes in ((1, True), (2, True), (3, False), (4, False), (5, False), (6, True)):
        with pair.servers.connect(pair.rebuilt) as session:
            clean(session)
            session.run("CREATE DATABASE shop")
            session.run("CREATE TABLE shop.t (id INT PRIMARY KEY, n INT)")
        enter(pair, lane)
        assert not Child(replayed, lane, partial(die_in_transaction, transaction)).end()
        if resumes:
            replayed.lane(lane)
            pair.assert_finished()
            pair.assert_equal()
        else:
            assert_not_resumed(pair, replayed, lane, "temporary tables")


def die_in_transaction(number: int) -> None:
    """Die when a transaction with statements was sent and is neither committed nor recorded."""
    ran = applier.Statements.run

    def run(statements: applier.Statements, pieces: Sequence[Piece]) -> None:
        ran(statements, pieces)
        if pieces[0].transaction == number:
            die()

    applier.Statements.run = run  # type: ignore[method-assign] # that is the point


# Two at a time.


def impatiently(session: Session, lane: str, what: str) -> None:
    """As take_lock, with less patience."""

    class _Hurried:
        def value(self, statement: str, *values: object) -> object:
            return session.value(statement.replace("600", "1"), *values)

    patient_take_lock(_Hurried(), lane, what)  # type: ignore[arg-type] # all that it needs of a session


patient_take_lock = writers.take_lock


def hold_every_write(seconds: float) -> None:
    sent = writers.send

    def send(session: Session, blocks: Iterator[bytes]) -> None:
        time.sleep(seconds)
        sent(session, blocks)

    writers.send = send


def test_of_two_that_replay_a_lane_one_waits(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replayed, lane = written(pair, tmp_path, 8, 120, ddl_every=30)
    with pair.servers.connect(pair.rebuilt) as session:
        first = Child(replace(replayed, limits=SMALL), lane, partial(hold_every_write, 0.02))
        start = standing(session)
        until(lambda: standing(session) != start)
        with monkeypatch.context() as patch:
            patch.setattr(applier, "take_lock", impatiently)
            with pytest.raises(LaneBlocked, match="another session is replaying this lane") as blocked:
                replayed.lane(lane)
        assert blocked.value.retryable
        second = Child(replayed, lane)
        until(lambda: waiting_for_a_lock(session))
        assert first.alive
        assert first.end()
        assert second.end()
    pair.assert_finished()
    pair.assert_equal()


def test_who_waits_goes_on_when_the_other_is_killed(pair: Pair, tmp_path: Path) -> None:
    replayed, lane = written(pair, tmp_path, 8, 120, ddl_every=30)
    with pair.servers.connect(pair.rebuilt) as session:
        first = Child(replace(replayed, limits=SMALL), lane)
        start = standing(session)
        until(lambda: standing(session) != start)
        first.signal(signal.SIGSTOP)  # its sessions stay
        second = Child(replayed, lane)
        until(lambda: waiting_for_a_lock(session))
        stopped = standing(session)
        time.sleep(0.3)
        assert standing(session) == stopped
        first.kill()
        assert second.end()
    pair.assert_finished()
    pair.assert_equal()


def test_a_lane_that_was_blocked_leaves_no_lock_behind(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed, lane = written(pair, tmp_path, 8, 30)
    with pair.servers.connect(pair.rebuilt) as left_over:
        assert left_over.value("SELECT GET_LOCK(%s, 0)", lock_name(lane.name, "rows-3")) == 1
        monkeypatch.setattr(applier, "take_lock", impatiently)
        with pytest.raises(LaneBlocked):
            replayed.lane(lane)
        left_over.run("DO RELEASE_ALL_LOCKS()")
        replayed.lane(lane)
    pair.assert_equal()


def test_who_lost_its_lane_to_another_writes_nothing_more(pair: Pair, tmp_path: Path) -> None:
    """Its one connection that holds the lane is ended, the others are not, and it does not know yet."""
    pair.start(BASE)
    with pair.servers.connect(pair.source) as session:
        for n in range(10):
            session.run(f"INSERT INTO shop.accounts (n) VALUES ({n})")
            session.run(f"INSERT INTO shop.bag VALUES ({n}, 'x')")
    replayed = pair.split(tmp_path)
    (lane,) = replayed.lanes.lanes
    enter(pair, lane)
    holder = "SELECT IS_USED_LOCK(%s)", lock_name(lane.name, "lane")
    with pair.servers.connect(pair.rebuilt) as session:
        first = Child(replayed, lane, partial(open_connections_slowly, 1.5))
        until(lambda: session.value(*holder) is not None and not waiting_for_a_lock(session))
        time.sleep(0.3)
        session.run(f"KILL {session.value(*holder)}")
        second = Child(replayed, lane)
        assert second.end()
        pair.assert_equal()
        with pytest.raises(ServerUnreachable, match="lost"):
            first.end()
    pair.assert_finished()
    pair.assert_equal()


def open_connections_slowly(seconds: float) -> None:
    opened = writers.rows_session

    def rows_session(*args: object, **named: object) -> Session:
        time.sleep(seconds)
        return opened(*args, **named)  # type: ignore[arg-type] # passed on as they came

    writers.rows_session = rows_session


# What the log says cannot be done.


def test_a_row_that_is_missing_stops_the_lane_at_exactly_its_transaction(pair: Pair, tmp_path: Path) -> None:
    pair.start(("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY, n INT)", "CREATE TABLE shop.other (id INT PRIMARY KEY)",
                "INSERT INTO shop.t VALUES (1, 0), (2, 0)"))  # fmt: skip
    with pair.servers.connect(pair.source) as session:
        for n in range(1, 6):
            session.run(f"UPDATE shop.t SET n = {n} WHERE id = 1")
        session.run("INSERT INTO shop.other VALUES (1)")
        session.run("UPDATE shop.t SET n = 7 WHERE id = 2")
        session.run("UPDATE shop.t SET n = 8 WHERE id = 1")
        uuid = session.value("SELECT @@server_uuid")
    with pair.servers.connect(pair.rebuilt) as session:
        session.run("DELETE FROM shop.t WHERE id = 2")
    replayed = pair.split(tmp_path)
    (lane,) = replayed.lanes.lanes
    for _ in range(2):  # trying again changes nothing
        with pytest.raises(ReplayError, match="a lane cannot go on") as stopped:
            replayed.lane(lane)
        assert stopped.value.on == f"shop, {uuid}:7"
        assert not stopped.value.retryable
        with pair.servers.connect(pair.rebuilt) as session:
            assert session.rows("SELECT * FROM shop.t") == [(1, 5)]
            assert session.rows("SELECT * FROM shop.other") == [(1,)]
            state = lane_progress.load(session, lane.name)
            assert state.position.transaction == 6
            assert not state.finished


def test_what_is_refused_as_net_effect_is_applied_in_order(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else has a lock on a row for a while."""
    pair.start(
        (
            "CREATE DATABASE shop",
            "CREATE TABLE shop.t (id INT PRIMARY KEY, n INT)",
            "INSERT INTO shop.t VALUES (1, 1), (2, 2)",
        )
    )
    with pair.servers.connect(pair.source) as session:
        session.run("UPDATE shop.t SET n = n + 1")
        session.run("DELETE FROM shop.t WHERE id = 2")
    replayed = pair.split(tmp_path)
    (lane,) = replayed.lanes.lanes
    monkeypatch.setattr(
        writers,
        "_SETTINGS",
        writers._SETTINGS.replace("innodb_lock_wait_timeout = 600", "innodb_lock_wait_timeout = 1"),
    )
    refused = threading.Event()
    resume = applier.LaneApplier._resume

    def resume_and_tell(replaying: applier.LaneApplier) -> None:
        if replaying.in_order_again:
            refused.set()
        resume(replaying)

    monkeypatch.setattr(applier.LaneApplier, "_resume", resume_and_tell)
    with pair.servers.connect(pair.rebuilt) as session, ThreadPoolExecutor() as pool:
        session.run("BEGIN")
        session.run("SELECT * FROM shop.t WHERE id = 1 FOR UPDATE")
        attempt = pool.submit(replayed.lane, lane)
        assert refused.wait(60)
        session.run("ROLLBACK")
        assert attempt.result() == 1
    pair.assert_finished()
    pair.assert_equal()
