"""What a restore gave up stays given up, on real servers: history is what was decided, not what the logs look like."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from relight.backups.branches import summaries
from relight.backups.catalog import load_catalog
from relight.errors import ClaimRefused, HistoryConflict, PlanOutdated, PromotionRefused, TargetError
from relight.fencing.timelines import load_timelines
from relight.fleet import Server
from relight.outdated import refuse_what_is_over
from relight.planning.target import Target
from relight.recover import recover
from relight.server import mysqld
from relight.site import Run, Site
from relight.steps.begin_timeline import begin_timeline_here
from relight.steps.fence_check import check_fence
from relight.steps.inspect_target import inspect_target
from relight.steps.plan import plan_run
from relight.steps.restore import restore_snapshot
from relight.steps.salvage import salvage
from relight.steps.segments import ship_segments
from relight.steps.snapshot import take_snapshot
from tests.support.servers import DURABLE, Servers, kill


@dataclass
class Shard:
    """A shard of one server, table ``shop.t`` with the rows 1 and 2 in its full backup."""

    servers: Servers
    site: Site
    source: Server

    def write(self, *statements: str) -> str:
        """Run statements; gives the GTID of the last one."""
        with self.servers.connect(self.source) as session:
            for statement in statements:
                session.run(statement)
            return newest_gtid(str(session.value("SELECT @@GLOBAL.gtid_executed")), self.uuid())

    def uuid(self) -> str:
        with self.servers.connect(self.source) as session:
            return str(session.value("SELECT @@server_uuid"))

    def process(self) -> int:
        """Of its server."""
        pid = mysqld.running_pid(self.source)
        assert pid is not None
        return pid

    def rows(self) -> list[int]:
        with self.servers.connect(self.source) as session:
            return [int(n) for (n,) in session.rows("SELECT n FROM shop.t ORDER BY n")]

    def ship(self) -> None:
        ship_segments(self.site, "shard-1")

    def lose(self) -> None:
        kill(self.source)
        shutil.rmtree(self.source.datadir)

    def run(self, name: str, target: str = "latest", **more: object) -> Run:
        return Run.model_validate({"run_id": name, "shard": "shard-1", "target": Target.parse(target), **more})

    def restore(self, name: str, target: str = "latest", **more: object) -> None:
        recover(self.site, self.run(name, target, **more))


def newest_gtid(executed: str, uuid: str) -> str:
    """Of the server; empty where it has numbered none."""
    spans = next((part.strip() for part in executed.split(",") if part.strip().startswith(uuid)), "")
    return f"{uuid}:{re.split('[:-]', spans)[-1]}" if spans else ""


@pytest.fixture
def shard(servers: Servers, site: Callable[..., Site]) -> Shard:
    source = servers.make("source", options=DURABLE)
    made = Shard(servers, site(source), source)
    made.write("CREATE DATABASE shop", "CREATE TABLE shop.t (n INT PRIMARY KEY)", "INSERT INTO shop.t VALUES (1), (2)")
    take_snapshot(made.site, "shard-1")
    return made


@pytest.fixture
def undone(shard: Shard) -> tuple[Shard, str]:
    """A bad DELETE was shipped, and undone by a restore to just before it."""
    shard.write("INSERT INTO shop.t VALUES (3)")
    bad = shard.write("DELETE FROM shop.t WHERE n < 3")
    shard.write("INSERT INTO shop.t VALUES (4)")
    shard.ship()
    shard.lose()
    shard.restore("undo", f"before:{bad}")
    assert shard.rows() == [1, 2, 3]
    return shard, bad


def test_what_was_undone_does_not_come_back_when_the_shard_is_lost_before_its_first_log_is_shipped(
    undone: tuple[Shard, str],
) -> None:
    shard, _ = undone
    shard.lose()
    shard.restore("again")
    assert shard.rows() == [1, 2, 3]


def test_what_was_undone_does_not_come_back_from_a_new_full_backup_or_new_logs(undone: tuple[Shard, str]) -> None:
    shard, bad = undone
    take_snapshot(shard.site, "shard-1")
    shard.lose()
    shard.restore("full")
    assert shard.rows() == [1, 2, 3]
    shard.write("INSERT INTO shop.t VALUES (5)")
    shard.ship()
    shard.lose()
    shard.restore("logs")
    assert shard.rows() == [1, 2, 3, 5]
    # And once more: each opened epoch is a timeline, and builds on the one before.
    shard.lose()
    shard.restore("and again")
    assert shard.rows() == [1, 2, 3, 5]
    found = summaries(load_catalog(shard.site.store, "shard-1"))
    assert [(one.number, one.parent, one.present) for one in found] == [
        (0, None, False), (1, 0, False), (2, 1, False), (3, 2, False), (4, 3, True),
    ]  # fmt: skip
    assert bad in str(found[1].given_up) or found[1].given_up.count() == 2, "the DELETE, and what came after it"


def test_an_older_timeline_is_followed_by_those_who_ask_for_it(undone: tuple[Shard, str]) -> None:
    shard, bad = undone
    shard.write("INSERT INTO shop.t VALUES (6)")
    shard.ship()
    shard.lose()
    with pytest.raises(TargetError, match="another timeline") as refused:
        plan_run(shard.site, shard.run("lost", f"gtid:{bad}"))
    assert "--timeline 0" in refused.value.hint
    shard.restore("old", timeline=0)
    assert shard.rows() == [3, 4]
    shard.lose()
    shard.restore("present")
    assert shard.rows() == [3, 4], "the older one is the present one from then on"
    shard.lose()
    shard.restore("back", timeline=1)
    assert shard.rows() == [1, 2, 3, 6]


def test_a_time_at_which_something_was_undone_later_is_reached_in_the_present_timeline(
    undone: tuple[Shard, str],
) -> None:
    shard, _ = undone
    began = load_timelines(shard.site.store, "shard-1")[0].began_at
    made = plan_run(shard.site, shard.run("before a log", f"time:{began.isoformat()}"))
    assert (made.timeline, made.transactions) == (1, 1), "row 3, and neither the DELETE nor row 4"
    shard.write("INSERT INTO shop.t VALUES (9)")
    shard.ship()
    shard.lose()
    shard.restore("behind a log", f"time:{began.isoformat()}")
    assert shard.rows() == [1, 2, 3]


def test_a_transaction_that_was_left_out_stays_left_out_with_what_came_after_it_replayed(shard: Shard) -> None:
    bad = shard.write("INSERT INTO shop.t VALUES (100)")
    shard.write("INSERT INTO shop.t VALUES (3)")
    shard.ship()
    shard.write("INSERT INTO shop.t VALUES (4)")
    shard.ship()
    shard.lose()
    shard.restore("without", skip=bad)
    assert shard.rows() == [1, 2, 3, 4]
    shard.lose()
    shard.restore("again")
    assert shard.rows() == [1, 2, 3, 4]


def test_the_disk_of_a_server_that_was_lost_is_salvaged_in_the_present_timeline_only(undone: tuple[Shard, str]) -> None:
    shard, _ = undone
    shard.write("INSERT INTO shop.t VALUES (7)")
    kill(shard.source)  # its disk is whole: what was never shipped lies there
    assert salvage(shard.site, shard.run("salvaged")).transactions == 2, "row 7, and the beginning of the timeline"
    shard.restore("salvaged")
    assert shard.rows() == [1, 2, 3, 7]


def test_a_server_that_the_shard_has_left_is_not_backed_up(undone: tuple[Shard, str], servers: Servers) -> None:
    shard, _ = undone
    with servers.connect(shard.source) as session:  # as a former source that was started again would look
        session.run("SET GLOBAL super_read_only = OFF")
        session.run("RESET BINARY LOGS AND GTIDS")
        session.run("SET GLOBAL gtid_purged = '11111111-1111-1111-1111-111111111111:1-50'")
    for back_up in (ship_segments, take_snapshot):
        with pytest.raises(HistoryConflict):
            back_up(shard.site, "shard-1")


def test_numbering_that_begins_anew_stops_backups_until_somebody_says_what_is_right(shard: Shard) -> None:
    shard.write("INSERT INTO shop.t VALUES (3)", "INSERT INTO shop.t VALUES (4)")
    shard.ship()
    shard.write("RESET BINARY LOGS AND GTIDS", "INSERT INTO shop.t VALUES (50)")
    for back_up in (ship_segments, take_snapshot):
        with pytest.raises(HistoryConflict, match="one number stands for two transactions") as stopped:
            back_up(shard.site, "shard-1")
        assert "relight timeline begin shard-1" in stopped.value.hint
    with pytest.raises(HistoryConflict):
        begin_timeline_here(shard.site, "shard-1", "the numbers are still the old ones")
    # What the hint says, step by step.
    mysqld.stop(shard.source, shard.servers.admin)
    (shard.source.datadir / "auto.cnf").unlink()
    mysqld.start(shard.source, shard.servers.admin).close()
    shard.write("RESET BINARY LOGS AND GTIDS")
    begun = begin_timeline_here(shard.site, "shard-1", "numbered anew by mistake")
    assert (begun.number, begun.parent, str(begun.began_with)) == (1, 0, "")
    take_snapshot(shard.site, "shard-1")
    shard.write("INSERT INTO shop.t VALUES (51)")
    shard.ship()
    assert check_fence(shard.site, "shard-1").state in ("current", "not promoted here")
    shard.lose()
    shard.restore("after")
    assert shard.rows() == [1, 2, 3, 4, 50, 51]


def test_numbering_that_begins_anew_and_has_overtaken_the_old_one_is_noticed(shard: Shard) -> None:
    shard.write("INSERT INTO shop.t VALUES (3)")
    shard.ship()
    shard.write("RESET BINARY LOGS AND GTIDS", *(f"INSERT INTO shop.t VALUES ({n})" for n in range(100, 120)))
    with pytest.raises(HistoryConflict, match="different"):
        shard.ship()


def test_a_timeline_begins_only_with_a_server_that_takes_writes_and_where_that_is_needed(
    undone: tuple[Shard, str],
) -> None:
    shard, _ = undone
    with pytest.raises(ClaimRefused, match="follows the present timeline"):
        begin_timeline_here(shard.site, "shard-1", "no reason")
    with shard.servers.connect(shard.source) as session:
        session.run("SET GLOBAL read_only = ON")
    with pytest.raises(PromotionRefused, match="takes no writes"):
        begin_timeline_here(shard.site, "shard-1", "no reason")


def test_the_id_of_a_run_that_is_over_rebuilds_nothing(shard: Shard) -> None:
    shard.write("INSERT INTO shop.t VALUES (3)")
    shard.ship()
    shard.lose()
    shard.restore("first")
    shard.write("INSERT INTO shop.t VALUES (4)")
    shard.ship()
    process = shard.process()
    # While its server is there, every step ends again, and none of them touches it.
    assert recover(shard.site, shard.run("first")).outcome == "done"
    assert (shard.rows(), shard.process()) == ([1, 2, 3, 4], process)
    shard.lose()
    before = sorted(path.name for path in shard.source.datadir.parent.iterdir())
    for step in (salvage, plan_run, inspect_target, restore_snapshot):  # whichever task is cleared
        with pytest.raises(ClaimRefused, match="the run is over"):
            step(shard.site, shard.run("first"))
    with pytest.raises(ClaimRefused, match="the run is over"):
        shard.restore("first")
    assert sorted(path.name for path in shard.source.datadir.parent.iterdir()) == before
    shard.restore("second")
    assert shard.rows() == [1, 2, 3, 4]


def test_a_plan_that_leaves_out_what_was_backed_up_since_is_not_carried_out(shard: Shard) -> None:
    shard.write("INSERT INTO shop.t VALUES (3)")
    shard.ship()
    plan_run(shard.site, shard.run("early"))
    shard.write("INSERT INTO shop.t VALUES (4)")
    shard.ship()
    shard.lose()
    for step in (plan_run, inspect_target, restore_snapshot):
        with pytest.raises(PlanOutdated, match="1 transactions that are in the store would be left out"):
            step(shard.site, shard.run("early"))
    shard.restore("now")
    assert shard.rows() == [1, 2, 3, 4]


def test_a_plan_that_is_the_newest_is_not_compared_by_reading_every_manifest_again(shard: Shard) -> None:
    shard.write("INSERT INTO shop.t VALUES (3)")
    shard.ship()
    plan_run(shard.site, shard.run("fresh"))
    shard.lose()
    asked: list[str] = []

    class Counting:
        def get(self, key: str, **more: object) -> bytes:
            asked.append(key)
            return shard.site.store.get(key, **more)  # type: ignore[arg-type]

        def list(self, prefix: str) -> object:
            return shard.site.store.list(prefix)

    refuse_what_is_over(dataclasses.replace(shard.site, store=Counting()), shard.run("fresh"))  # type: ignore[arg-type]
    assert asked == [shard.run("fresh").plan_key]


def test_a_plan_from_before_the_shard_began_another_timeline_is_not_carried_out(shard: Shard) -> None:
    shard.write("INSERT INTO shop.t VALUES (3)")
    shard.ship()
    plan_run(shard.site, shard.run("early"))
    shard.lose()
    shard.restore("other")
    shard.lose()
    with pytest.raises(PlanOutdated, match="timeline 1 was begun"):
        plan_run(shard.site, shard.run("early"))


def test_an_epoch_that_an_older_version_opened_is_a_timeline_as_far_as_its_certificate_tells(
    undone: tuple[Shard, str],
) -> None:
    shard, _ = undone
    store, key = shard.site.store, "shard-1/fence/000001.outcome.json"
    (new,) = load_timelines(store, "shard-1")

    class Older:
        """The store as the older version has left it."""

        def get(self, wanted: str) -> bytes:
            content = store.get(wanted)
            if wanted != key:
                return content
            return re.sub(rb'"(gtids|birth)": "[^"]*"', rb'"\1": ""', content).replace(
                b'"gtids": ""', b'"gtids": null').replace(b'"parent": 0', b'"parent": null')  # fmt: skip

        def list(self, prefix: str) -> object:
            return store.list(prefix)

    (old,) = load_timelines(Older(), "shard-1")  # type: ignore[arg-type]
    assert old == new
