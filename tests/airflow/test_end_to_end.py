"""A real Airflow, driven over its REST API, on real servers and a real store.

The tests of this file build on one another: the shard is backed up, rehearsed, lost and restored.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from relight.backups.catalog import load_catalog
from relight.credentials import EnvironmentCredentials
from relight.errors import LabError
from relight.fleet import Fleet, Shard, StoreSettings
from relight.gtid import GtidSet
from relight.lab import schema
from relight.lab.airflow import LabAirflow
from relight.lab.airflow_client import AirflowClient, RunState, TaskState
from relight.lab.fleet import destroy
from relight.lab.ledger import check_ledger
from relight.lab.place import Place
from relight.lab.s3 import S3Server
from relight.lab.workload import Pace, Workload
from relight.server import mysqld
from relight.server.session import connect
from relight.store.s3 import open_store
from tests.airflow.conftest import PROJECT
from tests.conftest import environment_of
from tests.support.servers import Servers

pytestmark = pytest.mark.timeout(900)


@dataclass
class World:
    place: Place
    fleet: Fleet
    credentials: EnvironmentCredentials
    servers: Servers
    airflow: AirflowClient

    @property
    def shard(self) -> Shard:
        return self.fleet.shards[0]

    @property
    def ledger(self) -> Path:
        return self.place.ledger(self.shard.name)

    def workload(self, seed: int) -> Workload:
        logins = self.servers.template.logins
        return Workload(
            self.shard.source, logins.application, logins.admin, self.ledger, pace=Pace(threads=2, rate=200), seed=seed
        )

    def run(self, dag_id: str, conf: dict[str, Any] | None = None) -> RunState:
        run_id = self.airflow.trigger(dag_id, conf or {})
        return self.airflow.wait(dag_id, run_id, timeout=400)

    def succeeds(self, dag_id: str, conf: dict[str, Any] | None = None) -> RunState:
        run = self.run(dag_id, conf)
        assert run.state == "success", self.story(dag_id, run)
        return run

    def story(self, dag_id: str, run: RunState) -> str:
        """What went wrong, for the test's output."""
        return "\n".join(
            "\n".join([f"--- {task.name}: {task.state}", *self.airflow.log_tail(dag_id, run.run_id, task)])
            for task in run.failures
        )

    def why(self, dag_id: str, run: RunState) -> str:
        (task, *_) = run.failures
        return f"{task.task_id}: " + "\n".join(self.airflow.log_tail(dag_id, run.run_id, task))

    def in_store(self) -> GtidSet:
        """Every transaction that snapshots and segments hold."""
        store = open_store(self.fleet.store, self.credentials.login("store"))
        catalog = load_catalog(store, self.shard.name)
        parts = [s.reference.gtids for s in catalog.snapshots] + [s.gtids for s in catalog.segments]
        return functools.reduce(GtidSet.__or__, parts, GtidSet())


@pytest.fixture(scope="module")
def world(watched: Path, module_servers: Servers, s3_server: S3Server) -> Iterator[World]:
    """One shard of three servers and a scratch server, a store, and an Airflow that knows them."""
    source = module_servers.make("shard-1-a")
    replicas = module_servers.make_replicas(source, 2)
    scratch = module_servers.make("shard-1-x", empty=True)
    shard = Shard(name="shard-1", source=source, replicas=tuple(replicas), scratch=scratch)
    settings = StoreSettings(bucket=s3_server.bucket, prefix="airflow", endpoint=s3_server.endpoint, part_size_mib=5)
    fleet = Fleet(fleet="test", store=settings, shards=(shard,))
    with connect(source, module_servers.admin) as session:
        schema.create(session)
    place = Place(watched / "airflow")
    place.root.mkdir()
    document = fleet.model_dump(mode="json", exclude_none=True)
    place.fleet_file.write_text(yaml.safe_dump(document), encoding="utf-8")
    credentials = EnvironmentCredentials(environment_of(module_servers.template.logins, s3_server.login))
    airflow = LabAirflow(place, PROJECT, credentials, parallel=3)
    client = airflow.start()
    yield World(place, fleet, credentials, module_servers, client)
    client.close()
    airflow.stop()


@pytest.fixture(scope="module")
def backed_up(world: World) -> World:
    """A snapshot, logs that follow it, and commits that are in no backup yet."""
    with world.workload(seed=1) as workload:
        workload.wait_for(300)
        world.succeeds("backup_full", {"shard": world.shard.name})
        workload.wait_for(workload.committed + 300)
        world.succeeds("backup_binlogs")
        workload.wait_for(workload.committed + 50)
    return world


@pytest.fixture(scope="module")
def restored(backed_up: World) -> tuple[World, RunState]:
    """The shard, lost and brought back by the DAG."""
    destroy(backed_up.shard)
    return backed_up, backed_up.succeeds("restore", {"shard": backed_up.shard.name})


def mapped(run: RunState, task_id: str) -> list[TaskState]:
    return sorted((t for t in run.tasks if t.task_id == task_id), key=lambda t: t.map_index)


def states(run: RunState) -> dict[str, str | None]:
    return {task.task_id: task.state for task in run.tasks}


def test_a_misspelt_parameter_restores_nothing(backed_up: World) -> None:
    run = backed_up.run("restore", {"shard": "shard-1", "target_tiem": "2026-11-22T19:00:00Z"})
    assert run.state == "failed"
    assert states(run)["plan"] == "upstream_failed"
    assert "target_tiem" in backed_up.why("restore", run)


def test_an_unknown_shard_is_refused_by_the_form_already(backed_up: World) -> None:
    with pytest.raises(LabError, match=r"400 .*shard-9.*shard-1"):
        backed_up.airflow.trigger("restore", {"shard": "shard-9"})


def test_a_shard_that_is_alive_is_left_alone_and_the_run_ends_red_and_at_once(backed_up: World) -> None:
    before = mysqld.running_pid(backed_up.shard.source)
    run = backed_up.run("restore", {"shard": "shard-1"})
    assert run.state == "failed", "the report's success must not make it green"
    assert backed_up.why("restore", run).startswith("guard: ")
    assert states(run)["report"] == "success"
    assert next(t for t in run.tasks if t.task_id == "guard").try_number == 1, "a retry cannot help here"
    assert before is not None
    assert mysqld.running_pid(backed_up.shard.source) == before


def test_a_rehearsal_proves_the_backup_on_the_scratch_server_and_clears_it_away(backed_up: World) -> None:
    run = backed_up.succeeds("rehearse", {"shard": "shard-1"})
    assert {"promote", "replicas"}.isdisjoint(states(run))
    assert states(run)["judge"] == states(run)["tear_down"] == states(run)["report"] == "success"
    scratch = backed_up.shard.scratch
    assert scratch is not None
    assert mysqld.running_pid(scratch) is None
    assert not any(scratch.datadir.glob("*"))
    assert all(mysqld.running_pid(server) is not None for server in backed_up.shard.servers)


def test_a_lost_shard_has_every_shipped_commit_exactly_once_and_nothing_else(restored: tuple[World, RunState]) -> None:
    world, _ = restored
    with connect(world.shard.source, world.servers.admin) as session:
        verdict = check_ledger(session, world.ledger, schema.DATABASES, up_to=world.in_store())
    assert verdict.ok, str(verdict)
    assert verdict.expected > 500
    assert verdict.beyond > 0, "the test should lose what was not shipped"


def test_a_restored_shard_takes_writes_and_its_replicas_follow(restored: tuple[World, RunState]) -> None:
    world, _ = restored
    with world.workload(seed=2) as workload:
        workload.wait_for(50)
    with connect(world.shard.source, world.servers.admin) as source:
        executed = source.value("SELECT @@GLOBAL.gtid_executed")
    for replica in world.shard.replicas:
        with connect(replica, world.servers.admin) as session:
            assert session.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 60)", executed) == 0


def test_the_grid_shows_which_lane_log_database_and_replica_a_task_works_on(restored: tuple[World, RunState]) -> None:
    _, run = restored
    lanes = {name for t in mapped(run, "replay") for name in t.part.removeprefix("shard-1/").split("+")}
    assert lanes >= set(schema.DATABASES)
    assert {t.part for t in mapped(run, "validate")} >= {f"shard-1/{database}" for database in schema.DATABASES}
    assert all(t.part.startswith("binlog.") for t in mapped(run, "split"))
    assert [t.part for t in mapped(run, "replicas")] == ["shard-1-a-replica-1", "shard-1-a-replica-2"]
    assert states(run)["tear_down"] == states(run)["watcher"] == "skipped"


def test_only_small_values_go_through_airflow(restored: tuple[World, RunState]) -> None:
    world, run = restored
    for task in run.tasks:
        if task.state == "success":
            value = world.airflow.xcom("restore", run.run_id, task.task_id, map_index=task.map_index)
            assert len(str(value)) < 20_000, task.name


def test_no_password_is_in_any_log_or_result(restored: tuple[World, RunState]) -> None:
    world, run = restored
    secrets = [world.credentials.login(purpose).password for purpose in ("admin", "replication", "store")]
    texts = [path.read_text(errors="replace") for path in (world.place.root / "airflow" / "logs").rglob("*.log")]
    texts += [str(world.airflow.xcom("restore", run.run_id, t.task_id, map_index=t.map_index))
              for t in run.tasks if t.state == "success"]  # fmt: skip
    assert len(texts) > 20
    assert not any(secret in text for secret in secrets for text in texts)


def test_a_second_run_on_the_same_server_waits_for_nobody_and_is_refused(restored: tuple[World, RunState]) -> None:
    world, _ = restored
    destroy(world.shard)
    first = world.airflow.trigger("restore", {"shard": "shard-1"})

    def second(run: RunState) -> None:
        if not refused and states(run).get("check") == "success":
            refused.append(world.run("restore", {"shard": "shard-1"}))

    refused: list[RunState] = []
    run = world.airflow.wait("restore", first, on_update=second, timeout=400)
    assert run.state == "success", world.story("restore", run)
    assert refused[0].state == "failed"
    assert first in world.why("restore", refused[0])
