"""The first start of a database machine of the compose deployment, on real servers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from relight.credentials import EnvironmentCredentials
from relight.errors import StatementFailed
from relight.fleet import Fleet, Server, Shard, StoreSettings
from relight.lab.addresses import PORT, free_addresses
from relight.lab.mysql import MySQL
from relight.lab.state import end_processes, mark
from relight.server import mysqld
from relight.server.session import connect

SCRIPT = Path(__file__).resolve().parents[1] / "include" / "deploy" / "machine.py"
LOGINS = EnvironmentCredentials(
    {
        "RELIGHT_ADMIN_USER": "relight",
        "RELIGHT_ADMIN_PASSWORD": "it's \\ odd",
        "RELIGHT_REPLICATION_USER": "replication",
        "RELIGHT_REPLICATION_PASSWORD": "plain",
    }
)
ADMIN, REPLICATION = LOGINS.login("admin"), LOGINS.login("replication")


@pytest.fixture(scope="module")
def machine() -> ModuleType:
    spec = importlib.util.spec_from_file_location("machine", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shard(machine: ModuleType, watched: Path, mysql: MySQL) -> Shard:
    """A source and a replica, initialised and attached as their containers would do it."""

    def server(name: str, host: str) -> Server:
        home = watched / "machines" / name
        return Server.model_validate(
            {
                "name": name, "host": host, "port": PORT, "datadir": home / "data", "socket": home / "s",
                "workdir": home / "work", "options_file": home / "my.cnf", "mysqld": mysql.mysqld, "mysqlbinlog": mysql.mysqlbinlog,
                "control": {"kind": "process"},
            }
        )  # fmt: skip

    source, replica = (server(f"db-{n}", host) for n, host in enumerate(free_addresses(2), start=1))
    for number, each in enumerate((source, replica), start=1):
        machine.write_options(each, number)
        with each.options_file.open("a", encoding="utf-8") as stream:
            # The image's mysqld knows its own paths; the one on this machine has to be told.
            stream.write(f"bind-address = {each.host}\n")
            stream.writelines(f"{name} = {value}\n" for name, value in mysql.options.items())
        machine.initialise(each, ADMIN, REPLICATION)
    machine.attach(replica, source, LOGINS)
    yield Shard(name="shard-1", source=source, replicas=(replica,))
    for each in (source, replica):
        if pid := mysqld.running_pid(each):
            end_processes({pid: mark(pid)}, grace=30)


def test_a_replica_gets_what_is_written_on_the_source(shard: Shard) -> None:
    with connect(shard.source, ADMIN) as source, connect(shard.replicas[0], ADMIN) as replica:
        source.run("CREATE DATABASE shop")
        source.run("CREATE TABLE shop.t (id INT PRIMARY KEY)")
        source.run("INSERT INTO shop.t VALUES (1)")
        executed = source.value("SELECT @@GLOBAL.gtid_executed")
        assert replica.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 60)", executed) == 0
        assert replica.value("SELECT COUNT(*) FROM shop.t") == 1


def test_a_replica_takes_no_writes(shard: Shard) -> None:
    with connect(shard.replicas[0], ADMIN) as replica, pytest.raises(StatementFailed, match="read-only"):
        replica.run("CREATE DATABASE stray")


def test_the_settings_that_backups_and_restores_need_are_on(shard: Shard) -> None:
    with connect(shard.source, ADMIN) as session:
        row = session.row("SELECT @@gtid_mode, @@binlog_format, @@binlog_row_image, @@binlog_row_metadata, @@log_bin")
        assert row == ("ON", "ROW", "FULL", "FULL", 1)
        assert (
            session.value("SELECT plugin_status FROM information_schema.plugins WHERE plugin_name='clone'") == "ACTIVE"
        )


def test_initialising_leaves_no_transactions_of_its_own(shard: Shard) -> None:
    with connect(shard.replicas[0], ADMIN) as replica:
        uuid = replica.value("SELECT @@server_uuid")
        assert uuid not in replica.value("SELECT @@GLOBAL.gtid_executed")


def test_a_server_knows_its_source(machine: ModuleType, shard: Shard) -> None:
    fleet = Fleet(fleet="f", store=StoreSettings(bucket="abc"), shards=(shard,))
    assert machine.source_of(fleet, shard.replicas[0]) == shard.source
    assert machine.source_of(fleet, shard.source) is None
