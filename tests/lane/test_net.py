"""The net effect must leave every table as the log in order would: on real servers, for many random histories."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from relight.binlog import format as f
from relight.binlog.reader import open_log
from relight.binlog.rows import read_table_map, table_id
from relight.binlog.transactions import transactions
from relight.errors import StatementFailed
from relight.fleet import Limits, Server
from relight.lane import merging, net
from relight.lane.modes import Mode, read_modes
from relight.lane.net import NetTable, net_effect
from relight.server.session import Session
from tests.support.replaying import contents, copy_of, logs_of, split_logs, start_log
from tests.support.servers import Servers

KEYS = (
    ("id INT AUTO_INCREMENT", "PRIMARY KEY (id)", lambda d: str(d.randint(1, 40))),
    ("id BIGINT UNSIGNED", "PRIMARY KEY (id)", lambda d: str(2**63 + d.randint(1, 30))),
    ("id VARCHAR(12) COLLATE utf8mb4_0900_ai_ci", "PRIMARY KEY (id)", lambda d: repr(d.choice("aAbBäÄcC") + d.choice(["", " ", "x", "X"]))),
    ("id CHAR(8) COLLATE utf8mb4_general_ci", "PRIMARY KEY (id)", lambda d: repr(d.choice("aAbBcC") * d.randint(1, 3))),
    ("id BINARY(4)", "PRIMARY KEY (id)", lambda d: f"x'{d.randint(0, 40):08x}'"),
    ("id DECIMAL(9,3)", "PRIMARY KEY (id)", lambda d: f"{d.randint(-20, 20)}.125"),
    ("id DATETIME(3)", "PRIMARY KEY (id)", lambda d: f"'2026-01-{d.randint(1, 28):02d} 00:00:00.5'"),
    ("id VARCHAR(300) COLLATE utf8mb4_bin", "PRIMARY KEY (id(4))", lambda d: repr(f"{d.randint(1, 40):04d}" + "é" * d.randint(0, 200))),
)  # fmt: skip


@dataclass
class History:
    """A random table in a database of its own, and random transactions on it."""

    database: str
    seed: int

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        self.key_type, self.key, self.key_value = self.draw.choice(KEYS)
        self.composite = self.draw.random() < 0.3
        self.unique = self.draw.random() < 0.5
        self.child = self.draw.random() < 0.4
        self.table = f"`{self.database}`.t"

    def create(self, session: Session) -> None:
        columns = [
            self.key_type,
            "k2 SMALLINT NOT NULL DEFAULT 0",
            "v VARCHAR(400)",
            "u INT NULL",
            "doc JSON",
            "n DOUBLE",
        ]
        columns += ["g INT AS (k2 + 1) STORED", "h INT AS (k2 + 2) VIRTUAL"]
        columns.append(self.key.replace("id)", "id, k2)") if self.composite and "(4)" not in self.key else self.key)
        if self.unique:
            columns.append("UNIQUE KEY (u)")
        session.run(f"CREATE DATABASE `{self.database}`")
        session.run(f"CREATE TABLE {self.table} ({', '.join(columns)})")
        if self.child:
            session.run(
                f"CREATE TABLE `{self.database}`.child (c INT PRIMARY KEY, id {self.key_type.split(' ', 1)[1].replace('AUTO_INCREMENT', '')} NULL,"
                f" KEY (id), FOREIGN KEY (id) REFERENCES {self.table} (id) ON UPDATE CASCADE ON DELETE CASCADE)"
                if not self.composite and "(4)" not in self.key
                else f"CREATE TABLE `{self.database}`.child (c INT PRIMARY KEY, id INT)"
            )

    def statements(self) -> Iterator[str]:
        """One transaction."""
        draw, t = self.draw, self.table
        for _ in range(draw.randint(1, 5)):
            key, other = self.key_value(draw), self.key_value(draw)
            u = draw.choice(["NULL", str(draw.randint(1, 25))])
            yield draw.choice((
                f"INSERT IGNORE INTO {t} (id, k2, v, u, doc, n) VALUES ({key}, {draw.randint(0, 3)}, REPEAT('é', {draw.randint(0, 100)}), {u}, '[{key.count('a')}]', 0.5)",
                f"REPLACE INTO {t} (id, v, u) VALUES ({key}, 'replaced', {u})",
                f"INSERT INTO {t} (id, u) VALUES ({key}, {u}) ON DUPLICATE KEY UPDATE v = CONCAT(COALESCE(v, ''), '+')",
                f"UPDATE IGNORE {t} SET v = 'x', n = n + 1 WHERE id <= {key} LIMIT 5",
                f"UPDATE IGNORE {t} SET id = {other} WHERE id = {key}",
                f"UPDATE IGNORE {t} SET u = u + 1 ORDER BY u DESC LIMIT 4",
                f"UPDATE {t} SET v = v WHERE id = {key}",
                f"UPDATE {t} SET doc = JSON_SET(COALESCE(doc, '{{}}'), '$.k', {draw.randint(0, 9)}) WHERE id > {key} LIMIT 3",
                f"DELETE FROM {t} WHERE id = {key}",
                f"DELETE FROM {t} ORDER BY id LIMIT 2",
                f"UPDATE IGNORE {t} SET k2 = k2 + 1 WHERE id = {key}",
                *([f"INSERT IGNORE INTO `{self.database}`.child (c, id) SELECT {draw.randint(1, 50)}, id FROM {t} ORDER BY id LIMIT 1",
                   f"DELETE FROM `{self.database}`.child WHERE c % 3 = {draw.randint(0, 2)}"] if self.child and not self.composite and "(4)" not in self.key else []),
            ))  # fmt: skip


@pytest.fixture
def pair(servers: Servers) -> tuple[Server, Server]:
    source = servers.make("source")
    rebuilt = copy_of(servers, source, "rebuilt", **{"event-scheduler": "OFF"})
    with servers.connect(source) as session:
        start_log(session)
    return source, rebuilt


@pytest.mark.parametrize("row", ["full", "partial_json", "minimal"])
def test_random_histories_end_the_same_whatever_the_batch_size(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path, row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, rebuilt = pair
    folded = watch_net_effects(monkeypatch)
    histories = [History(f"d{n:03d}", n) for n in range(60 if row == "full" else 12)]
    with servers.connect(source) as session:
        if row == "minimal":
            session.run("SET SESSION binlog_row_image = MINIMAL")
        if row == "partial_json":
            session.run("SET SESSION binlog_row_value_options = PARTIAL_JSON")
        for history in histories:
            history.create(session)
        for _ in range(40):
            for history in histories:
                write(session, history)
        logs = logs_of(session)
    replayed = split_logs(logs, rebuilt, servers.admin, tmp_path)
    for lane in replayed.lanes.lanes:
        replayed.limits = Limits(transactions_per_batch=(1, 7, 20_000)[lane.number % 3])
        replayed.lane(lane)
    with servers.connect(source) as one, servers.connect(rebuilt) as other:
        sums, found = contents(one)[0], contents(other)[0]
        assert {n: (sums[n], found.get(n)) for n in sums if sums[n] != found.get(n)} == {}
        assert set(found) == set(sums)
        for name in sums:
            assert auto_increment(other, name) >= highest_id_ever(one, name, histories), name
    if row == "full":
        assert sum(folded) > 100, "the net effect was hardly used, so nothing was tested"
    else:
        assert folded.count(False) > 20, "partial images were folded, or there were none"


def watch_net_effects(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For every attempt at a net effect, whether it was proved."""
    attempts: list[bool] = []

    def watched(*arguments: Any) -> list[bytes] | None:
        effect = net_effect(*arguments)
        attempts.append(effect is not None)
        return effect

    monkeypatch.setattr(merging, "net_effect", watched)
    return attempts


def write(session: Session, history: History) -> None:
    session.run("BEGIN")
    for statement in history.statements():
        try:
            session.run(statement)
        except StatementFailed as refused:
            # Duplicate keys and keys that others refer to are part of the game; anything else is a broken test.
            if refused.why.split()[0] not in {"1062", "1451", "1452", "1761", "1762", "1690"}:
                raise
    session.run("COMMIT" if history.draw.random() < 0.9 else "ROLLBACK")


def auto_increment(session: Session, name: str) -> int:
    database, _, table = name.partition(".")
    session.run("SET SESSION information_schema_stats_expiry = 0")
    value = session.value(
        "SELECT auto_increment FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
        database,
        table,
    )
    return int(value or 0)


def highest_id_ever(session: Session, name: str, histories: list[History]) -> int:
    """What the next automatic value must be at least, so that no value is given out twice."""
    history = next(h for h in histories if name.startswith(h.database))
    if "AUTO_INCREMENT" not in history.key_type or not name.endswith(".t"):
        return 0
    return int(session.value(f"SELECT COALESCE(MAX(id), 0) + 1 FROM {history.table}"))


def test_an_inserted_and_deleted_row_still_uses_up_its_automatic_value(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, rebuilt = pair
    with servers.connect(source) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, u INT UNIQUE)")
        session.run("INSERT INTO d.t (u) VALUES (1), (2), (3)")
        session.run("INSERT INTO d.t VALUES (500, 77)")
        session.run("DELETE FROM d.t WHERE id = 500")
        session.run("UPDATE d.t SET u = 77 WHERE id = 1")
        logs = logs_of(session)
    split_logs(logs, rebuilt, servers.admin, tmp_path).all()
    with servers.connect(source) as one, servers.connect(rebuilt) as other:
        assert contents(other) == contents(one)
        assert auto_increment(other, "d.t") == 501


def test_rows_that_pass_unique_values_around_do_not_collide(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, rebuilt = pair
    with servers.connect(source) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT PRIMARY KEY, u INT UNIQUE, w VARCHAR(9) UNIQUE)")
        session.run("INSERT INTO d.t VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')")
        session.run("FLUSH BINARY LOGS")  # a batch of its own for what follows
        for statement in ("SET u = NULL WHERE id = 1", "SET u = 1, w = 'x' WHERE id = 2", "SET u = 2, w = 'b' WHERE id = 3",
                          "SET u = 3, w = 'c' WHERE id = 1", "SET w = 'A' WHERE id = 2"):  # fmt: skip
            session.run(f"UPDATE d.t {statement}")
        logs = logs_of(session)
    split_logs(logs, rebuilt, servers.admin, tmp_path).all()
    with servers.connect(source) as one, servers.connect(rebuilt) as other:
        assert contents(other) == contents(one)


def test_a_hot_row_is_written_once(servers: Servers, pair: tuple[Server, Server]) -> None:
    source, _ = pair
    with servers.connect(source) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT PRIMARY KEY, n INT)")
        session.run("INSERT INTO d.t VALUES (1, 0), (2, 0)")
        for _ in range(50):
            session.run("UPDATE d.t SET n = n + 1 WHERE id = 1")
        session.run("DELETE FROM d.t WHERE id = 2")
        (log,) = logs_of(session)
        mode = read_modes(session, ["d"])["d", "t"]
    mapped, events = rows_of(log)
    assert mode.table is not None
    effect = net_effect(mode.table, mapped, events)
    assert effect is not None
    assert [event[4] for event in effect] == [f.WRITE_ROWS]
    assert len(effect[0]) < 100


def rows_of(path: Path) -> tuple[net.TableMap, list[bytes]]:
    """The only table's map and rows events."""
    maps, events = {}, []
    with open_log(path) as log:
        for transaction in transactions(log):
            for event in transaction.events:
                if event.type == f.TABLE_MAP:
                    table = read_table_map(event.body)
                    maps[table.table_id] = table
                elif event.type in f.ROWS:
                    events.append(event.data)
                    mapped = maps[table_id(event.body)]
    return mapped, events


def test_a_history_that_does_not_fit_together_is_not_folded(servers: Servers, pair: tuple[Server, Server]) -> None:
    source, _ = pair
    with servers.connect(source) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT PRIMARY KEY, n INT)")
        session.run("INSERT INTO d.t VALUES (1, 0)")
        session.run("DELETE FROM d.t")
        (log,) = logs_of(session)
    mapped, events = rows_of(log)
    table = NetTable(columns=2, key=(0,), auto_increment=None, more_unique_keys=False)
    assert net_effect(table, mapped, events) == []
    assert net_effect(table, mapped, [events[0], events[0]]) is None
    assert net_effect(table, mapped, [events[0], events[1][:-1]]) is None
    assert net_effect(NetTable(3, (0,), None, more_unique_keys=False), mapped, events) is None


def test_modes_tell_a_dba_why(servers: Servers, pair: tuple[Server, Server]) -> None:
    source, _ = pair
    with servers.connect(source) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.plain (a INT, b INT AUTO_INCREMENT, PRIMARY KEY (b, a))")
        session.run("CREATE TABLE d.heap (a INT)")
        session.run("CREATE TABLE d.old (a INT PRIMARY KEY) ENGINE=MyISAM")
        session.run("CREATE TABLE d.parent (a INT PRIMARY KEY, b INT UNIQUE)")
        session.run("CREATE TABLE d.child (a INT PRIMARY KEY, FOREIGN KEY (a) REFERENCES d.parent (a))")
        modes = {name[1]: mode for name, mode in read_modes(session, ["d"]).items()}
    assert modes["plain"] == Mode(
        NetTable(2, (1, 0), 1, more_unique_keys=False),
        linked=False,
        reason="primary key: only its last state is written",
    )
    assert (modes["heap"].table, modes["heap"].reason) == (None, "no primary key: equal rows cannot be told apart")
    assert (modes["old"].table, modes["old"].reason) == (None, "engine MyISAM cannot roll a batch back")
    assert modes["parent"].linked
    assert modes["child"].linked
    assert modes["parent"].table == NetTable(2, (0,), None, more_unique_keys=True)
