"""The fleet through a real Airflow: it is looked at, its numbers arrive, and a promise that is broken is said.

The tests of this file build on one another. A second is promised, which no restore can keep.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from relight.airflow_api.states import RunState
from relight.credentials import EnvironmentCredentials
from relight.fleet import Fleet, Shard, StoreSettings, Tier
from relight.lab.airflow import LabAirflow
from relight.lab.airflow_client import AirflowClient
from relight.lab.executors import Local
from relight.lab.fleet import destroy
from relight.lab.place import Place
from relight.lab.s3 import S3Server
from relight.overview.keeping import newest
from relight.overview.metrics import METRICS
from relight.progress import Silent
from relight.server.session import connect
from relight.site import Site
from relight.steps.segments import ship_segments
from relight.steps.snapshot import take_snapshot
from relight.store.s3 import open_store
from tests.airflow.conftest import PROJECT
from tests.airflow.test_metrics import Receiver, settings
from tests.conftest import environment_of
from tests.support.servers import DURABLE, Servers

DATABASE = "postgresql"
pytestmark = pytest.mark.timeout(1800)


@dataclass
class World:
    site: Site
    airflow: AirflowClient
    receiver: Receiver

    def succeeds(self, dag_id: str, conf: dict[str, Any]) -> RunState:
        run = self.airflow.wait(dag_id, self.airflow.trigger(dag_id, conf), timeout=600)
        tails = [self.airflow.log_tail(dag_id, run.run_id, task) for task in run.failures]
        assert run.state == "success", tails
        return run


@pytest.fixture(scope="module")
def world(watched: Any, module_servers: Servers, s3_server: S3Server, executor: Local) -> Iterator[World]:
    source = module_servers.make("shard-1-a", options=DURABLE)
    store = StoreSettings(bucket=s3_server.bucket, prefix="overview", endpoint=s3_server.endpoint, part_size_mib=5)
    tiers = (Tier(tier=2, objective_minutes=1 / 60),)
    fleet = Fleet(fleet="test", store=store, shards=(Shard(name="shard-1", tier=2, source=source),), tiers=tiers)
    place = Place(watched / "overview")
    place.root.mkdir()
    place.fleet_file.write_text(fleet.model_dump_json(exclude_none=True), encoding="utf-8")
    credentials = EnvironmentCredentials(environment_of(module_servers.template.logins, s3_server.login))
    site = Site(fleet, open_store(store, s3_server.login), credentials, Silent())
    with connect(source, module_servers.admin) as session:
        session.run("CREATE DATABASE shop")
        session.run("CREATE TABLE shop.notes (n INT PRIMARY KEY, t TEXT)")
        take_snapshot(site, "shard-1")
        session.run("INSERT INTO shop.notes VALUES (1, REPEAT('x', 10000)), (2, 'y')")
    ship_segments(site, "shard-1")
    receiver = Receiver()
    airflow = LabAirflow(
        place, PROJECT, credentials, parallel=3, executor=executor, settings=settings(receiver, tags=True)
    )
    client = airflow.start()
    for dag_id in ("fleet_overview", "restore"):
        client.unpause(dag_id)
    yield World(site, client, receiver)
    client.close()
    airflow.stop()
    receiver.close()


def test_the_fleet_is_looked_at_as_soon_as_the_dag_is_unpaused(world: World) -> None:
    deadline = time.monotonic() + 120
    while not (runs := world.airflow.runs_named("fleet_overview", "scheduled__")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert world.airflow.wait("fleet_overview", runs[0], timeout=600).state == "success"


def test_the_fleet_is_looked_at_kept_and_sent(world: World) -> None:
    run = world.succeeds("fleet_overview", {})
    assert world.airflow.xcom("fleet_overview", run.run_id, "look")["shards"] == 1
    kept = newest(world.site.store, datetime.now(UTC))
    assert kept is not None
    (card,) = kept.cards
    assert card.segments == 1
    assert any("a restore would take" in warning for warning in card.warnings), card.warnings
    assert "airflow.relight.shard.objective_seconds,shard=shard-1,tier=2:1.0|g" in world.receiver.received()


@pytest.fixture(scope="module")
def restored(world: World) -> RunState:
    destroy(world.site.fleet.shards[0])
    return world.succeeds("restore", {"shard": "shard-1"})


def test_that_it_will_miss_is_said_once(world: World, restored: RunState) -> None:
    done = [task for task in restored.tasks if task.state == "success"]
    logs = [line for task in done for line in world.airflow.log_tail("restore", restored.run_id, task, lines=500)]
    said = [line for line in logs if "shard-1: predicted to miss its promise: back after" in line]
    assert len(said) == 1, logs
    assert "airflow.relight.promises.predicted_to_miss,shard=shard-1,tier=2:1|c" in world.receiver.received()


def test_that_it_has_missed_is_recorded_by_airflow(world: World, restored: RunState) -> None:
    found = world.airflow.send("GET", f"/ui/dags/restore/dagRuns/{restored.run_id}/deadlines")
    (deadline,) = found["deadlines"]
    assert deadline["missed"], found


def test_throughput_duration_and_verdicts_of_the_run_arrive(world: World, restored: RunState) -> None:
    sent = {line.split(",")[0].removeprefix("airflow.") for line in world.receiver.received()}
    # No rehearsal has proved the shard, and its logs were not shipped by a task.
    assert sent == set(METRICS) - {"relight.shard.proof_age_seconds", "relight.shard.unshipped_seconds"}
    assert restored.state == "success"
