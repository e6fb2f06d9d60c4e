"""Which transactions lie on disk is told by the logs themselves: no server is started for it."""

from __future__ import annotations

import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from relight.binlog import format as f
from relight.errors import GuardRefused
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.guard import logs
from relight.guard.clearance import clear
from relight.guard.directory import contents_of
from relight.guard.logs import held_in, is_relay_log
from relight.guard.looking import look
from relight.server import mysqld
from tests.support.guarding import tree
from tests.support.servers import Servers, kill

NONE = GtidSet()


def transactions(datadir: Path, archived: GtidSet = NONE) -> list[str]:
    return [finding.what for finding in look(datadir, archived=archived) if finding.kind == "transactions"]


@pytest.fixture(scope="module")
def written(module_servers: Servers) -> tuple[Server, GtidSet]:
    """A stopped server with four logs, and the GTID set that it had when the last but one was closed."""
    server = module_servers.make("written")
    with module_servers.connect(server) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT PRIMARY KEY)")
        session.run("FLUSH BINARY LOGS")
        for number in range(5):
            session.run("INSERT INTO d.t VALUES (%s)", number)
        session.run("FLUSH BINARY LOGS")
        archived = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
        session.run("FLUSH BINARY LOGS")
        session.run("INSERT INTO d.t VALUES (100)")
        session.run("INSERT INTO d.t VALUES (101)")
    mysqld.stop(server, module_servers.admin)
    return server, archived


@pytest.fixture
def copied(written: tuple[Server, GtidSet], tmp_path: Path) -> tuple[Path, GtidSet]:
    """A copy of its directory, to be spoilt."""
    server, archived = written
    shutil.copytree(server.datadir, tmp_path / "data")
    return tmp_path / "data", archived


def all_of(archived: GtidSet) -> GtidSet:
    """And the two transactions after it."""
    (stream,) = archived.streams
    return GtidSet.parse(f"{stream}:1-9")


def test_every_transaction_counts_where_nobody_knows_of_a_backup(written: tuple[Server, GtidSet]) -> None:
    server, archived = written
    (seen,) = transactions(server.datadir)
    assert seen == f"the binary logs hold 9 transactions and nobody said that they are backed up: {all_of(archived)}"


def test_only_what_is_not_backed_up_counts_otherwise(written: tuple[Server, GtidSet]) -> None:
    server, archived = written
    assert archived.count() == 7
    (seen,) = transactions(server.datadir, archived)
    assert seen == f"the binary logs hold 2 transactions that are not backed up: {all_of(archived) - archived}"
    assert transactions(server.datadir, all_of(archived)) == []


def test_a_stopped_server_with_transactions_that_are_not_backed_up_is_refused(written: tuple[Server, GtidSet]) -> None:
    server, archived = written
    before = tree(server.datadir.parent)
    with pytest.raises(GuardRefused, match="hold 2 transactions that are not backed up"):
        clear(server, "be rebuilt", archived=archived)
    assert tree(server.datadir.parent) == before
    assert clear(server, "be rebuilt", archived=all_of(archived)).covers_something
    assert clear(server, "be rebuilt").covers_something, "the logs are not asked about where nobody does"


def test_of_files_that_are_backed_up_the_beginning_of_the_next_is_enough(
    written: tuple[Server, GtidSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, archived = written
    read: list[str] = []

    def note(path: Path, really: Callable[[Path], tuple[GtidSet, int]] = logs._read) -> tuple[GtidSet, int]:
        read.append(path.name)
        return really(path)

    monkeypatch.setattr(logs, "_read", note)
    assert held_in(contents_of(server.datadir), archived).logged == all_of(archived)
    # The third has nothing in it, which says nothing about transactions without a GTID; the fourth is the last.
    assert [int(name.rpartition(".")[2]) for name in read] == [3, 4]
    read.clear()
    assert held_in(contents_of(server.datadir), NONE).logged == all_of(archived)
    assert len(read) == 4
    read.clear()
    assert held_in(contents_of(server.datadir), None).logged == all_of(archived)
    assert len(read) == 2


def test_a_log_that_cannot_be_read_may_hold_anything(copied: tuple[Path, GtidSet]) -> None:
    datadir, archived = copied
    path = datadir / "binlog.000004"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    (seen,) = transactions(datadir, all_of(archived))
    assert seen.startswith(f"{path} cannot be read, and may hold transactions: ")
    path.write_bytes(b"\xfdbin" + bytes(600))
    (seen,) = transactions(datadir, all_of(archived))
    assert "the binary log is encrypted" in seen


def test_a_broken_log_in_the_middle_is_named_unless_its_transactions_are_backed_up(
    copied: tuple[Path, GtidSet],
) -> None:
    datadir, archived = copied
    (datadir / "binlog.000002").write_bytes(b"garbage")
    assert any("binlog.000002 cannot be read" in text for text in transactions(datadir, all_of(archived)))


def test_logs_that_lie_elsewhere_are_found_by_the_index(copied: tuple[Path, GtidSet], tmp_path: Path) -> None:
    datadir, archived = copied
    (tmp_path / "logs").mkdir()
    for path in datadir.glob("binlog.0*"):
        path.rename(tmp_path / "logs" / path.name)
    (datadir / "binlog.index").write_text("".join(f"{path}\n" for path in sorted((tmp_path / "logs").iterdir())))
    (seen,) = transactions(datadir)
    assert str(all_of(archived)) in seen


def test_a_log_that_its_server_did_not_close_is_read_as_far_as_it_is_whole(servers: Servers) -> None:
    server = servers.make("killed")
    with servers.connect(server) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT PRIMARY KEY)")
    kill(server)
    last = max(server.datadir.glob("binlog.0*"))
    with last.open("ab") as stream:
        stream.write(struct.pack("<IBIIIH", 0, f.GTID, 1, 80, 0, 0))
    (seen,) = transactions(server.datadir)
    assert "hold 2 transactions" in seen


def test_what_a_replica_received_and_did_not_apply_counts(servers: Servers) -> None:
    source = servers.make("source")
    (replica,) = servers.make_replicas(source, 1)
    with servers.connect(replica) as behind, servers.connect(source) as session:
        session.run("CREATE DATABASE applied")
        applied = session.value("SELECT @@GLOBAL.gtid_executed")
        assert behind.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 60)", applied) == 0
        behind.run("STOP REPLICA SQL_THREAD")
        session.run("CREATE DATABASE received_only")
        executed = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
        received = "SELECT received_transaction_set FROM performance_schema.replication_connection_status"
        deadline = time.monotonic() + 60
        while not executed <= GtidSet.parse(str(behind.value(received))) and time.monotonic() < deadline:
            time.sleep(0.05)
    kill(replica)
    only_received = executed - GtidSet.parse(str(applied))
    found = transactions(replica.datadir)
    assert f"the binary logs hold 1 transaction and nobody said that they are backed up: {applied}" in found
    assert (
        f"the relay logs hold, received only, 1 transaction and nobody said that they are backed up: {only_received}"
        in found
    )
    assert transactions(replica.datadir, executed) == []
    assert any(is_relay_log(path) for path in replica.datadir.glob("*.0*"))


def test_a_relay_log_that_makes_no_sense_is_named(servers: Servers) -> None:
    server = servers.make("down", start=False)
    head = struct.pack("<IBIIIH", 0, f.FORMAT_DESCRIPTION, 1, 19, 0, f.RELAY_LOG)
    (server.datadir / "relay.000001").write_bytes(f.MAGIC + head + bytes(100))
    (seen,) = transactions(server.datadir)
    assert "relay.000001 cannot be read, and may hold transactions" in seen
