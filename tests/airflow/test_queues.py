"""Each step runs on the machine that it works on: a real Airflow with Celery, and a worker for each machine's queue.

The tests of this file build on one another. The machines are one; what tells them apart is which worker took a
task from which queue. ``machine-b`` has no worker at first, and ``machine-c`` never has one.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from relight.credentials import EnvironmentCredentials
from relight.fleet import Fleet, Server, Shard, StoreSettings
from relight.lab.airflow import LabAirflow
from relight.lab.airflow_client import AirflowClient, RunState, TaskState
from relight.lab.executors import Celery
from relight.lab.fleet import destroy
from relight.lab.place import Place
from relight.lab.s3 import S3Server
from relight.lab.services import Services
from relight.server.session import connect
from tests.airflow.conftest import PROJECT, UNSCHEDULED
from tests.conftest import environment_of
from tests.support.servers import Servers

pytestmark = pytest.mark.timeout(600)

ANYWHERE = {"check", "databases", "approve", "shards"}
"""Tasks that touch no machine: the default queue has them."""


@dataclass
class World:
    airflow: LabAirflow
    client: AirflowClient
    shard: Shard
    servers: Servers

    def write(self, *rows: int) -> None:
        with connect(self.shard.source, self.servers.admin) as session:
            for row in rows:
                session.run("INSERT INTO shop.orders VALUES (%s)", row)

    def rows(self, server: Server) -> list[int]:
        with connect(server, self.servers.admin) as session:
            return [int(str(n)) for (n,) in session.rows("SELECT n FROM shop.orders ORDER BY n")]

    def finish(self, dag_id: str, run_id: str) -> RunState:
        """Wait for the end of a run, which must be a good one."""
        run = self.client.wait(dag_id, run_id, timeout=300)
        story = [(t.name, *self.client.log_tail(dag_id, run_id, t)) for t in run.failures]
        assert run.state == "success", story
        return run

    def tasks(self, dag_id: str, run_id: str) -> tuple[TaskState, ...]:
        return self.client.run(dag_id, run_id).tasks

    def ship(self) -> RunState:
        return self.finish("backup_binlogs", self.client.trigger("backup_binlogs", {"shard": "shard-1"}))

    def taken_by(self, queue: str) -> str:
        """What the worker of a queue says that it was given."""
        log = self.airflow.home / "logs" / "components" / f"worker {queue}.log"
        return log.read_text(errors="replace") if log.exists() else ""


@pytest.fixture(scope="module")
def world(watched: Path, module_servers: Servers, s3_server: S3Server, services: Services) -> Iterator[World]:
    """A shard on two machines, and an Airflow with the workers of one of them and of the default queue. Another shard
    is on a machine that is lost."""
    made = module_servers.make("shard-1-a")
    first, second = module_servers.make_replicas(made, 2)
    scratch = module_servers.make("shard-1-x", empty=True)
    shard = Shard(
        name="shard-1", source=on("machine-a", made), replicas=(on("machine-b", first), on("machine-a", second)),
        scratch=on("machine-b", scratch),
    )  # fmt: skip
    settings = StoreSettings(bucket=s3_server.bucket, prefix="queues", endpoint=s3_server.endpoint, part_size_mib=5)
    lost = Shard(name="shard-2", source=on("machine-c", module_servers.make("shard-2-a", empty=True)))
    fleet = Fleet(fleet="test", store=settings, shards=(shard, lost))
    place = Place(watched / "queues")
    place.root.mkdir()
    place.fleet_file.write_text(yaml.safe_dump(fleet.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
    credentials = EnvironmentCredentials(environment_of(module_servers.template.logins, s3_server.login))
    executor = Celery(services, queues=("default", "machine-a"))
    airflow = LabAirflow(place, PROJECT, credentials, parallel=16, executor=executor, settings=UNSCHEDULED)
    client = airflow.start()
    world = World(airflow, client, shard, module_servers)
    with connect(shard.source, module_servers.admin) as session:
        session.run("CREATE DATABASE shop")
        session.run("CREATE TABLE shop.orders (n INT PRIMARY KEY)")
    world.write(1, 2)
    yield world
    client.close()
    airflow.stop()


def on(queue: str, server: Server) -> Server:
    return server.model_copy(update={"queue": queue})


@pytest.fixture(scope="module")
def hanging(world: World) -> dict[str, str]:
    """A run of each of these DAGs whose task waits for the lost machine's worker."""
    runs = {dag: world.client.trigger(dag, {"shard": "shard-2"}) for dag in ("backup_full", "backup_binlogs")}
    for dag, run_id in runs.items():
        deadline = time.monotonic() + 120
        while not any(task.queue == "machine-c" and task.state == "queued" for task in world.tasks(dag, run_id)):
            assert time.monotonic() < deadline, "it is not queued"
            time.sleep(0.2)
    return runs


@dataclass
class Waited:
    """A full backup, which is taken on a machine whose worker came late. ``before``: its task until then,
    ``meanwhile``: a run on the other machine, from beginning to end."""

    world: World
    before: TaskState
    meanwhile: RunState
    run: RunState


@pytest.fixture(scope="module")
def waited(world: World, hanging: dict[str, str]) -> Waited:
    run_id = world.client.trigger("backup_full", {"shard": "shard-1"})
    deadline = time.monotonic() + 120
    while snapshot(world, run_id).state != "queued":
        assert time.monotonic() < deadline, "it is not queued"
        time.sleep(0.2)
    meanwhile = world.ship()
    before = snapshot(world, run_id)
    world.airflow.start_worker("machine-b")
    return Waited(world, before, meanwhile, world.finish("backup_full", run_id))


def snapshot(world: World, run_id: str) -> TaskState:
    return next(task for task in world.tasks("backup_full", run_id) if task.task_id == "snapshot")


@dataclass
class Recovered:
    """The shard, lost and restored, and a rehearsal that went on at the same time."""

    world: World
    restore: RunState
    rehearse: RunState


@pytest.fixture(scope="module")
def recovered(waited: Waited) -> Recovered:
    world = waited.world
    world.write(3, 4)
    world.ship()
    destroy(world.shard)
    restore = world.client.trigger("restore", {"shard": "shard-1"})
    rehearse = world.client.trigger("rehearse", {"shard": "shard-1", "sabotage": "drop_row"})
    return Recovered(world, world.finish("restore", restore), world.finish("rehearse", rehearse))


def machines(run: RunState) -> dict[str, tuple[str, str]]:
    """The queue of each task that ran on a worker, and the worker."""
    return {task.name: (task.queue, task.host) for task in run.tasks if task.host}


def placed(run: RunState, machine: str) -> dict[str, tuple[str, str]]:
    """What :func:`machines` gives if all that touches a machine ran on this one."""
    names = {task.name: "default" if task.task_id in ANYWHERE else machine for task in run.tasks if task.host}
    return {name: (queue, queue) for name, queue in names.items()}


def test_a_task_waits_for_the_worker_of_its_machine_and_runs_nowhere_else(waited: Waited) -> None:
    assert (waited.before.state, waited.before.queue, waited.before.host) == ("queued", "machine-b", "")
    assert set(machines(waited.meanwhile).values()) == {("default", "default"), ("machine-a", "machine-a")}
    assert machines(waited.run) == placed(waited.run, "machine-b")
    assert all(task.try_number == 1 for task in waited.run.tasks)


def test_runs_that_hang_as_a_machine_is_lost_keep_no_other_shard_from_being_backed_up(
    waited: Waited, hanging: dict[str, str]
) -> None:
    states = {dag: waited.world.client.run(dag, run_id).state for dag, run_id in hanging.items()}
    assert states == {"backup_full": "running", "backup_binlogs": "running"}
    assert (waited.run.state, waited.meanwhile.state) == ("success", "success")


def test_the_steps_of_a_restore_run_on_the_machine_of_the_source(recovered: Recovered) -> None:
    run = recovered.restore
    ran = {name: where for name, where in machines(run).items() if not name.startswith("replicas")}
    assert ran == {name: where for name, where in placed(run, "machine-a").items() if name in ran}
    assert {task.task_id for task in run.tasks if task.host} >= {
        "salvage", "plan", "guard", "restore_snapshot", "plan_lanes", "split", "replay", "validate", "judge", "certify",
        "promote", "report",
    }  # fmt: skip


def test_each_replica_is_rebuilt_on_its_own_machine(recovered: Recovered) -> None:
    rebuilt = sorted((t for t in recovered.restore.tasks if t.task_id == "replicas"), key=lambda t: t.map_index)
    assert [(t.queue, t.host) for t in rebuilt] == [("machine-b", "machine-b"), ("machine-a", "machine-a")]


def test_a_rehearsal_runs_on_the_machine_of_the_scratch_server(recovered: Recovered) -> None:
    ran = machines(recovered.rehearse)
    assert ran == placed(recovered.rehearse, "machine-b")
    assert set(ran) >= {"guard", "restore_snapshot", "drill", "tear_down"}


@pytest.mark.parametrize(("task_id", "queue"), [("guard", "machine-a"), ("promote", "machine-a"), ("check", "default")])
def test_the_workers_themselves_say_the_same(recovered: Recovered, task_id: str, queue: str) -> None:
    given = {name: recovered.world.taken_by(name) for name in ("default", "machine-a", "machine-b")}
    run_id, mark = recovered.restore.run_id, f"task_id='{task_id}'"
    takers = {name for name, log in given.items() if any(mark in line and run_id in line for line in log.splitlines())}
    assert takers == {queue}


@pytest.mark.parametrize(
    ("job", "is_well"),
    [("TriggererJob", True), ("DagProcessorJob", True), ("SchedulerJob", True), ("NoSuchJob", False)],
)
def test_the_health_check_of_a_container_finds_its_job(world: World, job: str, is_well: bool) -> None:
    """In Airflow's own database: the check of the compose deployment, which imports nothing of Airflow."""
    script = PROJECT / "include" / "deploy" / "healthy.py"
    done = subprocess.run(
        [sys.executable, "-I", script, "job", job],
        env=world.airflow.environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode == 0) == is_well, done.stderr
    assert ("has started" in done.stderr) != is_well


def test_the_shard_is_back_on_all_of_its_machines(recovered: Recovered) -> None:
    world = recovered.world
    world.write(5)
    with connect(world.shard.source, world.servers.admin) as session:
        executed = session.value("SELECT @@GLOBAL.gtid_executed")
    for replica in world.shard.replicas:
        with connect(replica, world.servers.admin) as session:
            assert session.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 60)", executed) == 0
    assert [world.rows(server) for server in world.shard.servers] == [[1, 2, 3, 4, 5]] * 3
