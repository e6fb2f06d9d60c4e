"""Many shards through a real Airflow: two are lost and come back, one is alive and is left alone.

The tests of this file build on one another. One shard is restored at a time, so that their order can be seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from relight.bench.fleet_results import most_at_once
from relight.credentials import EnvironmentCredentials
from relight.errors import AirflowRefused
from relight.fleet import Fleet, Limits, Shard, StoreSettings
from relight.incident.outcome import IncidentReport
from relight.lab.airflow import LabAirflow
from relight.lab.airflow_client import AirflowClient, RunState
from relight.lab.executors import Local
from relight.lab.fleet import destroy
from relight.lab.place import Place
from relight.lab.s3 import S3Server
from relight.progress import Silent
from relight.server import mysqld
from relight.server.session import connect
from relight.site import Site
from relight.steps.segments import ship_segments
from relight.steps.snapshot import take_snapshot
from relight.store.s3 import open_store
from tests.airflow.conftest import PROJECT, UNSCHEDULED
from tests.conftest import environment_of
from tests.support.servers import DURABLE, Servers

DATABASE = "postgresql"
pytestmark = pytest.mark.timeout(1800)

NAMES = ("large", "small", "alive")


@dataclass
class World:
    site: Site
    airflow: AirflowClient
    servers: Servers

    def runs(self, incident: str) -> dict[str, dict[str, Any]]:
        """The restores of an incident, by their id."""
        path = f"/api/v2/dags/restore/dagRuns?limit=100&run_id_pattern={incident}"
        return {one["dag_run_id"]: one for one in self.airflow.send("GET", path)["dag_runs"]}

    def notes(self, shard: Shard) -> list[int]:
        with connect(shard.source, self.servers.admin) as session:
            return [number for (number,) in session.rows("SELECT n FROM shop.notes ORDER BY n")]

    def story(self, run: RunState) -> str:
        tails = [self.airflow.log_tail("restore_fleet", run.run_id, task) for task in run.failures]
        return "\n".join(line for tail in tails for line in tail)


@pytest.fixture(scope="module")
def world(watched: Path, module_servers: Servers, s3_server: S3Server, executor: Local) -> Iterator[World]:
    sources = [module_servers.make(name, options=DURABLE) for name in NAMES]
    shards = tuple(Shard(name=s.name, source=s, tier=2 if s.name == "small" else 1) for s in sources)
    store = StoreSettings(bucket=s3_server.bucket, prefix="fleet", endpoint=s3_server.endpoint, part_size_mib=5)
    fleet = Fleet(fleet="test", store=store, shards=shards, limits=Limits(restores=1))
    place = Place(watched / "fleet")
    place.root.mkdir()
    place.fleet_file.write_text(fleet.model_dump_json(exclude_none=True), encoding="utf-8")
    credentials = EnvironmentCredentials(environment_of(module_servers.template.logins, s3_server.login))
    airflow = LabAirflow(place, PROJECT, credentials, parallel=3, executor=executor, settings=UNSCHEDULED)
    client = airflow.start()
    client.unpause("restore")
    yield World(Site(fleet, open_store(store, s3_server.login), credentials, Silent()), client, module_servers)
    client.close()
    airflow.stop()


@dataclass
class Restored:
    """``first`` and ``second``: two runs for the same incident, at the same time."""

    world: World
    first: RunState
    second: RunState


@pytest.fixture(scope="module")
def restored(world: World) -> Restored:
    for number, shard in enumerate(world.site.fleet.shards):
        with connect(shard.source, world.servers.admin) as session:
            session.run("CREATE DATABASE shop")
            session.run("CREATE TABLE shop.notes (n INT PRIMARY KEY)")
            take_snapshot(world.site, shard.name)
            session.run("INSERT INTO shop.notes VALUES (%s), (100)", number)
        ship_segments(world.site, shard.name)
    for shard in world.site.fleet.shards[:2]:
        destroy(shard)
    asked = {"incident": "INC 7: power loss", "all_down": True}
    ids = [world.airflow.trigger("restore_fleet", asked) for _ in range(2)]
    first, second = (world.airflow.wait("restore_fleet", run_id, timeout=900) for run_id in ids)
    return Restored(world, first, second)


def test_what_is_down_comes_back_and_what_is_alive_is_left_alone(restored: Restored) -> None:
    world = restored.world
    assert restored.first.state == "success", world.story(restored.first)
    assert set(world.runs("INC-7")) == {"INC-7-power-loss__large", "INC-7-power-loss__small"}
    assert [world.notes(shard) for shard in world.site.fleet.shards] == [[0, 100], [1, 100], [2, 100]]


def test_a_second_run_for_the_same_incident_joins_and_starts_nothing_twice(restored: Restored) -> None:
    assert restored.second.state == "success", restored.world.story(restored.second)


def test_the_same_incident_with_another_target_is_refused_and_starts_nothing(restored: Restored) -> None:
    world = restored.world
    before = world.runs("INC-7")
    asked = {
        "incident": "INC 7: power loss",
        "pattern": "*",
        "target_kind": "time",
        "target_value": "2026-01-01T00:00:00Z",
    }
    run = world.airflow.wait("restore_fleet", world.airflow.trigger("restore_fleet", asked), timeout=200)
    assert run.state == "failed"
    story = world.story(run)
    assert "the incident has another restore of this shard" in story
    assert "target_kind is 'latest' there, 'time' here" in story
    assert world.runs("INC-7") == before


def test_tier_comes_before_tier_and_never_more_than_allowed_at_once(restored: Restored) -> None:
    runs = restored.world.runs("INC-7")
    spans = {
        name.rpartition("__")[2]: (datetime.fromisoformat(run["start_date"]), datetime.fromisoformat(run["end_date"]))
        for name, run in runs.items()
    }
    assert most_at_once(spans.values()) == 1
    assert spans["large"] < spans["small"]


def test_the_scheduler_has_used_the_pools(restored: Restored) -> None:
    path = "/api/v2/dags/restore/dagRuns/INC-7-power-loss__large/taskInstances?limit=100"
    tasks = restored.world.airflow.send("GET", path)["task_instances"]
    pools = {task["task_id"]: task["pool"] for task in tasks if task["state"] == "success"}
    assert pools["restore_snapshot"] == pools["split"] == "relight_store"
    large = next(shard for shard in restored.world.site.fleet.shards if shard.name == "large")
    host = f"relight_host_{large.source.host}"
    assert pools["replay"] == pools["validate"] == host
    assert pools["plan"] == "default_pool"
    sizes = {one["name"]: one["slots"] for one in restored.world.airflow.send("GET", "/api/v2/pools")["pools"]}
    assert (sizes["relight_store"], sizes[host], sizes["relight_network_default"]) == (16, 4, 4)


def test_one_report_tells_of_every_shard_and_how_far_apart_they_are(restored: Restored) -> None:
    world = restored.world
    told = world.airflow.xcom("restore_fleet", restored.first.run_id, "report")
    report = IncidentReport.model_validate_json(world.site.store.get(told["key"]))
    assert [(one.shard, one.outcome) for one in report.shards] == [("large", "done"), ("small", "done")]
    large, small = report.shards
    assert large.reaches
    assert small.reaches
    assert report.skew_s == pytest.approx(abs((large.reaches - small.reaches).total_seconds()), abs=0.001)
    assert report.requested_by == "admin"
    assert report.pools == ""
    assert all(one.seconds and one.data_loss_window_s is not None for one in report.shards)


@pytest.mark.parametrize(
    ("asked", "said"),
    [({"incident": "x", "pattern": "nobody-*"}, "no shard is meant"), ({"incident": "x", "shard": "large"}, "shard")],
)
def test_a_request_that_makes_no_sense_starts_nothing(restored: Restored, asked: dict[str, Any], said: str) -> None:
    airflow = restored.world.airflow
    run = airflow.wait("restore_fleet", airflow.trigger("restore_fleet", asked), timeout=120)
    assert run.state == "failed"
    assert [task.task_id for task in run.failures] == ["check"]
    assert said in restored.world.story(run)


def test_a_target_of_one_shard_is_refused_by_the_form_already(restored: Restored) -> None:
    asked = {"incident": "x", "pattern": "*", "target_kind": "gtid"}
    with pytest.raises(AirflowRefused, match=r"400 .*gtid"):
        restored.world.airflow.trigger("restore_fleet", asked)


def test_one_that_fails_stops_no_other_and_the_run_ends_red_naming_each(restored: Restored) -> None:
    world = restored.world
    run_id = world.airflow.trigger("restore_fleet", {"incident": "alive", "shards": ["large", "alive"]})
    run = world.airflow.wait("restore_fleet", run_id, timeout=400)
    assert run.state == "failed"
    assert [task.task_id for task in run.failures] == ["report"]
    assert {name: one["state"] for name, one in world.runs("alive__").items()} == {
        "alive__large": "failed", "alive__alive": "failed",
    }  # fmt: skip
    story = world.story(run)
    assert "not every shard was restored" in story
    assert "alive: failed: guard" in story
    assert all(mysqld.running_pid(shard.source) for shard in world.site.fleet.shards)


def test_marked_as_failed_it_starts_no_more(restored: Restored) -> None:
    world = restored.world
    run_id = world.airflow.trigger("restore_fleet", {"incident": "stopped", "pattern": "*"})
    deadline = time.monotonic() + 120
    while not world.runs("stopped__"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    world.airflow.send("PATCH", f"/api/v2/dags/restore_fleet/dagRuns/{run_id}", {"state": "failed"})
    (begun,) = world.runs("stopped__")
    assert world.airflow.wait("restore", begun, timeout=200).over, "what was started goes on to its own end"
    time.sleep(25)  # it would have looked again meanwhile
    assert set(world.runs("stopped__")) == {begun}
