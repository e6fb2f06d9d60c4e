"""The net effect must leave every table as the log in order would: on real servers, for many random histories."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from relight.binlog import format as f
from relight.errors import StatementFailed
from relight.fleet import Limits, Server
from relight.lane import pending
from relight.lane.lane_progress import Position
from relight.lane.modes import Mode, read_modes
from relight.lane.net import NetEffect, NetTable, NotProvable
from relight.lane.ordered import in_order
from relight.lane.pending import Divided, Pending, Write
from relight.lane.split_log import split_log
from relight.lane.stream import Rows, StreamReader, chunks
from relight.server.session import Session
from tests.support.made_events import Made, as_rows
from tests.support.replaying import contents, copy_of, logs_of, split_logs, start_log
from tests.support.servers import Servers
from tests.support.slow_rows import changes_in, events_in, rows_of

KEYS = (
    ("id INT AUTO_INCREMENT", "PRIMARY KEY (id)", lambda d: str(d.randint(1, 40))),
    ("id BIGINT UNSIGNED", "PRIMARY KEY (id)", lambda d: str(2**63 + d.randint(1, 30))),
    ("id VARCHAR(12) COLLATE utf8mb4_0900_ai_ci", "PRIMARY KEY (id)", lambda d: repr(d.choice("aAbBäÄcC") + d.choice(["", " ", "x", "X"]))),
    ("id CHAR(8) COLLATE utf8mb4_general_ci", "PRIMARY KEY (id)", lambda d: repr(d.choice("aAbBcC") * d.randint(1, 3))),
    ("id BINARY(4)", "PRIMARY KEY (id)", lambda d: f"x'{d.randint(0, 40):08x}'"),
    ("id DECIMAL(9,3)", "PRIMARY KEY (id)", lambda d: f"{d.randint(-20, 20)}.125"),
    ("id DATETIME(3)", "PRIMARY KEY (id)", lambda d: f"'2026-01-{d.randint(1, 28):02d} 00:00:00.5'"),
    ("id VARCHAR(300) COLLATE utf8mb4_bin", "PRIMARY KEY (id(4))", lambda d: repr(f"{d.randint(1, 40):04d}" + "é" * d.randint(0, 200))),
    ("id INT", "", lambda d: str(d.randint(1, 12))),
    ("id VARCHAR(12) COLLATE utf8mb4_0900_ai_ci", "KEY (id)", lambda d: repr(d.choice("aAbBäÄ") + d.choice(["", " ", "x"]))),
    ("id INT AUTO_INCREMENT", "KEY (id)", lambda d: str(d.randint(1, 40))),
)  # fmt: skip
"""A column, how it is a key (the last ones have no primary key, so that rows can be equal), values."""


@dataclass
class History:
    """A random table in a database of its own, and random transactions on it."""

    database: str
    seed: int

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        self.key_type, self.key, self.key_value = self.draw.choice(KEYS)
        self.keyed = "PRIMARY" in self.key
        self.composite = self.keyed and self.draw.random() < 0.3
        self.unique = self.draw.random() < (0.5 if self.keyed else 0.2)
        self.child = self.keyed and self.draw.random() < 0.4
        self.json = self.keyed or self.draw.random() < 0.3
        self.table = f"`{self.database}`.t"

    def create(self, session: Session) -> None:
        columns = [self.key_type, "k2 SMALLINT NOT NULL DEFAULT 0", "v VARCHAR(400)", "u INT NULL", "n DOUBLE"]
        columns += ["doc JSON"] * self.json
        columns += ["g INT AS (k2 + 1) STORED", "h INT AS (k2 + 2) VIRTUAL"]
        key = self.key.replace("id)", "id, k2)") if self.composite and "(4)" not in self.key else self.key
        columns += [key] if key else []
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
            doc = draw.randint(0, 9)
            yield draw.choice((
                f"INSERT IGNORE INTO {t} (id, k2, v, u, n) VALUES ({key}, {draw.randint(0, 3)}, REPEAT('é', {draw.randint(0, 100)}), {u}, 0.5)",
                f"REPLACE INTO {t} (id, v, u) VALUES ({key}, 'replaced', {u})",
                f"INSERT INTO {t} (id, u) VALUES ({key}, {u}) ON DUPLICATE KEY UPDATE v = CONCAT(COALESCE(v, ''), '+')",
                f"UPDATE IGNORE {t} SET v = 'x', n = n + 1 WHERE id <= {key} LIMIT 5",
                f"UPDATE IGNORE {t} SET id = {other} WHERE id = {key}",
                f"UPDATE IGNORE {t} SET u = u + 1 ORDER BY u DESC LIMIT 4",
                f"UPDATE {t} SET v = v WHERE id = {key}",
                *([f"UPDATE {t} SET doc = JSON_SET(COALESCE(doc, '{{}}'), '$.k', {doc}, '$.l', REPEAT('x', 99)) WHERE id > {key} LIMIT 3"] if self.json else []),
                f"DELETE FROM {t} WHERE id = {key}",
                f"DELETE FROM {t} ORDER BY id LIMIT 2",
                f"UPDATE IGNORE {t} SET k2 = k2 + 1 WHERE id = {key}",
                *([f"INSERT IGNORE INTO `{self.database}`.child (c, id) SELECT {draw.randint(1, 50)}, id FROM {t} ORDER BY id LIMIT 1",
                   f"DELETE FROM `{self.database}`.child WHERE c % 3 = {draw.randint(0, 2)}"] if self.child and not self.composite and "(4)" not in self.key else []),
                *([f"INSERT INTO {t} (id, k2, v, n) SELECT id, k2, v, n FROM {t} ORDER BY id, k2, v LIMIT {draw.randint(1, 4)}",
                   f"INSERT INTO {t} (id) VALUES ({key}), ({other}), ({key})",
                   f"DELETE FROM {t} WHERE id = {key} LIMIT 1",
                   f"UPDATE {t} SET v = NULL, k2 = 0, n = NULL, u = NULL WHERE id = {key} LIMIT 1"] if not self.keyed else []),
            ))  # fmt: skip


@pytest.fixture
def pair(servers: Servers) -> tuple[Server, Server]:
    source = servers.make("source")
    rebuilt = copy_of(servers, source, "rebuilt", **{"event-scheduler": "OFF"})
    with servers.connect(source) as session:
        start_log(session)
    return source, rebuilt


@dataclass
class Taken:
    """Which rows were taken how."""

    net: list[Rows] = field(default_factory=list)
    in_order: list[Rows] = field(default_factory=list)
    divided: list[Divided] = field(default_factory=list)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Taken:
    """What lanes do with rows, while it is done."""
    seen = Taken()

    class Watching(NetEffect):
        def add(self, rows: Rows) -> None:
            seen.net.append(rows)
            super().add(rows)

    def watching(groups: list[list[Rows]], *tables: frozenset[tuple[str, str]]) -> Iterator[bytes]:
        seen.in_order += [rows for group in groups for rows in group]
        return in_order(groups, *tables)

    class Dividing(Divided):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            seen.divided.append(self)

    monkeypatch.setattr(pending, "NetEffect", Watching)
    monkeypatch.setattr(pending, "Divided", Dividing)
    monkeypatch.setattr(pending, "in_order", watching)
    return seen


@pytest.mark.parametrize("row", ["full", "partial_json", "minimal"])
def test_random_histories_end_the_same_whatever_the_batch_size(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path, row: str, monkeypatch: pytest.MonkeyPatch, taken: Taken
) -> None:  # fmt: skip
    source, rebuilt = pair
    # So that small tables are divided too, where a lane has several connections.
    monkeypatch.setattr(pending, "_WORTH_DIVIDING", 3)
    histories = [History(f"d{n:03d}", n) for n in range(80 if row == "full" else 16)]
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
        again = replayed.lane(lane.model_copy(update={"connections": 1 + lane.number % 4}))
        assert again == 0, f"{lane.name} could not be written as planned"
    with servers.connect(source) as one, servers.connect(rebuilt) as other:
        sums, found = contents(one)[0], contents(other)[0]
        assert {n: (sums[n], found.get(n)) for n in sums if sums[n] != found.get(n)} == {}
        assert set(found) == set(sums)
        for name in sums:
            assert auto_increment(other, name) >= highest_id_ever(one, name, histories), name
    assert all(rows.full for rows in taken.net), "partial images were folded"
    by_table = {rows.table.name[0]: rows for rows in taken.net if rows.table.name[1] == "t"}
    if row == "full":
        assert len(taken.net) > 100, "the net effect was hardly used, so nothing was tested"
        assert len(taken.divided) > 20, "hardly a table was divided"
        told_apart = {history.database for history in histories if history.keyed or not history.json}
        assert set(by_table) == told_apart
        assert {rows.table.name[0] for rows in taken.in_order} == {h.database for h in histories} - told_apart
    else:
        assert sum(not rows.full for rows in taken.in_order) > 20, "there were no partial images"


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


def test_automatic_values_are_not_given_out_again_whatever_became_of_the_rows_that_had_them(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: Taken
) -> None:
    source, rebuilt = pair
    monkeypatch.setattr(pending, "_WORTH_DIVIDING", 2)
    many = ", ".join(f"({n}, {n})" for n in range(1, 21))
    with servers.connect(source) as session:
        session.run("CREATE DATABASE d")
        for name in ("updated", "negative", "emptied"):
            session.run(f"CREATE TABLE d.{name} (id INT AUTO_INCREMENT PRIMARY KEY, n INT)")
            session.run(f"INSERT INTO d.{name} VALUES {many}")
        session.run("CREATE TABLE d.huge (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY)")
        session.run("CREATE TABLE d.beside (p INT PRIMARY KEY, id INT AUTO_INCREMENT, KEY (id))")
        session.run("INSERT INTO d.beside VALUES (1, 1), (2, 2), (3, 3)")
        session.run("CREATE TABLE d.bag (id INT AUTO_INCREMENT, KEY (id))")
        session.run("FLUSH BINARY LOGS")
        session.run("UPDATE d.updated SET n = n + 1")
        session.run("DELETE FROM d.updated WHERE id > 7")
        session.run("INSERT INTO d.negative VALUES (-1, 0), (500, 0)")
        session.run("DELETE FROM d.negative WHERE id = 500")
        session.run("UPDATE d.emptied SET n = n + 1")
        session.run("INSERT INTO d.emptied (n) VALUES (21), (22)")
        session.run("DELETE FROM d.emptied")
        session.run("INSERT INTO d.huge VALUES (3000000000), (3000000001)")
        session.run("DELETE FROM d.huge WHERE id = 3000000001")
        session.run("UPDATE d.beside SET id = 700 WHERE p = 2")
        session.run("UPDATE d.beside SET id = 2 WHERE p = 2")
        session.run("INSERT INTO d.bag VALUES (900), (5), (5)")
        session.run("DELETE FROM d.bag WHERE id = 900")
        logs = logs_of(session)
    replayed = split_logs(logs, rebuilt, servers.admin, tmp_path)
    (lane,) = replayed.lanes.lanes
    # The last definition ends the batch of the first rows. What happens to them is another, in several parts.
    assert replayed.lane(lane.model_copy(update={"connections": 4})) == 0
    assert {write.table[1] for write in taken.divided} >= {"updated", "emptied"}
    with servers.connect(source) as one, servers.connect(rebuilt) as other:
        assert contents(other)[0] == contents(one)[0]
        for name, value in {
            "updated": 21,
            "negative": 501,
            "emptied": 23,
            "huge": 3000000002,
            "beside": 701,
            "bag": 901,
        }.items():
            assert auto_increment(one, f"d.{name}") == value, f"{name} is not what this is about"
            assert auto_increment(other, f"d.{name}") == value, name


def test_a_hot_row_is_written_once(servers: Servers, pair: tuple[Server, Server], tmp_path: Path) -> None:
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
    (rows,) = rows_in(log, tmp_path)
    assert mode.table is not None
    effect = NetEffect(mode.table, rows.table)
    effect.add(rows)
    (blocks,) = effect.statements()
    (block,) = blocks
    assert [event.type for event in events_in(block)] == [f.TABLE_MAP, f.WRITE_ROWS]
    assert [row for _, _, row in changes_in(block)] == [((b"\1\0\0\0", b"\x32\0\0\0"),)]
    assert len(events_in(block)[1].data) < 100


def rows_in(log: Path, folder: Path) -> list[Rows]:
    """The rows of a log, table by table."""
    result = split_log(log, 0, folder)
    return [rows for chunk in chunks([StreamReader(folder / s.file) for s in result.streams]) for rows in chunk.rows]


def test_a_history_that_does_not_fit_together_is_not_folded(
    servers: Servers, pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, _ = pair
    with servers.connect(source) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT PRIMARY KEY, n INT)")
        session.run("INSERT INTO d.t VALUES (1, 0)")
        session.run("DELETE FROM d.t")
        (log,) = logs_of(session)
    (rows,) = rows_in(log, tmp_path)
    table = NetTable(columns=2, key=(0,), auto_increment=None, more_unique_keys=False)
    effect = NetEffect(table, rows.table)
    effect.add(rows)
    assert [list(part) for part in effect.statements()] == [[]], "what came and went leaves nothing to be written"
    inserted, deleted = rows.part(0, 1), rows.part(1, 2)
    for wrong in ([inserted, inserted], [deleted, deleted], [inserted, _cut(deleted)]):
        effect = NetEffect(table, rows.table)
        effect.add(wrong[0])
        with pytest.raises(NotProvable):
            effect.add(wrong[1])


def _cut(rows: Rows) -> Rows:
    """Without its last byte."""
    return Rows(rows.table, rows.transactions, rows.places, rows.counts, rows.data, rows.starts, rows.ends - 1, rows.full,
                rows.cascades_logged)  # fmt: skip


MADE = Made((4, -1), (0,))


def inserts(*keys: int, first: int = 1, full: bool = True, cascades_logged: bool = True) -> Rows:
    events = [MADE.rows_event(f.WRITE_ROWS, [((key.to_bytes(4, "little"), b"x"),)]) for key in keys]
    return as_rows(MADE, events, [1] * len(keys), first=first, full=full, cascades_logged=cascades_logged)


@pytest.mark.parametrize(
    ("mode", "rows", "folded"),
    [
        (Mode(NetTable(2, (0,), None, more_unique_keys=False), linked=False, reason=""), inserts(1, 2), True),
        (Mode(NetTable(2, (), None, more_unique_keys=False), linked=False, reason="", has_key=False), inserts(1, 2), True),
        (Mode(NetTable(2, (0,), None, more_unique_keys=False), linked=True, reason=""), inserts(1, 2), True),
        (Mode(NetTable(2, (0,), None, more_unique_keys=False), linked=True, reason=""), inserts(1, cascades_logged=False), False),
        (Mode(NetTable(2, (0,), None, more_unique_keys=False), linked=False, reason=""), inserts(1, cascades_logged=False), True),
        (Mode(NetTable(2, (0,), None, more_unique_keys=False), linked=False, reason=""), inserts(1, 2, full=False), False),
        (Mode(NetTable(3, (0,), None, more_unique_keys=False), linked=False, reason=""), inserts(1, 2), False),
        (Mode(None, linked=False, reason="engine MyISAM"), inserts(1, 2), False),
        (None, inserts(1, 2), False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("use_net", [True, False])
def test_only_what_is_known_to_be_safe_is_folded(
    mode: Mode | None, rows: Rows, folded: bool, use_net: bool, taken: Taken
) -> None:
    modes = {("d", "t"): mode} if mode else {}
    held = Pending(modes, lambda _: Position(0, 0), {}, use_net=use_net)
    assert held.must_write_before([rows]) == []
    held.take([rows], 0)
    (write,) = held.writes(held.tables, 4)
    assert isinstance(write, Write)
    assert write.tables == {("d", "t"): Position(0, int(rows.transactions[-1]))}
    sent = [row for blocks in write.blocks for block in blocks for _, _, row in changes_in(block)]
    events = [rows.data[a:b].tobytes() for a, b in zip(rows.starts, rows.ends, strict=True)]
    assert sorted(sent) == sorted(row for event in events for row in rows_of(event, MADE.widths))
    assert bool(taken.net) == (folded and use_net)


def test_of_what_is_there_already_nothing_is_folded() -> None:
    mode = Mode(NetTable(2, (0,), None, more_unique_keys=False), linked=False, reason="")
    held = Pending({("d", "t"): mode}, lambda _: Position(3, 2), {})
    held.take([inserts(1, 2, 3)], 2)
    assert held.tables == [], "an earlier segment"
    held.take([inserts(1, 2, 3)], 3)
    (write,) = held.writes(held.tables, 1)
    assert isinstance(write, Write)
    rows = [row for blocks in write.blocks for block in blocks for _, _, row in changes_in(block)]
    assert rows == [((b"\3\0\0\0", b"x"),)]
    assert write.tables == {("d", "t"): Position(3, 3)}


def test_modes_tell_a_dba_why(servers: Servers, pair: tuple[Server, Server]) -> None:
    source, _ = pair
    with servers.connect(source) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.plain (a INT, b INT AUTO_INCREMENT, PRIMARY KEY (b, a))")
        session.run("CREATE TABLE d.heap (a INT, b INT, UNIQUE KEY (b))")
        session.run("CREATE TABLE d.papers (a INT, b JSON)")
        session.run("CREATE TABLE d.counted (a BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, b JSON)")
        session.run("CREATE TABLE d.old (a INT PRIMARY KEY) ENGINE=MyISAM")
        session.run("CREATE TABLE d.parent (a INT PRIMARY KEY, b INT UNIQUE)")
        session.run("CREATE TABLE d.child (a INT PRIMARY KEY, FOREIGN KEY (a) REFERENCES d.parent (a))")
        modes = {name[1]: mode for name, mode in read_modes(session, ["d"]).items()}
    assert modes["plain"] == Mode(
        NetTable(2, (1, 0), 1, more_unique_keys=False),
        linked=False,
        reason="primary key: only the last state of each row is written",
    )
    assert modes["heap"] == Mode(
        NetTable(2, (), None, more_unique_keys=True),
        linked=False,
        reason="no primary key: equal rows are counted, and only the difference is written",
        has_key=False,
        unique_only=True,
    )
    assert modes["papers"] == Mode(
        None,
        linked=False,
        reason="no primary key and a JSON column: equal rows cannot be told by their bytes",
        has_key=False,
    )
    assert modes["counted"].table == NetTable(2, (0,), 0, more_unique_keys=False, signed=False)
    assert modes["old"] == Mode(
        None, linked=False, reason="engine MyISAM cannot roll a batch back", transactional=False
    )
    assert modes["parent"].linked
    assert modes["child"].linked
    assert modes["parent"].table == NetTable(2, (0,), None, more_unique_keys=True)
