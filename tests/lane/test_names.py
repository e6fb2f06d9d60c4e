"""Names of databases and tables are compared as the log's server compares them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.backups.manifest import LeftOut
from relight.lab.mysql import MySQL
from relight.lab.template import Template
from relight.server import mysqld
from relight.server.empty import initialise
from relight.server.schema import databases
from relight.server.session import Session
from relight.server.surroundings import read_surroundings
from tests.conftest import make_servers
from tests.support.twins import Twins


def run(session: Session, *statements: str) -> None:
    for statement in statements:
        session.run(statement)


@pytest.fixture(scope="module")
def lasting_folding_twins(watched: Path, mysql: MySQL, template: Template) -> Iterator[Twins]:
    """Servers that keep all names in small letters; a data directory is made for that, once and for all."""
    for servers in make_servers(watched, mysql, template):
        names = ("source", "planned", "ordered", "empty")
        options = {"lower-case-table-names": "1", "event-scheduler": "OFF", "innodb-use-native-aio": "OFF"}
        made = [servers.make(name, options=options, empty=True) for name in names]
        admin = servers.admin
        first, *others = made
        initialise(
            first, first.datadir,
            [f"CREATE USER '{admin.user}'@'%' IDENTIFIED BY '{admin.password}'",
             f"GRANT ALL ON *.* TO '{admin.user}'@'%' WITH GRANT OPTION"],
        )  # fmt: skip
        for other in others:
            shutil.copytree(first.datadir, other.datadir, ignore=shutil.ignore_patterns("auto.cnf"))
        for server in made:
            mysqld.start(server, admin).close()
        yield Twins(servers, *made)


@pytest.fixture
def folding_twins(lasting_folding_twins: Twins, tmp_path: Path) -> Iterator[Twins]:
    lasting_folding_twins.begin(tmp_path)
    yield lasting_folding_twins
    lasting_folding_twins.clean()


BASE = (
    "CREATE DATABASE Shop", "CREATE TABLE Shop.Orders (id INT PRIMARY KEY, n INT)", "CREATE TABLE Shop.Old (id INT)",
    "CREATE DATABASE Other", "INSERT INTO SHOP.ORDERS VALUES (1, 1), (2, 2)", "INSERT INTO shop.old VALUES (1)",
)  # fmt: skip


def test_a_server_that_folds_names_is_rebuilt_from_a_log_that_writes_them_in_any_way(folding_twins: Twins) -> None:
    twins = folding_twins
    twins.prepare(*BASE)
    with twins.writing() as session:
        run(
            session, "INSERT INTO Shop.Orders VALUES (3, 3)", "USE SHOP", "ALTER TABLE ORDERS ADD COLUMN More INT",
            "INSERT INTO Orders VALUES (4, 4, 4)", "CREATE TABLE Shop.NEW (id INT)", "INSERT INTO new VALUES (1), (2)",
            "TRUNCATE TABLE Old", "INSERT INTO old VALUES (7)", "RENAME TABLE Old TO OTHER.Moved", "INSERT INTO Other.MOVED VALUES (8)",
            "CREATE DATABASE Fresh", "CREATE TABLE FRESH.T (id INT)", "INSERT INTO fresh.t VALUES (1)",
            "CREATE DATABASE Gone", "CREATE TABLE Gone.T (id INT)", "DROP DATABASE GONE", "ALTER DATABASE SHOP COLLATE utf8mb4_bin",
            "CREATE VIEW Other.V AS SELECT id FROM SHOP.Orders", "CREATE TABLE IF NOT EXISTS Shop.ORDERS (x INT)",
            "DROP TABLE Shop.NEW", "INSERT INTO Shop.Orders VALUES (5, 5, 5)",
        )  # fmt: skip
    splits = twins.replay()
    assert {stream.database for split in splits for stream in split.streams} <= {
        "shop",
        "other",
        "fresh",
        "gone",
        "mysql",
    }


def test_a_server_that_folds_names_says_so_where_its_logs_are_shipped(folding_twins: Twins) -> None:
    with folding_twins.servers.connect(folding_twins.source) as session:
        assert read_surroundings(session).folds_names


def test_names_that_differ_by_case_alone_are_different_databases_and_tables(twins: Twins) -> None:
    names = ("SYS", "MySQL", "Shop", "shop", "Performance")
    twins.prepare(*(f"CREATE DATABASE {name}" for name in names), *(f"CREATE TABLE {name}.t (id INT PRIMARY KEY)" for name in names),
                  *(f"CREATE TABLE {name}.T (id INT PRIMARY KEY, n INT)" for name in names))  # fmt: skip
    with twins.writing() as session:
        for number, name in enumerate(names):
            run(session, f"INSERT INTO {name}.t VALUES ({number})", f"INSERT INTO {name}.T VALUES (1, {number}), (2, {number})",
                f"ALTER TABLE {name}.T ADD COLUMN m INT DEFAULT {number}", f"UPDATE {name}.T SET n = 9 WHERE id = 1",
                f"CREATE TABLE {name}.u (id INT)", f"INSERT INTO {name}.u VALUES (1)")  # fmt: skip
        run(session, "DROP TABLE Shop.t", "TRUNCATE TABLE shop.T", "DROP DATABASE MySQL")
    twins.replay()
    with twins.servers.connect(twins.planned) as session:
        assert {"SYS", "Shop", "shop"} <= set(databases(session))
        assert not {"sys", "mysql", "information_schema", "performance_schema"} & set(databases(session))
        assert not read_surroundings(session).folds_names


@pytest.mark.parametrize(
    ("left_out", "expected"),
    [
        (LeftOut(only=("Shop",), exact=True), {"shop", "other"}),
        (LeftOut(without=("Shop",), exact=True), {"Shop"}),
        (LeftOut(only=("Shop",)), {"other"}),
        (LeftOut(without=("Shop",)), {"Shop", "shop"}),
    ],
)
def test_a_filter_of_the_log_is_for_the_database_of_its_name(left_out: LeftOut, expected: set[str]) -> None:
    assert {name for name in ("Shop", "shop", "other") if left_out.leaves_out(name)} == expected
