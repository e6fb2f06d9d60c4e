"""From shipped logs to lanes: known before anything is fetched, and nothing left out that others build on."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from relight.backups.manifest import SegmentManifest
from relight.credentials import EnvironmentCredentials
from relight.errors import PlanError, SkipRefused, TargetError
from relight.fleet import Fleet, Limits, Server, Shard, StoreSettings
from relight.gtid import Gtid, GtidSet
from relight.lab.s3 import S3Server
from relight.lab.template import Logins
from relight.lane.laning import content_of, make_lanes
from relight.planning.plan import load_plan
from relight.planning.target import Target
from relight.progress import Silent
from relight.run_files import load_lanes, load_split, split_folder
from relight.site import Run, Site
from relight.splitting import split_of
from relight.steps.lanes import plan_lanes
from relight.steps.plan import plan_run
from relight.steps.segments import ship_segments
from relight.steps.snapshot import take_snapshot
from relight.steps.split import split_segment
from relight.store.s3 import open_store
from tests.conftest import environment_of
from tests.support.replaying import empty_snapshot
from tests.support.servers import Servers


@dataclass
class Shipped:
    """A shard with a snapshot and some log files behind it."""

    site: Site
    names: dict[str, Gtid]
    """Transactions, by what they are for."""

    def run(self, name: str, target: str = "latest", *skip: str) -> Run:
        wanted = GtidSet.of(self.names[one] for one in skip)
        return Run(run_id=name, shard="shard-1", target=Target.parse(target), skip=wanted)


@pytest.fixture(scope="module")
def source(module_servers: Servers) -> Server:
    return module_servers.make("source")


@pytest.fixture(scope="module")
def shipped(source: Server, module_servers: Servers, s3_server: S3Server, logins: Logins) -> Shipped:
    settings = StoreSettings(bucket=s3_server.bucket, prefix="lanes", endpoint=s3_server.endpoint)
    shard = Shard(name="shard-1", source=source)
    fleet = Fleet(fleet="test", store=settings, shards=(shard,), limits=Limits(connections=4))
    credentials = EnvironmentCredentials(environment_of(logins, s3_server.login))
    site = Site(fleet, open_store(settings, s3_server.login), credentials, Silent())
    names: dict[str, Gtid] = {}
    with module_servers.connect(source) as session:
        uuid = str(session.value("SELECT @@server_uuid"))

        def run(name: str, statement: str) -> None:
            before = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed")))
            session.run(statement)
            done = GtidSet.parse(str(session.value("SELECT @@GLOBAL.gtid_executed"))) - before
            names[name] = Gtid.parse(str(done))

        run("old", "CREATE DATABASE a")
        for database in ("b", "c", "e"):
            session.run(f"CREATE DATABASE {database}")
        for database in ("a", "b", "c", "e"):
            session.run(f"CREATE TABLE {database}.t (id INT PRIMARY KEY, v VARCHAR(200))")
        take_snapshot(site, "shard-1")
        session.run("FLUSH BINARY LOGS")
        run("poison", "INSERT INTO a.t VALUES (1, 'poison')")
        run("big", "INSERT INTO b.t VALUES (1, REPEAT('x', 200)), (2, REPEAT('x', 200)), (3, REPEAT('x', 200))")
        session.run("FLUSH BINARY LOGS")
        run("tie", "CREATE VIEW a.over AS SELECT c.t.id FROM c.t")
        session.run("FLUSH BINARY LOGS")
        run("in c", "INSERT INTO c.t VALUES (1, 'c')")
        run("builds", "UPDATE a.t SET v = 'built upon' WHERE id = 1")
        run("free", "INSERT INTO a.t VALUES (2, 'free')")
        session.run("FLUSH BINARY LOGS")
        run("last", "INSERT INTO e.t VALUES (1, 'last')")
        ship_segments(site, "shard-1")
        assert uuid
    return Shipped(site, names)


def planned(shipped: Shipped, run: Run) -> None:
    plan_run(shipped.site, run)
    plan_lanes(shipped.site, run)


def split(shipped: Shipped, run: Run) -> list[int]:
    """The segments that were split."""
    folder = run.folder(shipped.site.fleet)
    count = len(load_plan(shipped.site.store, run).segments)
    return [n for n in range(count) if (split_folder(folder, n) / "result.json").exists()]


def test_lanes_are_known_before_any_log_is_fetched(shipped: Shipped) -> None:
    run = shipped.run("whole")
    planned(shipped, run)
    assert split(shipped, run) == []
    lanes = load_lanes(run.folder(shipped.site.fleet))
    assert {lane.databases for lane in lanes.lanes} == {("a", "c"), ("b",), ("e",)}


def test_lanes_known_beforehand_are_those_of_the_logs(shipped: Shipped) -> None:
    run = shipped.run("compared")
    planned(shipped, run)
    plan = load_plan(shipped.site.store, run)
    found = [split_of(shipped.site, run, plan, n) for n in range(len(plan.segments))]
    snapshot = empty_snapshot(("a", "b", "c", "e")).model_copy(update={"gtids": plan.snapshot.gtids})
    again = make_lanes(snapshot, map(content_of, found), shard="shard-1", most_groups=200, connections=4)
    assert load_lanes(run.folder(shipped.site.fleet)) == again


def test_only_what_comes_before_the_target_ties_lanes(shipped: Shipped) -> None:
    run = shipped.run("early", f"before:{shipped.names['tie']}")
    planned(shipped, run)
    lanes = load_lanes(run.folder(shipped.site.fleet))
    assert {lane.databases for lane in lanes.lanes} == {("a",), ("b",)}
    assert split(shipped, run) == [1], "the file with the target in it is looked at first"
    assert shipped.names["tie"] not in lanes.end_gtids


def test_a_large_lane_gets_more_connections(shipped: Shipped) -> None:
    run = shipped.run("shares", f"before:{shipped.names['tie']}")
    planned(shipped, run)
    lanes = {lane.name: lane.connections for lane in load_lanes(run.folder(shipped.site.fleet)).lanes}
    assert lanes["b"] > lanes["a"] == 1


def test_who_finds_a_segment_taken_splits_a_later_one_meanwhile(
    shipped: Shipped, monkeypatch: pytest.MonkeyPatch
) -> None:
    import relight.splitting as module

    run = shipped.run("helping")
    plan_run(shipped.site, run)
    plan = load_plan(shipped.site.store, run)
    folder = run.folder(shipped.site.fleet)
    seen: list[int] = []
    original: Callable[..., None] = module._split

    def slow(site: Site, its_run: Run, its_plan: object, segment: object) -> None:
        number = segment.number  # type: ignore[attr-defined]
        seen.append(number)
        if number == 0:
            with module._lock(folder, 0, wait=False) as mine:
                assert not mine, "a lock that is held can be taken again"
            split_of(site, its_run, plan, 1)
        original(site, its_run, its_plan, segment)

    monkeypatch.setattr(module, "_split", slow)
    split_of(shipped.site, run, plan, 0)
    assert seen == [0, 1]
    assert split(shipped, run) == [0, 1]


def test_a_transaction_that_others_build_on_is_not_left_out_and_they_are_named(shipped: Shipped) -> None:
    run = shipped.run("refused", "latest", "poison")
    plan_run(shipped.site, run)
    with pytest.raises(SkipRefused, match=str(shipped.names["builds"])) as refused:
        plan_lanes(shipped.site, run)
    assert "leave these out too" in refused.value.hint
    assert str(shipped.names["free"]) not in str(refused.value)


def test_left_out_together_with_what_builds_on_it_a_transaction_is_in_no_stream_and_no_history(
    shipped: Shipped,
) -> None:
    run = shipped.run("skipping", "latest", "poison", "builds")
    planned(shipped, run)
    folder = run.folder(shipped.site.fleet)
    plan = load_plan(shipped.site.store, run)
    taken = [load_split(folder, n).taken for n in range(len(plan.segments))]
    assert not any(shipped.names[name] in gtids for gtids in taken for name in ("poison", "builds"))
    assert any(shipped.names["free"] in gtids for gtids in taken)
    assert load_lanes(folder).end_gtids == plan.end_gtids
    assert plan.end_gtids is not None
    assert shipped.names["poison"] not in plan.end_gtids


def test_what_no_log_on_the_way_holds_cannot_be_left_out(shipped: Shipped) -> None:
    with pytest.raises(TargetError, match="every snapshot holds it already"):
        plan_run(shipped.site, shipped.run("in-snapshot", "latest", "old"))
    with pytest.raises(TargetError, match="no log on the way to the target holds it"):
        plan_run(shipped.site, shipped.run("behind", f"before:{shipped.names['tie']}", "last"))


def test_a_run_does_not_change_what_it_leaves_out(shipped: Shipped) -> None:
    plan_run(shipped.site, shipped.run("fixed"))
    with pytest.raises(PlanError, match="has a plan already"):
        plan_run(shipped.site, shipped.run("fixed", "latest", "free"))


def test_a_segment_shipped_without_a_survey_is_split_first(shipped: Shipped, monkeypatch: pytest.MonkeyPatch) -> None:
    run = shipped.run("unsurveyed")
    plan_run(shipped.site, run)
    plan = load_plan(shipped.site.store, run)
    bare = [
        p.model_copy(update={"segment": SegmentManifest.model_validate({**p.segment.model_dump(), "survey": None})})
        for p in plan.segments
    ]
    monkeypatch.setattr("relight.steps.lanes.load_plan", lambda *_: plan.model_copy(update={"segments": tuple(bare)}))
    plan_lanes(shipped.site, run)
    assert split(shipped, run) == list(range(len(plan.segments)))


def test_what_a_run_keeps_of_the_rows_is_not_for_other_accounts_of_the_machine(shipped: Shipped) -> None:
    run = shipped.run("private")
    folder = run.folder(shipped.site.fleet)
    folder.mkdir(parents=True, mode=0o777)
    folder.chmod(0o755)  # as an earlier version made it
    planned(shipped, run)
    split_segment(shipped.site, run, 0)
    assert [stat.S_IMODE(one.stat().st_mode) for one in (folder.parent, folder)] == [0o750, 0o750]
    kept = [one for one in split_folder(folder, 0).iterdir() if one.suffix not in (".json", ".npy")]
    assert kept
    assert {one.name: stat.S_IMODE(one.stat().st_mode) for one in kept} == dict.fromkeys((k.name for k in kept), 0o640)
