"""The whole story of a source in a time zone of its own, whose settings and log leave something open."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from relight.backups.manifest import SystemZone
from relight.planning.target import Target
from relight.recover import recover
from relight.run_files import load_checks, load_judgement, load_verdicts
from relight.server import mysqld
from relight.server.table_checksums import checksums
from relight.server.zone import write_zone
from relight.site import Run, Site
from relight.steps.segments import ship_segments
from relight.steps.snapshot import take_snapshot
from tests.support.servers import Servers, kill

BASE = (
    "CREATE DATABASE d", "CREATE DATABASE cache", "CREATE TABLE cache.t (id INT PRIMARY KEY)",
    "CREATE TABLE d.moments (id INT PRIMARY KEY, d DATETIME, at TIMESTAMP DEFAULT '2026-01-01 00:00:00')",
    "INSERT INTO d.moments (id, d) VALUES (1, '2026-01-03 10:00:00'), (2, '2026-07-03 23:30:00')",
    "CREATE TABLE d.weeks (id INT PRIMARY KEY)", "INSERT INTO d.weeks VALUES (1)",
    "CREATE TABLE d.plain (id INT PRIMARY KEY)",
    "CREATE EVENT d.e ON SCHEDULE EVERY 1 DAY STARTS '2040-01-01 00:00:00' DISABLE DO SELECT 1",
)  # fmt: skip
LOG = (
    "ALTER TABLE d.moments MODIFY d TIMESTAMP NULL", "ALTER TABLE d.weeks ADD COLUMN w INT DEFAULT (WEEK('2026-01-03'))",
    "ALTER TABLE d.plain ADD COLUMN made TIMESTAMP DEFAULT '2026-02-02 02:02:02'", "INSERT INTO d.plain (id) VALUES (1)",
    "CREATE EVENT d.late ON SCHEDULE EVERY 1 DAY STARTS '2041-01-01 00:00:00' DISABLE DO SELECT 1",
)  # fmt: skip


def test_values_that_no_log_carries_come_back_and_what_nobody_can_know_is_said(
    servers: Servers, site: Callable[..., Site]
) -> None:
    source = servers.make("source", options={"binlog-ignore-db": "cache"}, start=False)
    write_zone(source.datadir, SystemZone(name="America/New_York", digest=""))
    with mysqld.start(source, servers.admin) as session:
        for statement in BASE:
            session.run(statement)
        session.run("SET GLOBAL default_week_format = 3")
    place = site(source)
    take_snapshot(place, "shard-1")
    with servers.connect(source) as session:
        for statement in LOG:
            session.run(statement)
        session.run("INSERT INTO cache.t VALUES (1)")
        summary = ship_segments(place, "shard-1")
        sums = {name: value for name, value in checksums(session).items() if not name.startswith("cache.")}
    assert any("cache" in note for note in summary.notes)
    kill(source)
    shutil.rmtree(source.datadir)
    source.datadir.mkdir()
    run = Run(
        run_id="run-1", shard="shard-1", target=Target.parse("latest"), approved_by="Ada", approval_reason="looked at"
    )
    assert recover(place, run).outcome == "done"
    with servers.connect(source) as session:
        found = {name: value for name, value in checksums(session).items() if not name.startswith("cache.")}
        assert found == sums
        assert session.value("SELECT w FROM d.weeks") == 1
    folder = run.folder(place.fleet)
    verdicts = {f"{v.database}.{v.table}": v for v in load_verdicts(folder)}
    assert {name: v.verdict for name, v in verdicts.items()} == {
        "cache.t": "inconclusive", "d.moments": "match", "d.weeks": "inconclusive", "d.plain": "match",
    }  # fmt: skip
    assert "default_week_format" in verdicts["d.weeks"].reason
    assert "does not log this database" in verdicts["cache.t"].reason
    by_name = {check.check: check for check in load_checks(folder) if check.on in ("d", "shard-1")}
    assert by_name["definitions"].verdict == "match"
    assert by_name["definitions"].notes == ()
    assert by_name["source's log"].verdict == "inconclusive"
    assert any("cache (binlog-ignore-db)" in text for text in load_judgement(folder).inconclusive)
