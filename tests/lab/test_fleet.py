"""The lab as its user sees it: through ``relight lab``. The tests of this file share one lab, in order."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.fleet import Server
from relight.fleet_file import load_fleet
from relight.lab import secrets
from relight.lab.fleet import mysqlds_below
from relight.lab.mysql import MySQL
from relight.lab.place import Place
from relight.lab.state import State, mark
from relight.server import mysqld
from relight.server.session import connect
from tests.support.watchdog import end_all_below, running_below

CLI = [sys.executable, "-c", "from relight.cli.lab import app; app()"]


def lab(place: Place, *arguments: str) -> str:
    done = subprocess.run(
        [*CLI, *arguments],
        env={**os.environ, "RELIGHT_LAB": str(place.root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def status(place: Place) -> dict[str, dict[str, object]]:
    return {server["name"]: server for server in json.loads(lab(place, "status", "--json"))["servers"]}


@pytest.fixture(scope="module")
def place(watched: Path, mysql: MySQL) -> Iterator[Place]:
    """A lab of its own, up, with the MySQL that is there already."""
    place = Place(watched / "lab")
    place.root.mkdir()
    if mysql.options:
        place.mysql.symlink_to(mysql.mysqld.parents[1])
    lab(place, "up")
    yield place
    end_all_below(place.root)


def test_two_shards_of_three_replicate(place: Place) -> None:
    servers = status(place)
    assert sorted(servers) == sorted(
        f"shard-{n}-{role}" for n in (1, 2) for role in ("source", "replica-1", "replica-2", "scratch")
    )
    for name, server in servers.items():
        wanted = {"source": "writable", "replica": "read-only", "scratch": "no data"}[str(server["role"])]
        assert server["condition"] == wanted, name
        if server["role"] == "replica":
            assert (server["replication"], server["behind"]) == ("running", 0)


def test_the_fleet_file_is_valid_and_holds_no_secret(place: Place) -> None:
    fleet = load_fleet(place.fleet_file)
    text = place.fleet_file.read_text()
    passwords = [value for name, value in secrets.read(place).items() if name.endswith("PASSWORD")]
    assert len(passwords) == 5
    assert not [password for password in passwords if password in text]
    assert stat.S_IMODE(place.credentials_file.stat().st_mode) == 0o600
    assert {server.control.kind for shard in fleet.shards for server in shard.servers} == {"process"}


def test_the_settings_that_recovery_needs_are_on(place: Place) -> None:
    for shard in load_fleet(place.fleet_file).shards:
        uuids = set()
        for server in shard.servers:
            with connect(server, secrets.login(place, "admin")) as session:
                values = session.row(
                    "SELECT @@gtid_mode, @@binlog_format, @@binlog_row_image, @@binlog_row_metadata, "
                    "@@log_replica_updates, @@innodb_flush_log_at_trx_commit, @@sync_binlog, @@bind_address"
                )
                assert values == ("ON", "ROW", "FULL", "FULL", 1, 1, 1, server.host)
                plugin = "SELECT plugin_status FROM information_schema.plugins WHERE plugin_name = 'clone'"
                assert session.value(plugin) == "ACTIVE"
                uuids.add(session.value("SELECT @@server_uuid"))
        assert len(uuids) == 3


def test_the_databases_have_every_kind_of_thing(place: Place) -> None:
    source = load_fleet(place.fleet_file).shards[0].source
    with connect(source, secrets.login(place, "admin")) as session:

        def all_of(what: str) -> set[str]:
            rows = session.rows(f"SELECT DISTINCT LOWER({what} AND table_schema IN ('orders', 'accounts', 'media')")
            return {str(row[0]) for row in rows}

        types = all_of("data_type) FROM information_schema.columns WHERE true")
        assert types >= {
            "bigint", "int", "mediumint", "smallint", "tinyint", "decimal", "float", "double", "bit", "char", "varchar",
            "binary", "varbinary", "text", "tinytext", "longtext", "tinyblob", "mediumblob", "json", "enum", "set",
            "date", "datetime", "timestamp", "time", "year",
        }  # fmt: skip
        assert all_of("extra) FROM information_schema.columns WHERE true") >= {"virtual generated", "stored generated"}
        without_key = (
            "SELECT COUNT(*) FROM information_schema.tables t WHERE table_schema = 'orders' "
            "AND table_type = 'BASE TABLE' AND NOT EXISTS (SELECT 1 FROM information_schema.columns c "
            "WHERE c.table_schema = t.table_schema AND c.table_name = t.table_name AND c.column_key = 'PRI')"
        )
        assert session.value(without_key) >= 1
        rules = session.rows("SELECT DISTINCT delete_rule FROM information_schema.referential_constraints")
        assert {row[0] for row in rules} >= {"CASCADE", "NO ACTION"}
        for thing in ("views", "triggers", "routines", "events"):
            column = {"views": "table", "triggers": "trigger", "routines": "routine", "events": "event"}[thing]
            count = f"SELECT COUNT(*) FROM information_schema.{thing} WHERE {column}_schema = 'orders'"
            assert session.value(count) >= 1, thing


def test_up_again_changes_nothing(place: Place) -> None:
    before = status(place)
    lab(place, "up")
    assert status(place) == before


def test_a_workload_in_the_background_is_stopped_by_name(place: Place) -> None:
    lab(place, "workload", "start", "shard-2", "--rate", "100")
    assert "workload shard-2" in State(place.state_file).running()
    ledger = place.ledger("shard-2")
    while not (ledger.exists() and ledger.read_text().count("committed") > 50):
        assert "workload shard-2" in State(place.state_file).running()
    lab(place, "workload", "stop", "shard-2")
    assert "workload shard-2" not in State(place.state_file).running()
    assert "exactly once; nothing else is" in lab(place, "check", "shard-2")


def test_destroy_kills_and_empties_one_shard_and_only_that(place: Place) -> None:
    before = status(place)
    lab(place, "destroy", "shard-1")
    after = status(place)
    for name, server in after.items():
        if name.startswith("shard-1"):
            assert (server["condition"], server["pid"]) == ("no data", None)
        else:
            assert server["pid"] == before[name]["pid"]
    for server in load_fleet(place.fleet_file).shard("shard-1").servers:
        assert list(server.datadir.iterdir()) == []


def test_up_does_not_hide_that_a_shard_was_lost(place: Place) -> None:
    assert "shard-1-source has no data" in lab(place, "up")
    assert status(place)["shard-1-source"]["condition"] == "no data"


def test_a_shard_whose_making_was_interrupted_is_made_anew(place: Place) -> None:
    source = load_fleet(place.fleet_file).shard("shard-1").source
    (place.servers / "shard-1.made").unlink()
    (source.datadir / "half").mkdir()
    lab(place, "up")
    servers = status(place)
    assert servers["shard-1-source"]["condition"] == "writable"
    assert servers["shard-1-replica-2"]["behind"] == 0


def test_down_leaves_no_process_not_even_one_that_a_restore_started(place: Place) -> None:
    shard = load_fleet(place.fleet_file).shard("shard-2")
    moved = _start_on_moved_directory(shard.replicas[1], place)
    assert mark(moved)
    lab(place, "down")
    assert mark(moved) == ""
    assert mysqlds_below(place.root) == set()
    assert running_below(place.root) == set()
    assert State(place.state_file).running() == {}
    lab(place, "down")


def test_everything_is_there_again_after_down_and_up(place: Place) -> None:
    lab(place, "up")
    assert "exactly once; nothing else is" in lab(place, "check", "shard-2")


def _start_on_moved_directory(server: Server, place: Place) -> int:
    """Kill a server and start it on its data directory under another name, as a restore would."""
    pid = mysqld.running_pid(server)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    mysqld.wait_until_down(server, pid)
    incoming = server.workdir / "incoming"
    server.datadir.rename(incoming)
    mysqld.spawn(server, datadir=incoming)
    there = server.model_copy(update={"datadir": incoming})
    mysqld.wait_until_up(there, secrets.login(place, "admin")).close()
    pids = mysqlds_below(incoming)
    assert len(pids) == 1
    incoming.rename(server.datadir)
    return pids.pop()
