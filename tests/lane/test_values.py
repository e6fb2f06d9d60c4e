"""Values that no log carries: what ALTER TABLE computes comes out as on the source, or the table is in doubt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from relight.backups.manifest import Surroundings, SystemZone
from relight.fleet import Server
from relight.lab.mysql import MySQL
from relight.lab.template import Template
from relight.server import mysqld
from relight.server.surroundings import read_surroundings
from relight.server.zone import write_zone
from tests.conftest import make_servers
from tests.support.pair import Pair, clean
from tests.support.servers import Servers

BASE = (
    # What both servers begin with was computed in the same way.
    "SET SESSION time_zone = '+05:30', default_week_format = 3, div_precision_increment = 10,"
    " block_encryption_mode = 'aes-256-ecb', default_storage_engine = 'InnoDB'",
    "CREATE DATABASE d",
    "CREATE TABLE d.t (id INT PRIMARY KEY, d DATETIME, s TIMESTAMP NULL, n INT, text VARCHAR(40),"
    " third DECIMAL(20, 10) AS (n / 3) STORED, week INT AS (EXTRACT(WEEK FROM d)) STORED,"
    " day DATE AS (DATE(FROM_UNIXTIME(n * 10000))) STORED,"
    " secret VARBINARY(64) AS (AES_ENCRYPT(n, '0123456789abcdef0123456789abcdef')) STORED)",
    "INSERT INTO d.t (id, d, s, n, text) VALUES (1, '2026-01-03 10:00:00', '2026-01-03 10:00:00', 7,"
    " '2026-01-03 10:00:00+02:00'), (2, '2026-07-03 23:30:00', '2026-07-03 23:30:00', 8, '2026-07-03 23:30:00+02:00')",
)
ZONE = {
    "a DATETIME becomes a TIMESTAMP": "ALTER TABLE d.t MODIFY d TIMESTAMP NULL",
    "a TIMESTAMP becomes a DATETIME": "ALTER TABLE d.t MODIFY s DATETIME",
    "a TIMESTAMP becomes text": "ALTER TABLE d.t MODIFY s VARCHAR(40)",
    "text with an offset becomes a DATETIME": "ALTER TABLE d.t MODIFY text DATETIME",
    "a default is a moment": "ALTER TABLE d.t ADD COLUMN x TIMESTAMP DEFAULT '2026-01-03 10:00:00'",
    "a default is computed from a moment": "ALTER TABLE d.t ADD COLUMN x DATETIME DEFAULT (FROM_UNIXTIME(n))",
    "a generated column is made from a moment": "ALTER TABLE d.t ADD COLUMN x DATETIME AS (FROM_UNIXTIME(n)) STORED",
    "the copying of rows computes a stored column": "ALTER TABLE d.t ADD COLUMN x INT, ALGORITHM=COPY",
}
SETTINGS = {
    "WEEK in a default": "ALTER TABLE d.t ADD COLUMN x INT DEFAULT (WEEK('2026-01-03'))",
    "WEEK in a stored column": "ALTER TABLE d.t ADD COLUMN x INT AS (WEEK(d)) STORED",
    "EXTRACT in a stored column": "ALTER TABLE d.t ADD COLUMN x INT AS (EXTRACT(WEEK FROM d)) STORED",
    "a division in a default": "ALTER TABLE d.t ADD COLUMN x VARCHAR(40) DEFAULT (10 / 3)",
    "a division in a stored column": "ALTER TABLE d.t ADD COLUMN x DECIMAL(20, 10) AS (n / 7) STORED",
    "encryption in a stored column": "ALTER TABLE d.t ADD COLUMN x VARBINARY(64) AS"
    " (AES_ENCRYPT(n, '0123456789abcdef0123456789abcdef')) STORED",
    "the copying of rows computes stored columns": "ALTER TABLE d.t MODIFY n BIGINT, ALGORITHM=COPY",
    "a table without an engine": "CREATE TABLE d.x (id INT PRIMARY KEY)",
    "an option that a strict server refuses": "CREATE TABLE d.x (id INT) ENGINE=InnoDB ROW_FORMAT=DYNAMIC KEY_BLOCK_SIZE=8",
}
GLOBALS = (
    "SET GLOBAL default_week_format = 3, div_precision_increment = 10, block_encryption_mode = 'aes-256-ecb',"
    " innodb_strict_mode = OFF, default_storage_engine = 'MyISAM'"
)


@dataclass
class Values(Pair):
    """A source in another time zone than the server that its log is replayed onto."""

    def run(self, statement: str) -> Surroundings:
        """On the source, whose surroundings are told."""
        with self.servers.connect(self.source) as session:
            session.run(statement)
            return read_surroundings(session)

    def replay(self, folder: Path, surroundings: Surroundings | None, *, use_net: bool = True) -> None:
        replayed = self.split(folder)
        replayed.use_net = use_net
        replayed.splits = [
            split.model_copy(update={"surroundings": surroundings}) for split in replayed.splits
        ]  # fmt: skip
        replayed.all()


def in_zone(servers: Servers, name: str, zone: str) -> Server:
    server = servers.make(name, start=False)
    write_zone(server.datadir, SystemZone(name=zone, digest=""))
    mysqld.start(server, servers.admin).close()
    return server


@pytest.fixture(scope="module")
def lasting(watched: Path, mysql: MySQL, template: Template) -> Iterator[Values]:
    for servers in make_servers(watched, mysql, template):
        yield Values(servers, in_zone(servers, "source", "Asia/Kolkata"), in_zone(servers, "rebuilt", "UTC"))


@pytest.fixture
def values(lasting: Values) -> Iterator[Values]:
    with lasting.servers.connect(lasting.source) as session:
        session.run(GLOBALS)
    lasting.start(BASE)
    yield lasting
    with lasting.on_both() as sessions:
        for session in sessions:
            clean(session)


@pytest.mark.parametrize("what", ZONE)
def test_a_statement_in_the_sources_own_time_zone_gives_the_same_elsewhere(
    what: str, values: Values, tmp_path: Path
) -> None:
    values.replay(tmp_path, values.run(ZONE[what]))
    values.assert_equal()


@pytest.mark.parametrize("use_net", [True, False])
def test_rows_keep_the_stored_columns_that_the_source_computed(
    use_net: bool, values: Values, tmp_path: Path
) -> None:  # fmt: skip
    with values.servers.connect(values.source) as session:
        session.run("INSERT INTO d.t (id, d, s, n) VALUES (3, '2026-01-04', NOW(), 10), (4, '2026-01-05', NOW(), 11)")
        session.run("UPDATE d.t SET n = n + 20, d = d + INTERVAL 1 DAY WHERE id IN (1, 3)")
        session.run("DELETE FROM d.t WHERE id = 2")
        around = read_surroundings(session)
    values.replay(tmp_path, around, use_net=use_net)
    values.assert_equal()


@pytest.mark.parametrize("what", SETTINGS)
def test_a_statement_gives_the_same_where_the_servers_are_set_up_otherwise(
    what: str, values: Values, tmp_path: Path
) -> None:
    values.replay(tmp_path, values.run(SETTINGS[what]))
    values.assert_equal()
