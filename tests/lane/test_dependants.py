"""A transaction is left out only when nothing builds on it; what does is named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from relight.backups.manifest import Table
from relight.binlog.scan import Transactions
from relight.fleet import Server
from relight.lane.dependants import Dependants, dependants
from relight.lane.segments import LaneSegment, lane_segment
from relight.lane.split_log import split_log
from relight.server.schema import read_tables
from relight.server.session import Session
from tests.support.replaying import logs_of, start_log
from tests.support.servers import Servers

SCHEMA = (
    "CREATE TABLE d.parent (id INT PRIMARY KEY, v INT)",
    "CREATE TABLE d.child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES d.parent (id))",
    "CREATE TABLE d.named (a VARCHAR(20), b INT, v INT, PRIMARY KEY (a, b))",
    "CREATE TABLE d.bag (a INT, b INT)",
    "CREATE TABLE d.other (id INT PRIMARY KEY, v INT)",
    "INSERT INTO d.parent VALUES (1, 1), (2, 2), (3, 3)",
    "INSERT INTO d.named VALUES ('x', 1, 1), ('y', 2, 2)",
    "INSERT INTO d.bag VALUES (1, 1), (2, 2)",
)


@dataclass
class Source:
    server: Server
    session: Session
    tables: tuple[Table, ...]


@pytest.fixture(scope="module")
def source(module_servers: Servers) -> Source:
    server = module_servers.make("source")
    session = module_servers.connect(server)
    session.run("CREATE DATABASE d")
    for statement in SCHEMA:
        session.run(statement)
    return Source(server, session, read_tables(session, lambda _: None))


def leaving_out_the_first(source: Source, folder: Path, statements: tuple[str, ...]) -> Dependants:
    """Run each statement as a transaction, and leave out the first."""
    start_log(source.session)
    for statement in statements:
        source.session.run(statement)
    (log,) = logs_of(source.session)[:1]

    def part(name: str, first: bool) -> LaneSegment:
        def choose(found: Transactions) -> np.ndarray:
            return (np.arange(len(found)) == 0) == first

        (folder / name).mkdir()
        split = split_log(log, 0, folder / name, choose)
        return lane_segment(folder / name, split, [stream.database for stream in split.streams])

    return dependants([part("skipped", first=True)], [part("rest", first=False)], source.tables)


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (("UPDATE d.parent SET v = 9 WHERE id = 1", "UPDATE d.parent SET v = 9 WHERE id = 2"), []),
        (("UPDATE d.parent SET v = 8 WHERE id = 1", "UPDATE d.other SET v = 9", "UPDATE d.parent SET v = 7 WHERE id = 1"), ["d.parent"]),
        (("INSERT INTO d.parent VALUES (50, 0)", "INSERT INTO d.child VALUES (1, 50)", "INSERT INTO d.child VALUES (2, 3)"), ["d.child"]),
        (("INSERT INTO d.child VALUES (3, 2)", "UPDATE d.parent SET v = 5 WHERE id = 2", "UPDATE d.parent SET v = 6 WHERE id = 3"), ["d.parent"]),
        (("UPDATE d.named SET v = 5 WHERE a = 'x'", "DELETE FROM d.named WHERE a = 'y'"), []),
        (("UPDATE d.named SET b = 7 WHERE a = 'x'", "UPDATE d.named SET v = 7 WHERE a = 'x'"), ["d.named"]),
        (("INSERT INTO d.bag VALUES (7, 7)", "DELETE FROM d.bag WHERE a = 1", "DELETE FROM d.bag WHERE a = 7"), ["d.bag"]),
        (("DROP TABLE d.other", "INSERT INTO d.parent VALUES (60, 0)", "CREATE TABLE d.other (id INT PRIMARY KEY, v INT)"), ["d.other"]),
        (("INSERT INTO d.other VALUES (1, 1)", "TRUNCATE d.other"), ["d.other"]),
    ],
)  # fmt: skip
def test_exactly_what_builds_on_a_transaction_is_named(
    source: Source, tmp_path: Path, statements: tuple[str, ...], named: list[str]
) -> None:
    found = leaving_out_the_first(source, tmp_path, statements)
    assert [one.partition(" ")[2].strip("()") for one in found.named] == named
    assert found.count == len(named)
    assert all(":" in one for one in found.named), "it is named by its GTID"


def test_of_very_many_dependants_the_first_are_named_and_all_are_counted(source: Source, tmp_path: Path) -> None:
    found = leaving_out_the_first(source, tmp_path, ("UPDATE d.parent SET v = v + 1 WHERE id = 1",) * 40)
    assert (len(found.named), found.count) == (20, 39)
