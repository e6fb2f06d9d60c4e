"""What lies on a lost source's disk and nowhere else comes back, and nothing that was given up before does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from relight.errors import GuardRefused
from relight.fleet import Server
from relight.planning.target import Target
from relight.recover import recover
from relight.server import mysqld
from relight.site import Run, Site
from relight.steps.plan import plan_run
from relight.steps.salvage import salvage
from relight.steps.segments import ship_segments
from relight.steps.snapshot import take_snapshot
from tests.support.servers import DURABLE, Servers, kill


@dataclass
class Dead:
    """A source that was killed with commits that were never shipped."""

    site: Site
    source: Server
    servers: Servers

    def run(self, run_id: str = "run-1", **more: object) -> Run:
        return Run.model_validate({"run_id": run_id, "shard": "shard-1", "target": Target(kind="latest"), **more})

    def rows(self) -> list[int]:
        with self.servers.connect(self.source) as session:
            return [n for (n,) in session.rows("SELECT n FROM shop.t ORDER BY n")]

    @property
    def last_log(self) -> Path:
        return max(self.source.datadir.glob("binlog.0*"))


@pytest.fixture
def dead(servers: Servers, site: Callable[..., Site]) -> Dead:
    source = servers.make("source", options=DURABLE)
    place = site(source)
    with servers.connect(source) as session:
        session.run("CREATE DATABASE shop")
        session.run("CREATE TABLE shop.t (n INT PRIMARY KEY)")
        session.run("INSERT INTO shop.t VALUES (1)")
        take_snapshot(place, "shard-1")
        session.run("INSERT INTO shop.t VALUES (2)")
        ship_segments(place, "shard-1")
        session.run("INSERT INTO shop.t VALUES (3)")
        session.run("FLUSH BINARY LOGS")
        session.run("INSERT INTO shop.t VALUES (4)")
    kill(source)
    return Dead(place, source, servers)


def test_commits_that_were_never_shipped_come_back_from_the_disk(dead: Dead) -> None:
    recover(dead.site, dead.run())
    assert dead.rows() == [1, 2, 3, 4]


def test_they_come_back_from_a_directory_that_was_set_aside(dead: Dead) -> None:
    dead.source.datadir.rename(dead.source.datadir.with_name("data.set-aside.20261124T000000000000Z"))
    found = salvage(dead.site, dead.run())
    assert (found.transactions, found.shipped) == (2, True)
    assert all("set-aside" in file for file in found.files)
    recover(dead.site, dead.run())
    assert dead.rows() == [1, 2, 3, 4]


def test_salvage_can_be_left_out_and_says_what_will_be_lost(dead: Dead) -> None:
    found = salvage(dead.site, dead.run(salvage=False))
    assert (found.transactions, found.shipped, found.newest_commit is not None) == (2, False, True)
    recover(dead.site, dead.run(salvage=False))
    assert dead.rows() == [1, 2]


def test_the_data_loss_window_shrinks(dead: Dead) -> None:
    without = plan_run(dead.site, dead.run("plan-1")).reaches
    found = salvage(dead.site, dead.run())
    assert plan_run(dead.site, dead.run("plan-2")).reaches == found.newest_commit
    assert without < plan_run(dead.site, dead.run("plan-2")).reaches


def test_run_again_it_finds_everything_in_the_store(dead: Dead) -> None:
    assert salvage(dead.site, dead.run()).transactions == 2
    assert salvage(dead.site, dead.run("run-2")).transactions == 0


def test_a_last_log_that_ends_inside_a_transaction_gives_what_is_whole_of_it(dead: Dead) -> None:
    with dead.last_log.open("r+b") as log:
        log.truncate(dead.last_log.stat().st_size - 20)
    found = salvage(dead.site, dead.run())
    assert found.transactions == 1
    recover(dead.site, dead.run())
    assert dead.rows() == [1, 2, 3]


def test_a_damaged_log_stops_salvage_there_and_is_said(dead: Dead) -> None:
    data = bytearray(dead.last_log.read_bytes())
    data[-40] ^= 0xFF
    dead.last_log.write_bytes(data)
    found = salvage(dead.site, dead.run())
    assert found.transactions == 1
    assert any(dead.last_log.name in note for note in found.notes)


def test_a_directory_whose_transactions_nobody_else_has_is_not_rebuilt_over(dead: Dead) -> None:
    data = bytearray(dead.last_log.read_bytes())
    data[-40] ^= 0xFF
    dead.last_log.write_bytes(data)
    with pytest.raises(GuardRefused, match=dead.last_log.name):
        recover(dead.site, dead.run())
    assert dead.last_log.read_bytes() == data
    recover(dead.site, dead.run("run-2", salvage=False))
    assert dead.rows() == [1, 2, 3], "what was whole had been shipped by the first run"


def test_a_living_source_is_not_read(dead: Dead) -> None:
    mysqld.start(dead.source, dead.servers.admin).close()
    found = salvage(dead.site, dead.run())
    assert found.transactions == 0
    assert "the machine refuses to be read" in found.notes[0]


def test_what_an_earlier_restore_gave_up_does_not_come_back(dead: Dead) -> None:
    recover(dead.site, dead.run(salvage=False))
    with dead.servers.connect(dead.source) as session:
        session.run("INSERT INTO shop.t VALUES (30)")
    ship_segments(dead.site, "shard-1")
    with dead.servers.connect(dead.source) as session:
        session.run("INSERT INTO shop.t VALUES (31)")
    kill(dead.source)
    found = salvage(dead.site, dead.run("run-2"))
    assert found.transactions == 1, "the last insert, and none of the directory that was set aside"
    assert any("belongs to a history without" in note for note in found.notes)
    recover(dead.site, dead.run("run-2"))
    assert dead.rows() == [1, 2, 30, 31]


def test_a_promoted_server_that_never_shipped_anything_is_salvaged_too(dead: Dead) -> None:
    recover(dead.site, dead.run())
    with dead.servers.connect(dead.source) as session:
        session.run("INSERT INTO shop.t VALUES (50)")
    kill(dead.source)
    recover(dead.site, dead.run("run-2"))
    assert dead.rows() == [1, 2, 3, 4, 50]


def test_a_directory_that_a_run_is_still_rebuilding_is_no_source(dead: Dead) -> None:
    shutil.rmtree(dead.source.datadir)
    run = dead.run(salvage=False)
    from relight.steps.restore import restore_snapshot

    plan_run(dead.site, run)
    restore_snapshot(dead.site, run)
    kill(dead.source)
    assert salvage(dead.site, dead.run("run-2")).transactions == 0
