"""A real Airflow, driven over its REST API, on real servers and a real store.

The tests of this file build on one another: the shard is backed up, rehearsed, lost and restored, then
lost and restored again with a task killed on the way, and once more with a person who has to decide.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import httpx
import psutil
import pytest
import yaml

from relight.backups.catalog import load_catalog
from relight.certificate.document import SignedCertificate
from relight.credentials import EnvironmentCredentials, Needed
from relight.errors import AirflowRefused
from relight.fleet import Fleet, Shard, StoreSettings
from relight.gtid import GtidSet
from relight.lab import schema
from relight.lab.airflow import LabAirflow
from relight.lab.airflow_client import AirflowClient, RunState, TaskState
from relight.lab.executors import Local
from relight.lab.fleet import destroy
from relight.lab.ledger import check_ledger
from relight.lab.place import Place
from relight.lab.s3 import S3Server
from relight.lab.workload import Pace, Workload
from relight.lane import lane_progress
from relight.lane.lane_progress import LaneState
from relight.server import mysqld
from relight.server.session import Session, connect
from relight.server.table_checksums import checksums
from relight.store.s3 import open_store
from tests.airflow.conftest import PROJECT, UNSCHEDULED
from tests.conftest import environment_of
from tests.support.servers import Servers

DATABASE = "sqlite"
pytestmark = pytest.mark.timeout(1800)


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
        return self.airflow.wait(dag_id, run_id, timeout=800)

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

    def checksums(self) -> dict[str, int]:
        with connect(self.shard.source, self.servers.admin) as session:
            return checksums(session)

    def assert_ledger(self) -> None:
        """Every shipped commit is there exactly once, and nothing else."""
        with connect(self.shard.source, self.servers.admin) as session:
            verdict = check_ledger(session, self.ledger, schema.DATABASES, up_to=self.in_store())
        assert verdict.ok, str(verdict)
        assert verdict.expected > 500
        assert verdict.beyond > 0, "the test should lose what was not shipped"


@pytest.fixture(scope="module")
def world(watched: Path, module_servers: Servers, s3_server: S3Server, executor: Local) -> Iterator[World]:
    """One shard of three servers and a scratch server, a store, and an Airflow that knows them."""
    source = module_servers.make("shard-1-a")
    replicas = module_servers.make_replicas(source, 2)
    scratch = module_servers.make("shard-1-x", empty=True)
    shard = Shard(name="shard-1", source=source, replicas=tuple(replicas), scratch=scratch)
    settings = StoreSettings(bucket=s3_server.bucket, prefix="airflow", endpoint=s3_server.endpoint, part_size_mib=5)
    fleet = Fleet(fleet="test", store=settings, shards=(shard,))
    with connect(source, module_servers.admin) as session:
        schema.create(session)
        session.run("CREATE TABLE accounts.midway (n INT)")
    place = Place(watched / "airflow")
    place.root.mkdir()
    document = fleet.model_dump(mode="json", exclude_none=True)
    place.fleet_file.write_text(yaml.safe_dump(document), encoding="utf-8")
    credentials = EnvironmentCredentials(environment_of(module_servers.template.logins, s3_server.login))
    airflow = LabAirflow(place, PROJECT, credentials, parallel=3, executor=executor, settings=UNSCHEDULED)
    client = airflow.start()
    yield World(place, fleet, credentials, module_servers, client)
    client.close()
    airflow.stop()


@pytest.fixture(scope="module")
def snapshotted(world: World) -> World:
    """A snapshot, taken under load, and no log."""
    with world.workload(seed=1) as workload:
        workload.wait_for(300)
        world.succeeds("backup_full", {"shard": world.shard.name})
    return world


@pytest.fixture(scope="module")
def backed_up(snapshotted: World) -> World:
    """Logs that follow the snapshot, and commits that are in no backup yet. In the middle of the log is
    the only row of accounts.midway, and right before it a change of definitions."""
    world = snapshotted
    with world.workload(seed=2) as workload:
        workload.wait_for(150)
        with connect(world.shard.source, world.servers.admin) as session:
            session.run("CREATE TABLE accounts.fence (n INT)")  # what came before is committed on its own
            session.run("INSERT INTO accounts.midway VALUES (1)")
        workload.wait_for(workload.committed + 150)
        world.succeeds("backup_binlogs")
        workload.wait_for(workload.committed + 50)
    return world


@dataclass
class Restored:
    """The shard, lost and brought back by the DAG. ``sums``: its tables, before anybody wrote to it."""

    world: World
    run: RunState
    sums: dict[str, int]


@pytest.fixture(scope="module")
def restored(backed_up: World) -> Restored:
    destroy(backed_up.shard)
    run = backed_up.succeeds("restore", {"shard": backed_up.shard.name})
    return Restored(backed_up, run, backed_up.checksums())


@dataclass
class Resumed(Restored):
    """Lost again and brought back, with the process that replayed the lane killed while the lane
    stood at ``killed_at``. ``second``: a run on the same server that was triggered meanwhile."""

    killed_at: LaneState
    second: RunState


@pytest.fixture(scope="module")
def resumed(restored: Restored) -> Resumed:
    world = restored.world
    destroy(world.shard)
    run_id = world.airflow.trigger("restore", {"shard": world.shard.name})
    until(lambda: states(world.airflow.run("restore", run_id)).get("restore_snapshot") == "success")
    with connect(world.shard.source, world.servers.admin) as blocking:
        # The replay cannot get past the row in the middle of the log for as long as this is held.
        blocking.run("BEGIN")
        blocking.run("SELECT * FROM accounts.midway FOR UPDATE")
        with connect(world.shard.source, world.servers.admin) as session:
            until(lambda: waiting_processes(session) != [])
            second = world.run("restore", {"shard": world.shard.name})
            (pid,) = waiting_processes(session)
            (killed_at,) = (s for s in lane_progress.load_all(session) if "accounts" in s.lane.split("+"))
        task = psutil.Process(pid)
        assert any("airflow" in part for part in [*task.cmdline(), *task.parent().cmdline()])
        os.kill(pid, signal.SIGKILL)
        until(lambda: not task.is_running() or task.status() == psutil.STATUS_ZOMBIE)
        blocking.run("ROLLBACK")
    run = world.airflow.wait("restore", run_id, timeout=800)
    return Resumed(world, run, world.checksums(), killed_at, second)


@dataclass
class Asked:
    """Lost once more, with a table of which neither backup nor log tells whether it is right. ``question``: what
    the person was shown, ``before``: whether the server was closed until they answered."""

    world: World
    run: RunState
    question: str
    closed_before: bool


@pytest.fixture(scope="module")
def asked(resumed: Resumed) -> Asked:
    world = resumed.world
    with connect(world.shard.source, world.servers.admin) as session:
        session.run("CREATE TABLE accounts.doubtful (n INT)")
        session.run("SET SESSION binlog_format = 'STATEMENT'")
        session.run("INSERT INTO accounts.doubtful VALUES (1)")
    world.succeeds("backup_binlogs")
    destroy(world.shard)
    run_id = world.airflow.trigger("restore", {"shard": world.shard.name})
    until(lambda: states(world.airflow.run("restore", run_id)).get("approve") == "awaiting_input", 300)
    question = world.airflow.question("restore", run_id, "approve")
    with connect(world.shard.source, world.servers.admin) as session:
        closed = session.value("SELECT @@GLOBAL.offline_mode") == 1
    # A person takes longer. For some six seconds the scheduler does not know yet that the task waits: with an
    # answer it takes it for one that failed, and it asks again.
    time.sleep(15)
    world.airflow.answer("restore", run_id, "approve", "Promote", {"reason": "one row, I typed it myself"})
    return Asked(world, world.airflow.wait("restore", run_id, timeout=800), question, closed)


def waiting_processes(session: Session) -> list[int]:
    """The processes whose connections wait for a row lock: clients tell the server their process id."""
    rows = session.rows(
        "SELECT DISTINCT attr.attr_value FROM performance_schema.data_lock_waits wait"
        " JOIN performance_schema.threads thread ON thread.thread_id = wait.requesting_thread_id"
        " JOIN performance_schema.session_connect_attrs attr"
        " ON attr.processlist_id = thread.processlist_id AND attr.attr_name = '_pid'"
    )
    return [int(str(pid)) for (pid,) in rows]


def until(happened: Callable[[], bool], timeout: float = 180) -> None:
    deadline = time.monotonic() + timeout
    while not happened():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.2)


def mapped(run: RunState, task_id: str) -> list[TaskState]:
    return sorted((t for t in run.tasks if t.task_id == task_id), key=lambda t: t.map_index)


def states(run: RunState) -> dict[str, str | None]:
    return {task.task_id: task.state for task in run.tasks}


def test_a_snapshot_without_any_log_can_be_rehearsed(snapshotted: World) -> None:
    run = snapshotted.succeeds("rehearse", {"shard": "shard-1"})
    assert [t.part for t in mapped(run, "split")] == ["no segments"]
    assert [t.part for t in mapped(run, "replay")] == ["nothing to replay"]
    assert states(run)["judge"] == states(run)["tear_down"] == states(run)["report"] == "success"


def test_a_misspelt_parameter_restores_nothing(backed_up: World) -> None:
    run = backed_up.run("restore", {"shard": "shard-1", "target_tiem": "2026-11-22T19:00:00Z"})
    assert run.state == "failed"
    assert states(run)["plan"] == "upstream_failed"
    assert "target_tiem" in backed_up.why("restore", run)


def test_an_unknown_shard_is_refused_by_the_form_already(backed_up: World) -> None:
    with pytest.raises(AirflowRefused, match=r"400 .*shard-9.*shard-1"):
        backed_up.airflow.trigger("restore", {"shard": "shard-9"})


def test_a_shard_that_is_alive_is_left_alone_and_the_run_ends_red_and_at_once(backed_up: World) -> None:
    before = mysqld.running_pid(backed_up.shard.source)
    run = backed_up.run("restore", {"shard": "shard-1"})
    assert run.state == "failed", "the report's success must not make it green"
    assert backed_up.why("restore", run).startswith("guard: ")
    assert states(run)["report"] == "success"
    guard = next(t for t in run.tasks if t.task_id == "guard")
    assert guard.try_number == 1, "a retry cannot help here"
    log = "\n".join(backed_up.airflow.log_tail("restore", run.run_id, guard))
    assert "hint: nothing was touched" in log
    assert "Task exited" in log, "a stack is of no use to an operator"
    assert "Traceback" not in log
    assert before is not None
    assert mysqld.running_pid(backed_up.shard.source) == before


def test_a_rehearsal_proves_the_backup_on_the_scratch_server_and_clears_it_away(backed_up: World) -> None:
    run = backed_up.succeeds("rehearse", {"shard": "shard-1", "sabotage": "change_value"})
    drilled = backed_up.airflow.xcom("rehearse", run.run_id, "drill")
    assert (drilled["sabotage"], drilled["caught_by"]) == ("change_value", ["row content"])
    assert {"promote", "replicas"}.isdisjoint(states(run))
    assert states(run)["judge"] == states(run)["tear_down"] == states(run)["report"] == "success"
    scratch = backed_up.shard.scratch
    assert scratch is not None
    assert mysqld.running_pid(scratch) is None
    assert not any(scratch.datadir.glob("*"))
    assert all(mysqld.running_pid(server) is not None for server in backed_up.shard.servers)


def test_a_lost_shard_has_every_shipped_commit_exactly_once_and_nothing_else(restored: Restored) -> None:
    restored.world.assert_ledger()


def test_a_restored_shard_takes_writes_and_its_replicas_follow(restored: Restored) -> None:
    world = restored.world
    with world.workload(seed=3) as workload:
        workload.wait_for(50)
    with connect(world.shard.source, world.servers.admin) as source:
        executed = source.value("SELECT @@GLOBAL.gtid_executed")
    for replica in world.shard.replicas:
        with connect(replica, world.servers.admin) as session:
            assert session.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 60)", executed) == 0


def test_the_grid_shows_which_lane_log_database_and_replica_a_task_works_on(restored: Restored) -> None:
    run = restored.run
    lanes = {name for t in mapped(run, "replay") for name in t.part.removeprefix("shard-1/").split("+")}
    assert lanes >= set(schema.DATABASES)
    assert {t.part for t in mapped(run, "validate")} >= {f"shard-1/{database}" for database in schema.DATABASES}
    assert all(t.part.startswith("binlog.") for t in mapped(run, "split"))
    assert [t.part for t in mapped(run, "replicas")] == ["shard-1-a-replica-1", "shard-1-a-replica-2"]
    assert states(run)["tear_down"] == states(run)["watcher"] == "skipped"


def test_the_page_of_a_run_shows_what_was_proved_and_not_to_strangers(restored: Restored) -> None:
    world, run = restored.world, restored.run
    where = f"restore/{quote(run.run_id, safe='')}"
    page = world.airflow.page(f"/relight/run/{where}")
    for told in ("Timeline", "Throughput per lane", "What was lost, and why", "What was proved", "the certificate"):
        assert told in page
    assert "Rows per table" in world.airflow.page(f"/relight/report/{where}")
    certificate = world.airflow.page(f"/relight/run/{where}/certificate")
    assert SignedCertificate.model_validate_json(certificate).certificate.shard == "shard-1"
    stranger = httpx.get(f"{world.airflow.url}/relight/run/{where}")
    assert stranger.status_code == 401
    assert "shard-1" not in stranger.text


def test_how_far_a_task_was_is_kept_where_pages_and_scripts_find_it(restored: Restored) -> None:
    world, run = restored.world, restored.run
    path = f"/api/v2/dags/restore/dagRuns/{quote(run.run_id, safe='')}/taskInstances/restore_snapshot/state-store"
    (entry,) = [one for one in world.airflow.send("GET", path)["task_state_store"] if one["key"] == "relight_progress"]
    (bar,) = entry["value"]["bars"] if isinstance(entry["value"], dict) else json.loads(entry["value"])["bars"]
    assert bar["label"] == "snapshot"
    assert bar["done"] == bar["total"] > 0


def test_only_small_values_go_through_airflow(restored: Restored) -> None:
    world, run = restored.world, restored.run
    for task in run.tasks:
        if task.state == "success":
            value = world.airflow.xcom("restore", run.run_id, task.task_id, map_index=task.map_index)
            assert len(str(value)) < 20_000, task.name


def test_no_password_is_in_any_log_or_result(restored: Restored) -> None:
    world, run = restored.world, restored.run
    secrets = [world.credentials.login(purpose).password for purpose in get_args(Needed)]
    texts = [path.read_text(errors="replace") for path in (world.place.root / "airflow" / "logs").rglob("*.log")]
    texts += [str(world.airflow.xcom("restore", run.run_id, t.task_id, map_index=t.map_index))
              for t in run.tasks if t.state == "success"]  # fmt: skip
    assert len(texts) > 20
    assert not any(secret in text for secret in secrets for text in texts)


def test_a_replay_that_was_killed_in_the_middle_is_retried_and_ends_with_the_same_data(
    restored: Restored, resumed: Resumed
) -> None:
    assert 0 < resumed.killed_at.bytes_done < resumed.killed_at.bytes_total, "it was not killed in the middle"
    assert resumed.run.state == "success", resumed.world.story("restore", resumed.run)
    tries = {t.part: t.try_number for t in mapped(resumed.run, "replay")}
    assert [part for part, number in tries.items() if number > 1] == [f"shard-1/{resumed.killed_at.lane}"]
    assert resumed.sums == restored.sums
    resumed.world.assert_ledger()


def test_a_second_run_on_the_same_server_waits_for_nobody_and_is_refused(resumed: Resumed) -> None:
    assert resumed.second.state == "failed"
    assert resumed.run.run_id in resumed.world.why("restore", resumed.second)


def test_a_person_decides_what_is_inconclusive_and_signs_for_it(asked: Asked) -> None:
    world = asked.world
    assert asked.run.state == "success", world.story("restore", asked.run)
    assert "accounts\\.doubtful" in asked.question
    assert asked.closed_before, "nothing is opened before they answer"
    summary = world.airflow.xcom("restore", asked.run.run_id, "certify")
    store = open_store(world.fleet.store, world.credentials.login("store"))
    certificate = SignedCertificate.model_validate_json(store.get(summary["key"])).certificate
    assert (certificate.verdict, certificate.approved_by) == ("inconclusive", "admin")
    assert certificate.approval_reason == "one row, I typed it myself"
    with connect(world.shard.source, world.servers.admin) as session:
        assert session.rows("SELECT n FROM accounts.doubtful") == [(1,)]
        assert session.value("SELECT @@GLOBAL.offline_mode") == 0
