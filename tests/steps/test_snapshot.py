"""Full backups of real servers."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from relight.backups.manifest import SnapshotManifest
from relight.errors import GuardRefused, ServerBusy, ServerError, ServerUnreachable
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.server import local_copy, mysqld
from relight.site import Site
from relight.steps.snapshot import contents, take_snapshot
from relight.store import layout
from tests.support.servers import Servers, kill

MakeSite = Callable[..., Site]

SCHEMA = (
    "CREATE DATABASE shop",
    "CREATE DATABASE empty_one",
    "CREATE TABLE shop.customers (id INT PRIMARY KEY, mail VARCHAR(80), UNIQUE KEY by_mail (mail))",
    (
        "CREATE TABLE shop.orders (customer INT, number INT, note TEXT, PRIMARY KEY (customer, number), "
        "CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE CASCADE)"
    ),
    "CREATE TABLE shop.bare (a INT, b INT, UNIQUE KEY odd ((a + b), b))",
    "INSERT INTO shop.customers VALUES (1, 'a@x'), (2, 'b@x'), (3, NULL)",
    "INSERT INTO shop.orders VALUES (1, 1, REPEAT('x', 2000)), (1, 2, NULL)",
    "CREATE EVENT shop.runs ON SCHEDULE EVERY 1 HOUR DO SELECT 1",
    "CREATE EVENT shop.rests ON SCHEDULE EVERY 1 HOUR DISABLE DO SELECT 1",
)


@pytest.fixture(scope="module")
def source(module_servers: Servers) -> Server:
    server = module_servers.make("source")
    with module_servers.connect(server) as session:
        for statement in SCHEMA:
            session.run(statement)
    return server


@pytest.fixture(scope="module")
def replica(module_servers: Servers, source: Server) -> Server:
    server = module_servers.make_replicas(source, 1)[0]
    catch_up(module_servers, source, server)
    return server


def catch_up(servers: Servers, source: Server, replica: Server) -> None:
    with servers.connect(source) as there, servers.connect(replica) as here:
        wanted = there.value("SELECT @@GLOBAL.gtid_executed")
        assert here.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 30)", wanted) == 0


def manifests(site: Site) -> list[SnapshotManifest]:
    keys = [entry.key for entry in site.store.list("shard-1/snapshots/") if layout.is_snapshot_manifest(entry.key)]
    return [SnapshotManifest.model_validate_json(site.store.get(key)) for key in keys]


def unpack(site: Site, manifest: SnapshotManifest, target: Path) -> None:
    """The slow and obvious way back."""
    target.mkdir(parents=True)
    for name in manifest.directories:
        (target / name).mkdir()
    for name, _ in manifest.files:
        (target / name).touch()
    for part in manifest.parts:
        stored = b"".join(site.store.stream(part.key, size=part.size, sha256=part.sha256))
        raw = zstandard.ZstdDecompressor().decompress(stored)
        for extent in part.extents:
            with (target / extent.path).open("r+b") as file:
                file.seek(extent.offset)
                file.write(raw[: extent.length])
            raw = raw[extent.length :]
        assert not raw
    assert {(name, (target / name).stat().st_size) for name, _ in manifest.files} == set(manifest.files)


def test_a_backup_of_a_replica_says_exactly_what_the_copy_holds(
    site: MakeSite, source: Server, replica: Server, module_servers: Servers
) -> None:
    the_site = site(source, [replica])
    summary = take_snapshot(the_site, "shard-1")
    (manifest,) = manifests(the_site)
    with module_servers.connect(source) as session:
        assert manifest.gtids == GtidSet.parse(session.value("SELECT @@GLOBAL.gtid_executed"))
    with module_servers.connect(replica) as session:
        assert manifest.server_uuid == session.value("SELECT @@server_uuid")
        assert manifest.mysql_version == session.value("SELECT VERSION()")
    assert manifest.id == summary.id
    assert manifest.databases == ("empty_one", "shop")
    tables = {table.name: table for table in manifest.tables}
    assert {name: table.rows for name, table in tables.items()} == {"bare": 0, "customers": 3, "orders": 2}
    assert tables["orders"].primary_key == ("customer", "number")
    assert tables["customers"].unique_keys == (("mail",),)
    assert tables["bare"].unique_keys == (("((`a` + `b`))", "b"),)
    (key,) = tables["orders"].foreign_keys
    assert (key.name, key.columns, key.parent_database, key.parent_table, key.on_delete) == (
        "of_customer", ("customer",), "shop", "customers", "CASCADE"
    )  # fmt: skip
    assert tables["orders"].create.startswith("CREATE TABLE `orders`")
    # On the replica both are switched off; only the source knows.
    assert {event.name: event.enabled_on_source for event in manifest.events} == {"runs": True, "rests": False}
    assert summary.notes == ()
    assert summary.rows == 5


def test_what_was_uploaded_boots_without_keys_and_identity_of_the_server_it_came_from(
    site: MakeSite, source: Server, replica: Server, servers: Servers
) -> None:
    the_site = site(source, [replica])
    take_snapshot(the_site, "shard-1")
    (manifest,) = manifests(the_site)
    names = {name for name, _ in manifest.files}
    assert not [n for n in names if n.endswith((".pem", ".sock", ".pid")) or n in ("auto.cnf", "mysqld-auto.cnf")]
    assert len(manifest.parts) > 1
    restored = servers.make("restored", start=False, empty=True)
    unpack(the_site, manifest, restored.datadir)
    assert contents(restored.datadir) == (manifest.files, manifest.directories)
    with mysqld.start(restored, servers.admin) as session:
        assert session.value("SELECT @@server_uuid") not in (manifest.server_uuid, None)
        assert GtidSet.parse(session.value("SELECT @@GLOBAL.gtid_executed")) == manifest.gtids
        assert session.rows("SELECT id, mail FROM shop.customers ORDER BY id") == [(1, "a@x"), (2, "b@x"), (3, None)]
        assert session.rows("SHOW REPLICA STATUS") == []  # and with it the replication password is gone
        assert session.rows("SHOW STATUS LIKE 'Current_tls_cert'") == [("Current_tls_cert", "server-cert.pem")]
    assert (restored.datadir / "server-key.pem").exists()


def test_a_backup_while_the_source_writes_holds_the_rows_of_its_gtid_set(site: MakeSite, servers: Servers) -> None:
    server = servers.make("busy")
    with servers.connect(server) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT)")
        before = GtidSet.parse(session.value("SELECT @@GLOBAL.gtid_executed")).count()
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(server.socket), servers.admin.user], stdin=subprocess.PIPE,
        env={**os.environ, "SECRET": servers.admin.password},
    )  # fmt: skip
    try:
        time.sleep(1)
        take_snapshot(site(server), "shard-1")
    finally:
        writer.kill()
        writer.wait()
    the_site = site(server)
    (manifest,) = manifests(the_site)
    (table,) = manifest.tables
    assert table.rows == manifest.gtids.count() - before > 0


_WRITER = """
import os, sys, pymysql
c = pymysql.connect(unix_socket=sys.argv[1], user=sys.argv[2], password=os.environ["SECRET"], autocommit=True)
while True:
    c.cursor().execute("INSERT INTO d.t VALUES ()")
"""


def test_a_source_that_cannot_be_asked_about_events_is_said_so(site: MakeSite, servers: Servers) -> None:
    source = servers.make("source")
    with servers.connect(source) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE EVENT d.e ON SCHEDULE EVERY 1 HOUR DISABLE DO SELECT 1")
    replica = servers.make_replicas(source, 1)[0]
    catch_up(servers, source, replica)
    kill(source)
    the_site = site(source, [replica])
    summary = take_snapshot(the_site, "shard-1")
    assert "could not be asked" in summary.notes[0]
    assert manifests(the_site)[0].events[0].enabled_on_source


def test_nothing_is_left_on_the_disk_and_nothing_is_visible_when_a_backup_fails(
    site: MakeSite, source: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_site = site(source)
    monkeypatch.setattr("relight.steps.snapshot.upload_part", _fails)
    with pytest.raises(ServerUnreachable):
        take_snapshot(the_site, "shard-1")
    assert manifests(the_site) == []
    assert [path.name for path in (source.workdir / "snapshots").iterdir()] == [".lock"]


def _fails(*_: object) -> None:
    raise ServerUnreachable("the network is gone")


def test_two_backups_of_one_server_at_once_are_refused(site: MakeSite, source: Server) -> None:
    folder = source.workdir / "snapshots"
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ServerBusy, match="already"):
            take_snapshot(site(source), "shard-1")


def test_a_disk_too_small_is_refused_before_anything_is_cloned(
    site: MakeSite, source: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_copy, "_RESERVE", 1e9)
    with pytest.raises(GuardRefused, match="too small"):
        take_snapshot(site(source), "shard-1")


def test_a_server_without_the_clone_plugin_is_told_how_to_get_it(site: MakeSite, servers: Servers) -> None:
    server = servers.make(options={"plugin-load-add": ""})
    with pytest.raises(ServerError, match="clone plugin") as caught:
        take_snapshot(site(server), "shard-1")
    assert "INSTALL PLUGIN clone" in caught.value.hint


def test_rows_that_a_clone_would_leave_out_are_refused(site: MakeSite, servers: Servers) -> None:
    server = servers.make()
    with servers.connect(server) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.old (a INT) ENGINE=MyISAM")
        local_copy.check_engines(session)
        session.run("INSERT INTO d.old VALUES (1)")
    with pytest.raises(ServerError, match=r"d\.old"):
        take_snapshot(site(server), "shard-1")


def test_what_the_source_itself_cannot_read_is_said_and_everything_else_is_backed_up(
    site: MakeSite, servers: Servers
) -> None:
    server = servers.make()
    with servers.connect(server) as session:
        for statement in (
            "CREATE DATABASE shop", "USE shop", "CREATE TABLE gone (id INT PRIMARY KEY)", "CREATE TABLE part (id INT) ENGINE=MyISAM",
            "CREATE TABLE merged (id INT) ENGINE=MERGE UNION=(part)", "ALTER TABLE part MODIFY id BIGINT",
            "CREATE TABLE good (id INT PRIMARY KEY)", "INSERT INTO good VALUES (1), (2)", "ALTER TABLE gone DISCARD TABLESPACE",
        ):  # fmt: skip
            session.run(statement)
    place = site(server)
    summary = take_snapshot(place, "shard-1")
    assert sorted(note.partition(":")[0] for note in summary.notes) == ["shop.gone", "shop.merged"]
    manifest = SnapshotManifest.model_validate_json(place.store.get(summary.manifest_key))
    assert {table.name: (table.rows, bool(table.unreadable)) for table in manifest.tables} == {
        "gone": (0, True), "merged": (0, True), "part": (0, False), "good": (2, False),
    }  # fmt: skip


def test_a_killed_backup_leaves_no_scratch_server_and_the_next_one_cleans_up(
    site: MakeSite, source: Server, credentials: object
) -> None:
    the_site = site(source)
    folder = source.workdir / "snapshots"
    child = os.fork()
    if child == 0:
        try:
            take_snapshot(the_site, "shard-1")
        finally:
            os._exit(0)
    deadline = time.monotonic() + 60
    while not list(folder.glob("copy-*/data/auto.cnf")):  # written by the scratch server that boots
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    (left,) = folder.glob("copy-*")
    foreign = folder / "kept-by-somebody"
    foreign.mkdir()
    assert manifests(the_site) == []
    take_snapshot(the_site, "shard-1")
    assert len(manifests(the_site)) == 1
    assert not left.exists()
    assert foreign.exists()
    foreign.rmdir()


def test_the_manifest_that_the_summary_names_is_the_one_in_the_store(site: MakeSite, source: Server) -> None:
    the_site = site(source)
    summary = take_snapshot(the_site, "shard-1")
    assert hashlib.sha256(the_site.store.get(summary.manifest_key)).hexdigest() == summary.manifest_sha256
