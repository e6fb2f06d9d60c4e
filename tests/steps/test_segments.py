"""Binary logs of real servers into the store."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import zstandard

from relight.backups.catalog import load_catalog
from relight.backups.manifest import SegmentManifest
from relight.backups.shipping import Origin, ship
from relight.errors import GapError, HistoryConflict, ObjectCorrupt, ServerError, TruncatedLog
from relight.fleet import Server
from relight.gtid import GtidSet
from relight.lane.survey import survey
from relight.planning.resolve import make_plan
from relight.planning.target import Target
from relight.server.session import Session
from relight.site import Site
from relight.steps.segments import ship_segments
from relight.steps.snapshot import take_snapshot
from relight.store import layout
from tests.support.servers import Servers

MakeSite = Callable[..., Site]


@pytest.fixture
def source(servers: Servers) -> Server:
    server = servers.make("source")
    with servers.connect(server) as session:
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT, note VARCHAR(100))")
    return server


def write(session: Session, count: int = 3) -> None:
    for _ in range(count):
        session.run("INSERT INTO d.t (note) VALUES (REPEAT('x', 100))")


def shipped(site: Site) -> tuple[SegmentManifest, ...]:
    return load_catalog(site.store, "shard-1").segments


def _now() -> datetime:
    return datetime.now(UTC)


def executed(session: Session) -> GtidSet:
    return GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))


def test_a_segment_is_the_log_file_byte_for_byte_and_says_what_is_in_it(
    site: MakeSite, servers: Servers, source: Server
) -> None:
    the_site = site(source)
    with servers.connect(source) as session:
        write(session)
        summary = ship_segments(the_site, "shard-1")
        (segment,) = shipped(the_site)
        stored = the_site.store.get(segment.key)
        log = zstandard.ZstdDecompressor().decompressobj().decompress(stored)
        assert log == (source.datadir / segment.file).read_bytes()
        assert hashlib.sha256(stored).hexdigest() == segment.sha256
        assert hashlib.sha256(log).hexdigest() == segment.log_sha256
        assert (segment.stored_bytes, segment.log_bytes) == (len(stored), len(log))
        assert segment.gtids == executed(session)
        assert segment.transactions == 5
        assert segment.server_uuid == session.value("SELECT @@server_uuid")
        assert segment.first_commit
        assert segment.last_commit
        assert segment.first_commit < segment.last_commit
    assert summary.files == 1
    assert summary.unshipped_transactions == 0
    assert summary.loss_window_seconds == 0
    assert summary.newest_commit == segment.last_commit


def test_shipping_again_ships_nothing_and_closes_no_further_file(
    site: MakeSite, servers: Servers, source: Server
) -> None:
    the_site = site(source)
    with servers.connect(source) as session:
        ship_segments(the_site, "shard-1")
        files = session.rows("SHOW BINARY LOGS")
        assert ship_segments(the_site, "shard-1").files == 0
        assert session.rows("SHOW BINARY LOGS") == files
        write(session)
        assert ship_segments(the_site, "shard-1").files == 1
    first, second = shipped(the_site)
    assert second.previous_gtids == first.gtids


def test_without_rotation_the_open_file_stays_and_the_loss_window_says_so(
    site: MakeSite, servers: Servers, source: Server
) -> None:
    the_site = site(source)
    with servers.connect(source) as session:
        assert ship_segments(the_site, "shard-1", rotate=False).loss_window_seconds is None
        ship_segments(the_site, "shard-1")
        write(session, 4)
        summary = ship_segments(the_site, "shard-1", rotate=False)
    assert summary.files == 0
    assert summary.unshipped_transactions == 4
    assert summary.loss_window_seconds is not None
    assert summary.loss_window_seconds > 0


def test_two_that_ship_at_once_both_succeed_and_leave_one_segment_each(
    site: MakeSite, servers: Servers, source: Server
) -> None:
    the_site = site(source)
    with servers.connect(source) as session:
        for _ in range(4):
            write(session)
            session.run("FLUSH BINARY LOGS")
    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(ship_segments, the_site, "shard-1", rotate=False) for _ in range(3)]
        assert all(job.result().unshipped_transactions == 0 for job in done)
    assert len(shipped(the_site)) == 4


def test_a_file_name_that_comes_again_after_a_reset_is_not_taken_for_the_one_that_is_there(
    site: MakeSite, servers: Servers, source: Server
) -> None:
    the_site = site(source)
    with servers.connect(source) as session:
        ship_segments(the_site, "shard-1")
        session.run("RESET BINARY LOGS AND GTIDS")
        write(session)
        with pytest.raises(HistoryConflict, match="one number stands for two transactions"):
            ship_segments(the_site, "shard-1")
    assert len(shipped(the_site)) == 1


def test_an_upload_that_was_killed_before_its_manifest_is_taken_over(
    site: MakeSite, servers: Servers, source: Server
) -> None:
    the_site = site(source)
    with servers.connect(source) as session:
        session.run("FLUSH BINARY LOGS")
        uuid = str(session.value("SELECT @@server_uuid"))
    log = (source.datadir / "binlog.000001").read_bytes()
    # Another version of the compressor may make other bytes of the same log.
    half = zstandard.ZstdCompressor(level=9).compress(log)
    the_site.store.put(layout.segment("shard-1", uuid, "binlog.000001", hashlib.sha256(log).hexdigest()), half)
    ship_segments(the_site, "shard-1")
    (segment,) = shipped(the_site)
    assert segment.sha256 == hashlib.sha256(half).hexdigest()
    assert segment.stored_bytes == len(half)


def test_something_else_under_the_name_of_a_segment_is_an_error(
    site: MakeSite, servers: Servers, source: Server
) -> None:
    the_site = site(source)
    with servers.connect(source) as session:
        session.run("FLUSH BINARY LOGS")
        uuid = str(session.value("SELECT @@server_uuid"))
    path = source.datadir / "binlog.000001"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    the_site.store.put(layout.segment("shard-1", uuid, path.name, digest), b"not a log at all")
    with pytest.raises(ObjectCorrupt, match="something else"):
        ship_segments(the_site, "shard-1")


def test_a_truncated_log_is_refused_and_not_uploaded(site: MakeSite, servers: Servers, source: Server) -> None:
    the_site = site(source)
    with servers.connect(source) as session:
        write(session)
        session.run("FLUSH BINARY LOGS")
    whole = (source.datadir / "binlog.000001").read_bytes()
    cut = source.workdir / "binlog.000001"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(TruncatedLog):
        ship(the_site.store, Origin("shard-1", "0" * 36, GtidSet()), cut, "0" * 64, lambda _: None, survey)
    assert list(the_site.store.list("")) == []


def test_logs_purged_before_they_were_shipped_are_reported_as_lost_until_a_full_backup(
    site: MakeSite, servers: Servers, source: Server
) -> None:
    the_site = site(source)
    take_snapshot(the_site, "shard-1")
    with servers.connect(source) as session:
        ship_segments(the_site, "shard-1")
        write(session, 5)
        lost = executed(session) - shipped(the_site)[-1].gtids
        session.run("FLUSH BINARY LOGS")
        write(session, 2)
        session.run("PURGE BINARY LOGS TO %s", session.rows("SHOW BINARY LOGS")[-1][0])
    with pytest.raises(GapError) as caught:
        ship_segments(the_site, "shard-1")
    assert str(lost) in caught.value.why
    assert "relight backup full shard-1" in caught.value.hint
    assert len(shipped(the_site)) == 2  # what is left was shipped all the same
    with pytest.raises(GapError):
        make_plan(load_catalog(the_site.store, "shard-1"), Target(kind="latest"), _now())
    take_snapshot(the_site, "shard-1")
    assert ship_segments(the_site, "shard-1").unshipped_transactions == 0
    make_plan(load_catalog(the_site.store, "shard-1"), Target(kind="latest"), _now())


def test_after_a_failover_to_a_cloned_server_the_chain_goes_on_in_the_right_order(
    site: MakeSite, servers: Servers, source: Server
) -> None:
    """A cloned server's log files do not mention the transactions that it was cloned with."""
    the_site = site(source)
    take_snapshot(the_site, "shard-1")
    with servers.connect(source) as session:
        write(session)
        ship_segments(the_site, "shard-1")
        inherited = executed(session)
    successor = servers.make("successor")
    with servers.connect(successor) as session:
        session.run("RESET BINARY LOGS AND GTIDS")
        session.run("SET GLOBAL gtid_purged = %s", str(inherited))
        session.run("SET sql_log_bin = 0")
        session.run("CREATE DATABASE d")
        session.run("CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT, note VARCHAR(100))")
        session.run("SET sql_log_bin = 1")
        write(session)
        everything = executed(session)
    ship_segments(dataclasses.replace(site(successor), store=the_site.store), "shard-1")
    plan = make_plan(load_catalog(the_site.store, "shard-1"), Target(kind="latest"), _now())
    assert [planned.segment.server_uuid for planned in plan.segments][-1] != plan.snapshot.server_uuid
    assert len(plan.segments) == 2
    assert plan.end_gtids == everything


def test_a_server_without_binary_logs_is_told_so(site: MakeSite, servers: Servers) -> None:
    server = servers.make(options={"skip-log-bin": "", "log-replica-updates": "OFF"})
    with pytest.raises(ServerError, match="no binary log"):
        ship_segments(site(server), "shard-1")
