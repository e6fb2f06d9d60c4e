"""What the copied server leaves out, and what its source does not log: refused, or said where people look."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from relight.backups.catalog import load_catalog
from relight.backups.manifest import SnapshotManifest
from relight.credentials import Login
from relight.errors import BackupRefused
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.lab.fleet import follow
from relight.overview.looking import look_over
from relight.planning.resolve import make_plan
from relight.planning.target import Target
from relight.server.left_out import what_is_left_out
from relight.server.session import Session, connect
from relight.site import Site
from relight.steps.segments import ship_segments
from relight.steps.snapshot import take_snapshot
from tests.support.servers import Servers

MakeSite = Callable[..., Site]


@pytest.fixture(scope="module")
def source(module_servers: Servers) -> Server:
    server = module_servers.make("source", options={"binlog-ignore-db": "cache"})
    with module_servers.connect(server) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT PRIMARY KEY)")
    return server


@pytest.fixture(scope="module")
def following(module_servers: Servers, source: Server) -> Server:
    return module_servers.make_replicas(source, 1)[0]


@pytest.fixture
def replica(module_servers: Servers, source: Server, following: Server) -> Iterator[Server]:
    """A replica that is as it should be, and is so again afterwards."""
    catch_up(module_servers, source, following)
    yield following
    with module_servers.connect(following) as session:
        session.run("STOP REPLICA")
        session.run("CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 0")
        session.run(
            "CHANGE REPLICATION FILTER REPLICATE_DO_DB = (), REPLICATE_IGNORE_DB = (), REPLICATE_DO_TABLE = (),"
            " REPLICATE_IGNORE_TABLE = (), REPLICATE_WILD_DO_TABLE = (), REPLICATE_WILD_IGNORE_TABLE = (),"
            " REPLICATE_REWRITE_DB = ()"
        )
        session.run("START REPLICA")


def catch_up(servers: Servers, source: Server, replica: Server) -> None:
    with servers.connect(source) as there, servers.connect(replica) as here:
        wanted = there.value("SELECT @@GLOBAL.gtid_executed")
        assert here.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 30)", wanted) == 0


def another(servers: Servers, source: Server) -> Server:
    """A replica of the test's own."""
    server = servers.make("another", options={"server-id": "99"})
    follow(server, source, servers.admin, servers.template.logins.replication)
    catch_up(servers, source, server)
    return server


def manifest_of(site: Site) -> SnapshotManifest:
    (key,) = [entry.key for entry in site.store.list("shard-1/snapshots/") if entry.key.endswith("manifest.json")]
    return SnapshotManifest.model_validate_json(site.store.get(key))


def warnings(site: Site) -> str:
    return "\n".join(look_over(site).cards[0].warnings)


@pytest.mark.parametrize(
    "filters",
    [
        "REPLICATE_DO_DB = (d)", "REPLICATE_IGNORE_DB = (x)", "REPLICATE_DO_TABLE = (d.t)",
        "REPLICATE_IGNORE_TABLE = (d.u)", "REPLICATE_WILD_DO_TABLE = ('d.%')", "REPLICATE_WILD_IGNORE_TABLE = ('d.tmp%')",
        "REPLICATE_REWRITE_DB = ((a, b))", "REPLICATE_IGNORE_DB = (x) FOR CHANNEL ''",
    ],
)  # fmt: skip
def test_a_replica_with_a_filter_is_not_copied(
    filters: str, site: MakeSite, module_servers: Servers, source: Server, replica: Server
) -> None:
    with module_servers.connect(replica) as session:
        session.run("STOP REPLICA SQL_THREAD")
        session.run(f"CHANGE REPLICATION FILTER {filters}")
        session.run("START REPLICA SQL_THREAD")
        clones = session.rows("SELECT * FROM performance_schema.clone_status")
        with pytest.raises(BackupRefused, match=filters.split(maxsplit=1)[0]) as refused:
            take_snapshot(site(source, [replica]), "shard-1")
        assert session.rows("SELECT * FROM performance_schema.clone_status") == clones, (
            "it was copied before it was asked"
        )
    assert "does not bring back" in refused.value.hint


def test_a_replica_with_transactions_of_its_own_is_not_copied(site: MakeSite, source: Server, servers: Servers) -> None:
    own = another(servers, source)
    with servers.connect(own) as session:
        session.run("SET GLOBAL super_read_only = OFF")
        session.run("CREATE DATABASE of_the_replica")
        uuid = session.value("SELECT @@server_uuid")
    with pytest.raises(BackupRefused, match=f"{uuid}:1"):
        take_snapshot(site(source, [own]), "shard-1")


def test_a_replica_of_another_shard_is_not_copied(site: MakeSite, source: Server, servers: Servers) -> None:
    other = servers.make("other-source")
    with servers.connect(other) as session:
        session.run("CREATE DATABASE other")
    (stranger,) = servers.make_replicas(other, 1)
    catch_up(servers, other, stranger)
    with pytest.raises(BackupRefused, match="none of this shard's"):
        take_snapshot(site(source, [stranger]), "shard-1")


def test_a_replica_as_it_should_be_is_copied_without_a_word_about_it(
    site: MakeSite, module_servers: Servers, source: Server, replica: Server
) -> None:
    with module_servers.connect(source) as session:
        session.run("SET gtid_next = 'AUTOMATIC:a_tag'")
        session.run("INSERT INTO d.t VALUES (1)")
        session.run("SET gtid_next = 'AUTOMATIC'")
    catch_up(module_servers, source, replica)
    the_site = site(source, [replica])
    summary = take_snapshot(the_site, "shard-1")
    assert summary.notes == ("the source does not log cache (binlog-ignore-db)",)
    manifest = manifest_of(the_site)
    assert manifest.behind == GtidSet()
    assert manifest.surroundings is not None
    with module_servers.connect(source) as session:
        assert manifest.surroundings.server_uuid == session.value("SELECT @@server_uuid")
        assert (
            str(session.value("SELECT @@div_precision_increment"))
            == manifest.surroundings.variables["div_precision_increment"]
        )


def test_how_old_the_data_of_a_replica_are_that_stopped_applying_is_said_everywhere(
    site: MakeSite, module_servers: Servers, source: Server, replica: Server
) -> None:
    the_site = site(source, [replica])
    with module_servers.connect(source) as session:
        session.run("INSERT INTO d.t VALUES (99)")  # it tells of what it has applied since it was started last
    catch_up(module_servers, source, replica)
    with module_servers.connect(replica) as session:
        session.run("STOP REPLICA SQL_THREAD")
    with module_servers.connect(source) as session:
        before = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
        session.run("INSERT INTO d.t VALUES (100)")
        session.run("INSERT INTO d.t VALUES (101)")
        missing = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed"))) - before
    summary = take_snapshot(the_site, "shard-1")
    told = "\n".join(summary.notes)
    assert f"the replica does not apply what it receives from {source.host}:{source.port}" in told
    assert "the replica is 2 transactions behind: the data go up to" in told
    manifest = manifest_of(the_site)
    assert manifest.behind == missing
    assert manifest.notes == summary.notes
    assert manifest.as_of is not None
    assert manifest.as_of < manifest.taken_at
    assert "is 2 transactions behind" in warnings(the_site)
    plan = make_plan(load_catalog(the_site.store, "shard-1"), Target.parse("latest"), datetime.now(UTC))
    assert plan.reaches == manifest.as_of, "it was taken later, and shows nothing newer"
    assert "2 transactions are in no log of the store" in "\n".join(plan.notes)
    ship_segments(the_site, "shard-1")
    plan = make_plan(load_catalog(the_site.store, "shard-1"), Target.parse("latest"), datetime.now(UTC))
    assert "in no log of the store" not in "\n".join(plan.notes)


def test_an_applier_that_failed_is_told_with_its_error(
    site: MakeSite, module_servers: Servers, source: Server, servers: Servers
) -> None:
    broken = another(servers, source)
    with servers.connect(broken) as session:
        session.run("SET GLOBAL super_read_only = OFF")
        session.run("SET SESSION sql_log_bin = 0")
        session.run("INSERT INTO d.t VALUES (200)")
    with module_servers.connect(source) as session:
        session.run("INSERT INTO d.t VALUES (200)")
    with servers.connect(broken) as session:
        wait_for(session, "SELECT service_state = 'OFF' FROM performance_schema.replication_applier_status")
    told = "\n".join(take_snapshot(site(source, [broken]), "shard-1").notes)
    assert "does not apply" in told
    assert "1062" in told
    assert "since 20" in told


def wait_for(session: Session, question: str) -> None:
    deadline = time.monotonic() + 60
    while not session.value(question):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_delay_a_stopped_receiver_and_a_server_in_between_are_told(
    site: MakeSite, source: Server, replica: Server, servers: Servers
) -> None:
    below = another(servers, replica)
    with servers.connect(below) as session:
        session.run("STOP REPLICA")
        session.run("CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 3600")
        session.run("START REPLICA SQL_THREAD")
    told = "\n".join(take_snapshot(site(source, [below]), "shard-1").notes)
    assert "does not receive" in told
    assert "stays 3600 s behind" in told
    assert f"receives from {replica.host}:{replica.port}, not from source: nobody knows what that leaves out" in told


def test_a_server_that_is_a_replica_in_the_fleet_file_alone_is_told(
    site: MakeSite, source: Server, servers: Servers
) -> None:
    alone = another(servers, source)
    with servers.connect(alone) as session:
        session.run("STOP REPLICA")
        session.run("RESET REPLICA ALL")
    told = take_snapshot(site(source, [alone]), "shard-1").notes
    assert "receives from nobody" in told[0]


@pytest.mark.parametrize(
    ("setting", "back", "told"),
    [
        ("init_connect = 'SET sql_log_bin = 0'", "init_connect = ''", "init_connect sets sql_log_bin"),
        ("binlog_format = 'MIXED'", "binlog_format = 'ROW'", "binlog_format is MIXED"),
        ("binlog_row_image = 'MINIMAL'", "binlog_row_image = 'FULL'", "binlog_row_image is MINIMAL"),
        ("binlog_row_value_options = 'PARTIAL_JSON'", "binlog_row_value_options = ''", "is PARTIAL_JSON"),
        ("gtid_mode = 'ON_PERMISSIVE'", "gtid_mode = 'ON'", "gtid_mode is not ON"),
    ],
)
def test_what_a_source_does_not_log_is_said_when_it_ships_and_by_the_fleet_page(
    setting: str, back: str, told: str, site: MakeSite, module_servers: Servers, source: Server
) -> None:
    the_site = site(source)
    with module_servers.connect(source) as session:
        session.run("REPLACE INTO d.t VALUES (300)")
        session.run(f"SET GLOBAL {setting}")
        try:
            summary = ship_segments(the_site, "shard-1")
        finally:
            session.run(f"SET GLOBAL {back}")
    found = "\n".join(summary.notes)
    assert told in found
    assert "does not log cache (binlog-ignore-db)" in found
    segment = load_catalog(the_site.store, "shard-1").segments[-1]
    assert segment.left_out is not None
    assert segment.left_out.told == summary.notes
    assert segment.left_out.leaves_out("cache")
    assert not segment.left_out.leaves_out("d")
    assert told in warnings(the_site)
    assert "binlog-ignore-db" in warnings(the_site)


def test_what_an_account_may_not_ask_is_not_taken_for_nothing(module_servers: Servers, source: Server) -> None:
    low = Login("low", "of no rights")
    with module_servers.connect(source) as session:
        session.run("SET SESSION sql_log_bin = 0")
        session.run("CREATE USER low@'%%' IDENTIFIED BY %s", low.password)
        try:
            with connect(source, low) as asking:
                found = what_is_left_out(asking)
        finally:
            session.run("DROP USER low")
    assert "nobody knows which databases the source logs" in "\n".join(found.gaps)
